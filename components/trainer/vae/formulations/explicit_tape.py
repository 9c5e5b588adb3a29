"""Formulation a: reparameterise, write the loss down, differentiate it with a GradientTape."""

import tensorflow as tf

from components.trainer.input import Batch
from components.trainer.vae.model import VariationalAutoencoder


class ExplicitTape(VariationalAutoencoder):
    """The loss is an expression in `train_step`; Keras only runs the loop."""

    @tf.autograph.experimental.do_not_convert
    def train_step(self, batch: Batch) -> dict[str, tf.Tensor]:
        """One update."""
        with tf.GradientTape() as tape:
            terms = self.terms(batch, training=True)
            losses = self.objective.loss(terms, self.current_kl_weight())
            loss = tf.reduce_mean(batch["weight"] * losses)
            # Gradients are summed over replicas.
            loss /= tf.distribute.get_strategy().num_replicas_in_sync
        logs = self.track(terms, batch)
        self.optimizer.minimize(loss, self.trainable_variables, tape=tape)
        return logs
