"""The approximate posterior q(z|x), from the encoder's raw outputs."""

import math
from typing import NamedTuple

import tensorflow as tf

# softplus(_UNIT_SHIFT) = 1, so an untrained encoder starts at the prior's scale.
_UNIT_SHIFT = math.log(math.e - 1.0)
# Keeps log(scale) finite when softplus underflows.
_SCALE_FLOOR = 1e-5


class DiagonalNormal(NamedTuple):
    """A Gaussian with independent dimensions.

    Attributes:
      mean: [B, D].
      scale: Standard deviation, [B, D], positive.
    """

    mean: tf.Tensor
    scale: tf.Tensor

    @staticmethod
    def num_parameters(latent_size: int) -> int:
        """How many numbers the encoder has to give per image."""
        return 2 * latent_size

    @classmethod
    def from_parameters(cls, parameters: tf.Tensor) -> "DiagonalNormal":
        """Splits the encoder's output [B, 2D] into a mean and a softplus scale."""
        mean, rho = tf.split(parameters, 2, axis=-1)
        return cls(mean, tf.nn.softplus(rho + _UNIT_SHIFT) + _SCALE_FLOOR)

    def sample(self, noise: tf.Tensor) -> tf.Tensor:
        """Reparameterised draw: mean + scale * noise, noise standard normal [..., B, D]."""
        return self.mean + self.scale * noise

    def kl_per_dimension(self) -> tf.Tensor:
        """KL(q(z_j|x) || N(0, 1)) in nats, [B, D] (Kingma & Welling 2014, appendix B)."""
        variance = tf.square(self.scale)
        return 0.5 * (tf.square(self.mean) + variance - 1.0) - tf.math.log(self.scale)

    def log_prob(self, z: tf.Tensor) -> tf.Tensor:
        """Log q(z|x) in nats for codes [..., B, D], summed over dimensions."""
        return standard_normal_log_prob((z - self.mean) / self.scale) - tf.reduce_sum(
            tf.math.log(self.scale), axis=-1
        )


def standard_normal_log_prob(z: tf.Tensor) -> tf.Tensor:
    """Log N(z; 0, I) in nats for codes [..., D], summed over dimensions."""
    return -0.5 * tf.reduce_sum(tf.square(z) + math.log(2.0 * math.pi), axis=-1)
