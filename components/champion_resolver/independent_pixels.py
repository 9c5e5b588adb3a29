"""The floor that every model has to beat: each pixel a variable of its own, whatever the image."""

import dataclasses
import json

import tensorflow as tf

from components.champion_resolver.fit import fit_likelihood
from components.image_binarizer.binarize import observe, parse_examples
from components.image_binarizer.image_format import ImageFormat, PixelMoments
from components.trainer.config import Likelihood


class IndependentPixels(tf.Module):
    """log p(x) = sum_d log p_d(x_d), with the signatures that score a model.

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
        self.mean = tf.Variable(layer.mean(self.parameters), trainable=False)
        card = {"image_format": dataclasses.asdict(image_format)}
        self._card = json.dumps({**card, "training": {"likelihood": likelihood}})

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
            "squared_error": tf.reduce_mean(tf.square(self.mean - images), axis=[1, 2, 3]),
            "rounded_accuracy": tf.reduce_mean(
                tf.cast(tf.round(self.mean) == tf.round(images), tf.float32), axis=[1, 2, 3]
            ),
            "code": zeros[:, None],
            "posterior_mean": zeros[:, None],
            "posterior_variance": tf.ones_like(elbo)[:, None],
        }

    @tf.function(autograph=False)
    def importance_weighted_bound(
        self, examples: tf.Tensor, number: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """The exact log-likelihood, which the bound of a model without a code is for every K."""
        del number
        return {"importance_weighted_bound": self.evaluate(examples)["elbo"]}

    @tf.function(input_signature=[], autograph=False)
    def describe(self) -> dict[str, tf.Tensor]:
        """The image format and the likelihood, as JSON."""
        return {"card": tf.constant(self._card)}

    def save(self, path: str) -> None:
        """Writes the SavedModel."""
        signatures = {
            "evaluate": self.evaluate,
            "importance_weighted_bound": self.importance_weighted_bound.get_concrete_function(
                tf.TensorSpec([None], tf.string, name="examples"),
                tf.TensorSpec([], tf.int64, name="number"),
            ),
            "describe": self.describe,
        }
        tf.saved_model.save(self, path, signatures=signatures)
