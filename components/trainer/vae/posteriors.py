"""Approximate posteriors q(z|x), from the encoder's raw outputs.

Each is a named tuple of tensors [..., B, D] with the same methods: `from_parameters`, `sample`,
`log_prob`, `kl_to_standard_normal`. Their parameters are those of the tfpl layers of the same
distribution, so that one encoder serves every formulation.
"""

import math
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from tensorflow_probability.python.math import fill_triangular

from components.trainer.config import Posterior

# softplus(_UNIT_SCALE) = 1: as an encoder's bias it starts q(z|x) at the prior's scale.
_UNIT_SCALE = math.log(math.e - 1.0)
# What tfpl.MultivariateNormalTriL adds to the diagonal.
_DIAGONAL_SHIFT = 1e-5
_HALF_LOG_2_PI = 0.5 * math.log(2.0 * math.pi)


class DiagonalNormal(NamedTuple):
    """A Gaussian with independent dimensions.

    Attributes:
      mean: [..., D].
      scale: Standard deviation, [..., D], positive.
    """

    mean: tf.Tensor
    scale: tf.Tensor

    @staticmethod
    def num_parameters(latent_size: int) -> int:
        """How many numbers the encoder has to give per image."""
        return 2 * latent_size

    @staticmethod
    def initial_bias(latent_size: int) -> np.ndarray:
        """The encoder's output bias at which an untrained posterior is about the prior."""
        return np.repeat([0.0, _UNIT_SCALE], latent_size)

    @classmethod
    def from_parameters(cls, parameters: tf.Tensor) -> "DiagonalNormal":
        """Splits the encoder's output [..., 2D] into a mean and a softplus scale."""
        mean, rho = tf.split(parameters, 2, axis=-1)
        return cls(mean, tf.nn.softplus(rho))

    @property
    def variance(self) -> tf.Tensor:
        """Marginal variances, [..., D]."""
        return tf.square(self.scale)

    def sample(self, noise: tf.Tensor) -> tf.Tensor:
        """Reparameterised draws: mean + scale * noise, noise standard normal [..., B, D]."""
        return self.mean + self.scale * noise

    def kl_per_dimension(self) -> tf.Tensor:
        """KL(q(z_j|x) || N(0, 1)) in nats, [..., D] (Kingma & Welling 2014, appendix B)."""
        return 0.5 * (tf.square(self.mean) + self.variance - 1.0) - tf.math.log(self.scale)

    def kl_to_standard_normal(self) -> tf.Tensor:
        """KL(q(z|x) || N(0, I)) in nats per image, [...]."""
        return tf.reduce_sum(self.kl_per_dimension(), axis=-1)

    def log_prob(self, z: tf.Tensor) -> tf.Tensor:
        """Log q(z|x) in nats for codes [..., B, D], summed over dimensions."""
        return standard_normal_log_prob((z - self.mean) / self.scale) - tf.reduce_sum(
            tf.math.log(self.scale), axis=-1
        )

    def log_prob_of_each(self, z: tf.Tensor) -> tf.Tensor:
        """Log-densities in nats, [..., M], of codes [..., D] under each of M Gaussians [M, D].

        By matrix products, because a difference of every code with every mean fills the memory.
        """
        precision = 1.0 / self.variance
        squares = (
            tf.linalg.matmul(tf.square(z), precision, transpose_b=True)
            - 2.0 * tf.linalg.matmul(z, self.mean * precision, transpose_b=True)
            + tf.reduce_sum(tf.square(self.mean) * precision, axis=-1)
        )
        normaliser = tf.reduce_sum(tf.math.log(self.scale) + _HALF_LOG_2_PI, axis=-1)
        return -0.5 * squares - normaliser


