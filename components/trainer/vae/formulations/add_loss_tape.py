"""Formulation f: the `call` of formulation e, differentiated with a GradientTape."""

import tensorflow as tf

from components.trainer.input import Batch
from components.trainer.vae.formulations.add_loss import AddLoss


class AddLossTape(AddLoss):
    """What `call` added is summed and differentiated in `train_step`."""

    @tf.autograph.experimental.do_not_convert
    def train_step(self, batch: Batch) -> dict[str, tf.Tensor]:
        """One update."""
        with tf.GradientTape() as tape:
            self(batch, training=True)
            # Gradients are summed over replicas.
            loss = tf.add_n(self.losses) / tf.distribute.get_strategy().num_replicas_in_sync
        self.optimizer.minimize(loss, self.trainable_variables, tape=tape)
        return {name: tracker.result() for name, tracker in self.trackers.items()}
