"""Formulations c and d: the encoder of formulation b, and the distortion as a Keras loss."""

import tensorflow as tf
import tf_keras

from components.trainer.vae.formulations.tfp_layers import TfpPosterior


class LossFromLogits(TfpPosterior):
    """Formulation c: a custom loss of the decoder's raw outputs.

    `loss=tf.nn.sigmoid_cross_entropy_with_logits` would take its arguments in the wrong order and
    average over pixels.
    """

    def output(self, parameters: tf.Tensor) -> tf.Tensor:
        """The parameters themselves."""
        return parameters

    def image_loss(self, images: tf.Tensor, output: tf.Tensor) -> tf.Tensor:
        """-log p(x|z), [B]."""
        return self.likelihood.negative_log_likelihood(images, output)


class BinaryCrossentropyOnMean(TfpPosterior):
    """Formulation d: Keras's BinaryCrossentropy of the mean image.

    Keras averages the last axis, so a sum over pixels of a colour image would be three times too
    small; and it clips means at 1e-7, unless they come straight from a sigmoid whose logits it can
    take instead.
    """

    def __init__(self, *args, **kwargs):
        """As VariationalAutoencoder."""
        super().__init__(*args, **kwargs)
        self.cross_entropy = tf_keras.losses.BinaryCrossentropy(
            reduction=tf_keras.losses.Reduction.NONE
        )

    def output(self, parameters: tf.Tensor) -> tf.Tensor:
        """The mean image."""
        return tf_keras.activations.sigmoid(parameters)

    def image_loss(self, images: tf.Tensor, output: tf.Tensor) -> tf.Tensor:
        """Cross-entropy [B], summed over pixels and channels."""
        mean_over_channels = self.cross_entropy(images, output)
        return tf.reduce_sum(mean_over_channels, axis=(1, 2)) * images.shape[-1]
