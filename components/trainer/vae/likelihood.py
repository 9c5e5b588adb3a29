"""The likelihood p(x|z), from the decoder's raw outputs."""

import tensorflow as tf

_PIXEL_AXES = (-3, -2, -1)


class Bernoulli:
    """Independent pixels in {0, 1}, from logits [..., H, W, C]."""

    @staticmethod
    def negative_log_likelihood(images: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        """-log p(x|z) in nats per image [...], summed over pixels and channels.

        Args:
          images: Pixels in {0, 1}, [..., H, W, C], broadcast against the logits.
          logits: Log-odds of a one, [..., H, W, C].
        """
        # log(1 + e^l) - x l, the stable form of cross-entropy from logits; broadcasts over samples.
        return tf.reduce_sum(tf.nn.softplus(logits) - images * logits, axis=_PIXEL_AXES)

    @staticmethod
    def mean(logits: tf.Tensor) -> tf.Tensor:
        """P(x = 1) per pixel."""
        return tf.sigmoid(logits)

    @staticmethod
    def mode(logits: tf.Tensor) -> tf.Tensor:
        """The likeliest pixel, 0 or 1."""
        return tf.cast(logits > 0.0, logits.dtype)

    @staticmethod
    def sample(logits: tf.Tensor, uniform: tf.Tensor) -> tf.Tensor:
        """A draw per pixel from uniform noise in [0, 1): one where the noise is below the mean."""
        return tf.cast(uniform < tf.sigmoid(logits), logits.dtype)
