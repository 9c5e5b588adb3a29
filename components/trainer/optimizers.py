"""Update rules, their schedules, and averaged weights."""

import tf_keras

from components.trainer.config import TrainingConfig

_OPTIMIZERS = {
    "adam": tf_keras.optimizers.Adam,
    "adamax": tf_keras.optimizers.Adamax,
    "rmsprop": tf_keras.optimizers.RMSprop,
    "sgd": tf_keras.optimizers.SGD,
}
# Where a cosine ends, as a share of the peak.
_FINAL_SHARE = 0.01


def build_optimizer(
    config: TrainingConfig, steps_per_epoch: int
) -> tf_keras.optimizers.Optimizer | tf_keras.mixed_precision.LossScaleOptimizer:
    """The optimizer of a configuration; call it under the strategy's scope."""
    optimizer = _OPTIMIZERS[config.optimizer](
        _schedule(config, steps_per_epoch),
        global_clipnorm=config.gradient_clip_norm,
        use_ema=config.ema_momentum is not None,
        ema_momentum=config.ema_momentum or 0.99,
    )
    if config.precision == "mixed_float16":
        # Small gradients would be zero in half precision.
        return tf_keras.mixed_precision.LossScaleOptimizer(optimizer)
    return optimizer


def _schedule(config: TrainingConfig, steps_per_epoch: int):
    warmup_steps = round(config.warmup_epochs * steps_per_epoch)
    total = config.epochs * steps_per_epoch
    if config.schedule == "constant":
        if not warmup_steps:
            return config.learning_rate
        return tf_keras.optimizers.schedules.PolynomialDecay(
            config.learning_rate / warmup_steps, warmup_steps, config.learning_rate
        )
    return tf_keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0 if warmup_steps else config.learning_rate,
        decay_steps=max(1, total - warmup_steps),
        alpha=_FINAL_SHARE,
        warmup_target=config.learning_rate if warmup_steps else None,
        warmup_steps=warmup_steps,
    )


class AveragedWeights(tf_keras.callbacks.Callback):
    """Puts the running average of the weights in place while a model is validated and kept.

    tf_keras's optimizers average, but know no time to use the average but the end of training.
    """

    def __init__(self, keeper: tf_keras.callbacks.Callback):
        """Wraps a callback.

        Args:
          keeper: Called at the end of an epoch, with the averages in place.
        """
        super().__init__()
        self._keeper = keeper
        self._trained: list = []

    def set_model(self, model):
        """Passes the model on."""
        super().set_model(model)
        self._keeper.set_model(model)

    def on_test_begin(self, logs=None):
        """Puts the averages in place."""
        variables = self.model.trainable_variables
        self._trained = [variable.numpy() for variable in variables]
        optimizer = self.model.optimizer
        optimizer = getattr(optimizer, "inner_optimizer", optimizer)
        optimizer.finalize_variable_values(variables)

    def on_epoch_end(self, epoch, logs=None):
        """Lets the keeper see the averages, then puts the trained weights back."""
        self._keeper.on_epoch_end(epoch, logs)
        for variable, value in zip(self.model.trainable_variables, self._trained, strict=True):
            variable.assign(value)
