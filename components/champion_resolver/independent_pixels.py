"""The floor that every model has to beat: each pixel a variable of its own, whatever the image."""

import tensorflow as tf

from components.champion_resolver.fit import fit_likelihood
from components.image_binarizer.binarize import observe, parse_examples
from components.image_binarizer.image_format import ImageFormat, PixelMoments
from components.trainer.config import Likelihood


class IndependentPixels(tf.Module):
    """log p(x) = sum_d log p_d(x_d), with the `evaluate` signature.

    It has no code, so its rate is zero and its ELBO is its exact log-likelihood.
    """

    def __init__(
        self,
        moments: PixelMoments,
        image_format: ImageFormat,
        likelihood: Likelihood,
        gaussian_scale: float,
    ):
        """Fits the model.

        Args:
          moments: Of the training images.
          image_format: What the stored pixels mean.
          likelihood: The family of p_d.
          gaussian_scale: Standard deviation of the likelihood `gaussian`; others fit theirs.
        """
        super().__init__(name="independent_pixels")
        layer, parameters = fit_likelihood(moments, likelihood, gaussian_scale)
        self._format = image_format
        # A bound method, because a tracked Keras layer would be traced and saved whole.
        self._negative_log_likelihood = layer.negative_log_likelihood
        self.parameters = tf.Variable(parameters, dtype=tf.float32, trainable=False)

    @tf.function(
        input_signature=[tf.TensorSpec([None], tf.string, name="examples")], autograph=False
    )
    def evaluate(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        """Scores model-ready Examples, in nats per image [B]."""
        images = observe(parse_examples(examples, self._format), self._format)
        elbo = -self._negative_log_likelihood(images, self.parameters)
        zeros = tf.zeros_like(elbo)
        return {
            "elbo": elbo,
            "distortion": -elbo,
            "rate": zeros,
            "importance_weighted_bound": elbo,
            "posterior_mean": zeros[:, None],
            "posterior_variance": tf.ones_like(elbo)[:, None],
        }

    def save(self, path: str) -> None:
        """Writes the SavedModel."""
        tf.saved_model.save(self, path, signatures={"evaluate": self.evaluate})
