"""What training minimises, from the terms of the ELBO."""

import dataclasses
import math
from typing import NamedTuple

import tensorflow as tf

from components.trainer.vae.posteriors import DiagonalNormal, FullCovarianceNormal, PointMass


class Terms(NamedTuple):
    """The ELBO of B images in parts, in nats per image, from K codes each.

    Attributes:
      posterior: q(z|x), tensors [B, ...].
      distortion: -log p(x|z_k), [K, B].
      log_ratio: log q(z_k|x) - log p(z_k), [K, B].
      rate: The closed form, or the mean of `log_ratio` over codes, [B].
    """

    posterior: DiagonalNormal | FullCovarianceNormal | PointMass
    distortion: tf.Tensor
    log_ratio: tf.Tensor
    rate: tf.Tensor

    @property
    def elbo(self) -> tf.Tensor:
        """-(distortion + rate), [B], at KL weight 1."""
        return -(tf.reduce_mean(self.distortion, axis=0) + self.rate)


@dataclasses.dataclass(frozen=True)
class KlWeight:
    """The weight of the rate, which may grow linearly from 0 (Bowman et al. 2016).

    It is computed in the graph from the optimizer's step counter, because a Keras callback would
    be called once every `steps_per_execution` steps only, and a restart would begin again.

    Attributes:
      final: The weight in the end; other than 1 it is the beta of Higgins et al. 2017.
      warmup_steps: Steps until it is reached.
    """

    final: float = 1.0
    warmup_steps: int = 0

    def at(self, step: tf.Tensor) -> tf.Tensor:
        """The weight of a step that is about to be made, []; steps count from 0."""
        if not self.warmup_steps:
            return tf.constant(self.final)
        return self.final * tf.minimum(1.0, tf.cast(step, tf.float32) / self.warmup_steps)


@dataclasses.dataclass(frozen=True)
class Elbo:
    """Distortion + weight * rate (Kingma & Welling 2014, equation 10).

    Attributes:
      free_bits: Nats that a dimension's rate is not pushed below (Kingma et al. 2016, equation 15,
        with each image as a minibatch of its own, so that it does not depend on the others).
    """

    free_bits: float = 0.0

    def loss(self, terms: Terms, kl_weight: tf.Tensor) -> tf.Tensor:
        """Nats per image, [B]."""
        distortion = tf.reduce_mean(terms.distortion, axis=0)
        if isinstance(terms.posterior, PointMass):
            return distortion
        rate = terms.rate
        if self.free_bits:
            floored = tf.maximum(terms.posterior.kl_per_dimension(), self.free_bits)
            rate = tf.reduce_sum(floored, axis=-1)
        return distortion + kl_weight * rate


@dataclasses.dataclass(frozen=True)
class ImportanceWeighted:
    """-log 1/K sum_k p(x|z_k) p(z_k) / q(z_k|x) (Burda et al. 2016, equation 8)."""

    def loss(self, terms: Terms, kl_weight: tf.Tensor) -> tf.Tensor:
        """Nats per image, [B]; below weight 1, while that warms up, not yet a bound."""
        return -importance_weighted_bound(-terms.distortion - kl_weight * terms.log_ratio)


def importance_weighted_bound(log_weights: tf.Tensor) -> tf.Tensor:
    """Log 1/K sum_k w_k from log w_k [K, B]; [B]."""
    return tf.reduce_logsumexp(log_weights, axis=0) - math.log(log_weights.shape[0])
