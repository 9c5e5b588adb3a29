"""Codes on the way from one to another, as a TensorFlow graph."""

import tensorflow as tf

# Below this sine no great circle is singled out: the codes are parallel, opposite or zero.
_LEAST_SINE = 1e-4


def codes_between(
    start: tf.Tensor, end: tf.Tensor, steps: tf.Tensor, spherical: tf.Tensor
) -> tf.Tensor:
    """Codes at equal steps, both ends included.

    Args:
      start: The first code, float32 [D].
      end: The last code, float32 [D].
      steps: How many codes, int64 []; one alone is the start.
      spherical: Whether to go along the great circle (White 2016, arXiv:1609.04468) instead of the
        straight line, bool []; where no great circle is singled out, the line is taken anyway.

    Returns:
      float32 [steps, D].
    """
    # In float64, because the angle between codes that are close is lost in float32.
    first, last = tf.cast(start, tf.float64), tf.cast(end, tf.float64)
    along = tf.cast(tf.range(steps), tf.float64) / tf.cast(tf.maximum(steps - 1, 1), tf.float64)
    cosine = tf.math.divide_no_nan(tf.tensordot(first, last, 1), tf.norm(first) * tf.norm(last))
    angle = tf.acos(tf.clip_by_value(cosine, -1.0, 1.0))
    on_circle = spherical & (tf.sin(angle) >= _LEAST_SINE)
    # Of a zero code the cosine is 0 and the angle a right one, but there is no circle.
    on_circle &= (tf.norm(first) > 0.0) & (tf.norm(last) > 0.0)
    sine = tf.where(on_circle, tf.sin(angle), 1.0)
    of_first = tf.where(on_circle, tf.sin((1.0 - along) * angle) / sine, 1.0 - along)
    of_last = tf.where(on_circle, tf.sin(along * angle) / sine, along)
    return tf.cast(of_first[:, None] * first + of_last[:, None] * last, tf.float32)
