"""Noise that depends on what an example is, not on where in a batch or shard it stands.

Stochastic binarisation and an evaluation's draws of z are random. Seeding each example by its own
content makes the result the same on any batch size, shard count and runner.
"""

import tensorflow as tf

# Streams keep draws for different purposes independent of each other.
PIXEL_STREAM = 0
LATENT_STREAM = 1
OUTPUT_STREAM = 2
_STREAMS = 4


def content_key(values: tf.Tensor, seed: int = 0) -> tf.Tensor:
    """Hashes each example: a multilinear hash modulo 2^64 (Dietzfelbinger 1996).

    Integer addition is exact and order-free, so the key is too.

    Args:
      values: Integers [B, ...] of any integer type.
      seed: Chooses the hash function, and so every draw from the key.

    Returns:
      int64 [B].
    """
    size = tf.reduce_prod(tf.shape(values)[1:])
    flat = tf.cast(tf.reshape(values, [-1, size]), tf.int64)
    multipliers = tf.random.stateless_uniform(
        [size], seed=[20140501, seed], minval=None, maxval=None, dtype=tf.int64
    )
    return tf.reduce_sum((flat + 1) * multipliers, axis=1)


def float_key(values: tf.Tensor) -> tf.Tensor:
    """`content_key` of float32 examples [B, ...], from their bits."""
    return content_key(tf.bitcast(tf.cast(values, tf.float32), tf.int32))


def content_normal(
    keys: tf.Tensor, shape: list[int], stream: int, part: tf.Tensor | int = 0
) -> tf.Tensor:
    """Standard normal noise [B, *shape], each example's from its key alone.

    Args:
      keys: From `content_key`, [B].
      shape: Of one example's noise.
      stream: What the noise is for.
      part: Which part of a stream that is too long to be drawn at once.
    """
    stream = stream + _STREAMS * tf.cast(part, tf.int64)
    return _per_key(keys, shape, stream, tf.random.stateless_normal)


def content_uniform(keys: tf.Tensor, shape: list[int], stream: int) -> tf.Tensor:
    """Uniform noise in [0, 1), [B, *shape], each example's from its key alone."""
    return _per_key(keys, shape, stream, tf.random.stateless_uniform)


def _per_key(keys: tf.Tensor, shape: list[int], stream: tf.Tensor | int, draw) -> tf.Tensor:
    # One op per example: TensorFlow has no stateless op with a batch of seeds.
    return tf.map_fn(
        lambda key: draw(shape, seed=tf.stack([key, tf.cast(stream, tf.int64)])),
        keys,
        fn_output_signature=tf.TensorSpec(shape, tf.float32),
        parallel_iterations=64,
    )
