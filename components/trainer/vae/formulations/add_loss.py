"""Formulation e, the default: a subclass that adds its loss inside `call`, trained by Keras."""

import tensorflow as tf

from components.trainer.input import Batch
from components.trainer.vae.model import VariationalAutoencoder


class AddLoss(VariationalAutoencoder):
    """`add_loss` must be called inside `call`: after `compile` it is ignored, or frozen."""

    def call(self, batch: Batch, training: bool = False) -> tf.Tensor:
        """Adds the loss of a batch; returns the distortion [K, B]."""
        terms = self.terms(batch, training)
        losses = self.objective.loss(terms, self.current_kl_weight())
        self.add_loss(tf.reduce_mean(batch["weight"] * losses))
        self.track(terms, batch)
        return terms.distortion

    @tf.autograph.experimental.do_not_convert
    def train_step(self, batch: Batch) -> dict[str, tf.Tensor]:
        """Keras's own update; Keras divides what was added by the number of replicas."""
        super().train_step(batch)
        return {name: tracker.result() for name, tracker in self.trackers.items()}
