"""The floor that every model has to beat: each pixel an independent Bernoulli at its mean."""

import numpy as np
import tensorflow as tf

from components.image_binarizer.binarize import observe, parse_examples
from components.image_binarizer.image_format import ImageFormat


class IndependentPixels(tf.Module):
    """log p(x) = sum_d x_d log p_d + (1 - x_d) log(1 - p_d), with the `evaluate` signature.

    It has no code, so its rate is zero and its ELBO is its exact log-likelihood.
    """

    def __init__(self, mean_image: np.ndarray, count: int, image_format: ImageFormat):
        """Fits the model.

        Args:
          mean_image: Mean of the training images, [H, W, C] in [0, 1].
          count: Number of training images; p = (sum + 1/2) / (count + 1), the
            Krichevsky-Trofimov estimate, so that no held-out image has probability zero.
          image_format: What the stored pixels mean.
        """
        super().__init__(name="independent_pixels")
        probability = (mean_image * count + 0.5) / (count + 1.0)
        self._format = image_format
        self.log_odds = tf.Variable(
            np.log(probability) - np.log1p(-probability), dtype=tf.float32, trainable=False
        )
        self.log_off = tf.Variable(np.log1p(-probability).sum(), dtype=tf.float32, trainable=False)

    @tf.function(
        input_signature=[tf.TensorSpec([None], tf.string, name="examples")], autograph=False
    )
    def evaluate(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        """Scores model-ready Examples, in nats per image [B]."""
        images = observe(parse_examples(examples, self._format), self._format)
        elbo = tf.reduce_sum(images * self.log_odds, axis=(1, 2, 3)) + self.log_off
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