class FullCovarianceNormal(NamedTuple):
    """A Gaussian whose dimensions may depend on each other.

    Attributes:
      mean: [..., D].
      scale_tril: Lower triangular factor of the covariance, [..., D, D], positive diagonal.
    """

    mean: tf.Tensor
    scale_tril: tf.Tensor

    @staticmethod
    def num_parameters(latent_size: int) -> int:
        """How many numbers the encoder has to give per image."""
        return latent_size + latent_size * (latent_size + 1) // 2

    @staticmethod
    def initial_bias(latent_size: int) -> np.ndarray:
        """The encoder's output bias at which an untrained posterior is about the prior."""
        # Where fill_triangular puts each number: read off from a matrix of positions.
        size = latent_size * (latent_size + 1) // 2
        places = fill_triangular(tf.range(1.0, size + 1)).numpy()
        diagonal = np.isin(np.arange(1, size + 1), np.diag(places))
        return np.concatenate([np.zeros(latent_size), np.where(diagonal, _UNIT_SCALE, 0.0)])

    @classmethod
    def from_parameters(cls, parameters: tf.Tensor) -> "FullCovarianceNormal":
        """Splits the encoder's output [..., D + D(D+1)/2] into a mean and a triangle."""
        # D solves D + D(D+1)/2 = P.
        latent_size = (math.isqrt(9 + 8 * parameters.shape[-1]) - 3) // 2
        triangle = fill_triangular(parameters[..., latent_size:])
        diagonal = tf.nn.softplus(tf.linalg.diag_part(triangle)) + _DIAGONAL_SHIFT
        return cls(parameters[..., :latent_size], tf.linalg.set_diag(triangle, diagonal))

    @property
    def variance(self) -> tf.Tensor:
        """Marginal variances, [..., D]."""
        return tf.reduce_sum(tf.square(self.scale_tril), axis=-1)

    def sample(self, noise: tf.Tensor) -> tf.Tensor:
        """Reparameterised draws: mean + scale_tril @ noise, noise standard normal [..., B, D]."""
        return self.mean + tf.linalg.matvec(self.scale_tril, noise)

    def kl_to_standard_normal(self) -> tf.Tensor:
        """KL(q(z|x) || N(0, I)) in nats per image, [...]."""
        return (
            tf.reduce_sum(0.5 * (tf.square(self.mean) + self.variance - 1.0), axis=-1)
            - self._log_determinant()
        )

    def log_prob(self, z: tf.Tensor) -> tf.Tensor:
        """Log q(z|x) in nats for codes [..., B, D]."""
        centred = z - self.mean
        factor = tf.broadcast_to(
            self.scale_tril, tf.concat([tf.shape(centred), tf.shape(centred)[-1:]], axis=0)
        )
        white = tf.linalg.triangular_solve(factor, centred[..., None])[..., 0]
        return standard_normal_log_prob(white) - self._log_determinant()

    def log_prob_of_each(self, z: tf.Tensor) -> tf.Tensor:
        """Log-densities in nats, [..., M], of codes [..., D] under each of M Gaussians [M, D]."""
        identity = tf.eye(tf.shape(self.mean)[-1], batch_shape=tf.shape(self.mean)[:-1])
        whiten = tf.linalg.triangular_solve(self.scale_tril, identity)
        # Not by tf.einsum, which gives wrong numbers for "...e,mde->...md" and many codes.
        white = tf.tensordot(z, whiten, axes=[[-1], [-1]]) - tf.linalg.matvec(whiten, self.mean)
        return standard_normal_log_prob(white) - self._log_determinant()

    def _log_determinant(self) -> tf.Tensor:
        return tf.reduce_sum(tf.math.log(tf.linalg.diag_part(self.scale_tril)), axis=-1)


class PointMass(NamedTuple):
    """One code an image: not a posterior, but what an autoencoder has in its place.

    Its rate is infinite under any continuous prior, so it has no ELBO.

    Attributes:
      mean: The code, [..., D].
    """

    mean: tf.Tensor

    @staticmethod
    def num_parameters(latent_size: int) -> int:
        """How many numbers the encoder has to give per image."""
        return latent_size

    @staticmethod
    def initial_bias(latent_size: int) -> np.ndarray:
        """The encoder's output bias: none."""
        return np.zeros(latent_size)

    @classmethod
    def from_parameters(cls, parameters: tf.Tensor) -> "PointMass":
        """The encoder's output [..., D] is the code."""
        return cls(parameters)

    @property
    def variance(self) -> tf.Tensor:
        """Zeros [..., D]."""
        return tf.zeros_like(self.mean)

    def sample(self, noise: tf.Tensor) -> tf.Tensor:
        """The code, whatever the noise [..., B, D]."""
        return self.mean + tf.zeros_like(noise)

    def kl_to_standard_normal(self) -> tf.Tensor:
        """Infinite, [...]."""
        return tf.fill(tf.shape(self.mean)[:-1], math.inf)

    def log_prob(self, z: tf.Tensor) -> tf.Tensor:
        """Infinite at the code itself, which is where it is asked for; [...]."""
        return tf.fill(tf.shape(z)[:-1], math.inf)


def standard_normal_log_prob(z: tf.Tensor) -> tf.Tensor:
    """Log N(z; 0, I) in nats for codes [..., D], summed over dimensions."""
    return -tf.reduce_sum(0.5 * tf.square(z) + _HALF_LOG_2_PI, axis=-1)


POSTERIORS: dict[Posterior, type[DiagonalNormal | FullCovarianceNormal | PointMass]] = {
    "diagonal": DiagonalNormal,
    "full_covariance": FullCovarianceNormal,
    "point": PointMass,
}
