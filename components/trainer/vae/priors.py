"""Priors p(z) over codes of D dimensions.

Each is a Keras layer, because some have weights to learn, with `log_prob` and `sample`.
"""

import abc
import math
from collections.abc import Callable

import numpy as np
import tensorflow as tf
import tf_keras

from components.trainer.config import Prior
from components.trainer.vae.likelihoods import log_odds
from components.trainer.vae.posteriors import (
    DiagonalNormal,
    FullCovarianceNormal,
    standard_normal_log_prob,
)

Gaussians = DiagonalNormal | FullCovarianceNormal


class StandardNormal(tf_keras.layers.Layer):
    """N(0, I)."""

    def log_prob(self, z: tf.Tensor) -> tf.Tensor:
        """Log p(z) in nats for codes [..., D], summed over dimensions."""
        return standard_normal_log_prob(z)

    def sample(self, noise: tf.Tensor, uniform: tf.Tensor) -> tf.Tensor:
        """Codes [N, D] from standard normal noise [N, D] and uniform noise [N], here unused."""
        del uniform
        return noise


class MixturePrior(tf_keras.layers.Layer, abc.ABC):
    """Gaussians with weights; subclasses say which."""

    @abc.abstractmethod
    def components(self) -> tuple[Gaussians, tf.Tensor]:
        """The Gaussians, tensors [M, ...], and the logarithms of their weights, [M]."""

    def log_prob(self, z: tf.Tensor) -> tf.Tensor:
        """Log p(z) = log sum_m w_m N(z; m) in nats for codes [..., D]."""
        gaussians, log_weights = self.components()
        return tf.reduce_logsumexp(gaussians.log_prob_of_each(z) + log_weights, axis=-1)

    def sample(self, noise: tf.Tensor, uniform: tf.Tensor) -> tf.Tensor:
        """Codes [N, D] from standard normal noise [N, D]; uniform noise [N] chooses Gaussians."""
        gaussians, log_weights = self.components()
        chosen = tf.searchsorted(tf.cumsum(tf.exp(log_weights)), uniform, side="right")
        # Rounding may leave the last cumulated weight a little under a uniform number.
        chosen = tf.minimum(chosen, tf.shape(log_weights)[0] - 1)
        return type(gaussians)(*(tf.gather(part, chosen) for part in gaussians)).sample(noise)


class MixtureOfGaussians(MixturePrior):
    """Learned diagonal Gaussians with learned weights."""

    def __init__(self, latent_size: int, num_components: int, seed: int):
        """Spreads the means as N(0, I), with unit scales and equal weights.

        Args:
          latent_size: Number of latent dimensions D.
          num_components: Number of Gaussians M.
          seed: Seed of the means.
        """
        super().__init__(name="prior")
        normal = tf_keras.initializers.RandomNormal(stddev=1.0, seed=seed)
        self.means = self.add_weight("means", (num_components, latent_size), initializer=normal)
        self.rhos = self.add_weight(
            "rhos",
            (num_components, latent_size),
            initializer=tf_keras.initializers.Constant(DiagonalNormal.initial_bias(1)[1]),
        )
        self.logits = self.add_weight("logits", (num_components,), initializer="zeros")

    def components(self) -> tuple[Gaussians, tf.Tensor]:
        """The Gaussians [M, D] and the logarithms of their weights [M]."""
        gaussians = DiagonalNormal(tf.convert_to_tensor(self.means), tf.nn.softplus(self.rhos))
        return gaussians, tf.nn.log_softmax(self.logits)


class VampPrior(MixturePrior):
    """The mean of the posteriors of M learned pseudo-images (Tomczak & Welling 2018, eq. 9)."""

    def __init__(
        self,
        encode: Callable[[tf.Tensor], Gaussians],
        mean_image: np.ndarray,
        num_components: int,
        seed: int,
    ):
        """Starts the pseudo-images as noisy copies of the mean image.

        Args:
          encode: Images [M, H, W, C] in [0, 1] to their posteriors.
          mean_image: The training set's mean image [H, W, C].
          num_components: Number of pseudo-images M.
          seed: Seed of their noise.
        """
        super().__init__(name="prior")
        self._encode = encode
        logits = log_odds(mean_image, margin=0.01)
        noise = np.random.default_rng(seed).normal(size=(num_components, *logits.shape))
        self.pseudo_logits = self.add_weight(
            "pseudo_logits",
            noise.shape,
            initializer=tf_keras.initializers.Constant(logits + noise),
        )

    def components(self) -> tuple[Gaussians, tf.Tensor]:
        """The posteriors of the pseudo-images, and the logarithm of 1/M, [M]."""
        count = self.pseudo_logits.shape[0]
        return self._encode(tf.sigmoid(self.pseudo_logits)), tf.fill([count], -math.log(count))


class FixedMixture(MixturePrior):
    """A mixture whose Gaussians are numbers: what a served decoder needs of a VampPrior."""

    def __init__(self, prior: MixturePrior):
        """Computes the components of a prior once."""
        super().__init__(name="prior", trainable=False)
        gaussians, log_weights = prior.components()
        self._kind = type(gaussians)
        self._parts = [tf.Variable(part, trainable=False) for part in gaussians]
        self._log_weights = tf.Variable(log_weights, trainable=False)

    def components(self) -> tuple[Gaussians, tf.Tensor]:
        """As they were when this was made."""
        parts = (tf.convert_to_tensor(part) for part in self._parts)
        return self._kind(*parts), tf.convert_to_tensor(self._log_weights)


def build_prior(
    kind: Prior,
    latent_size: int,
    num_components: int,
    encode: Callable[[tf.Tensor], Gaussians],
    mean_image: np.ndarray,
    seed: int,
) -> StandardNormal | MixturePrior:
    """A prior by name.

    Args:
      kind: `standard_normal`, `mixture` or `vamp`.
      latent_size: Number of latent dimensions D.
      num_components: Of the mixture.
      encode: Images to posteriors, for `vamp`.
      mean_image: The training set's mean image, for `vamp`.
      seed: Seed of what is drawn.
    """
    if kind == "mixture":
        return MixtureOfGaussians(latent_size, num_components, seed)
    if kind == "vamp":
        return VampPrior(encode, mean_image, num_components, seed)
    return StandardNormal(name="prior")
