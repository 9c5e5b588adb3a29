"""Callbacks that watch a training: a line an epoch, and a stop on a loss that is no number."""

import math
import time
from collections.abc import Callable

import tf_keras

from components.errors import InputError
from components.trainer.config import TrainingConfig


class EpochLine(tf_keras.callbacks.Callback):
    """Prints one line an epoch: ELBO, rate and distortion in nats per image, images a second."""

    def __init__(
        self, config: TrainingConfig, images_per_epoch: int, write: Callable[[str], None] = print
    ):
        super().__init__()
        self._config = config
        self._images = images_per_epoch
        self._write = write
        self._train_seconds = 0.0

    def on_epoch_begin(self, epoch, logs=None):
        """Starts the clock."""
        self._start = time.monotonic()
        self._train_seconds = 0.0

    def on_test_begin(self, logs=None):
        """Stops the clock, so that validation does not count as training time."""
        self._train_seconds = time.monotonic() - self._start

    def on_epoch_end(self, epoch, logs=None):
        """Prints the line."""
        total = time.monotonic() - self._start
        rate = self._images / (self._train_seconds or total)
        epochs = self._config.epochs
        self._write(
            f"    epoch {epoch + 1:>{len(str(epochs))}}/{epochs}  {self._scores(logs)}"
            f"  {rate:,.0f} images/s  {total:.1f} s"
        )

    def _scores(self, logs: dict) -> str:
        if self._config.is_autoencoder:
            return f"distortion {logs['distortion']:8.2f}  validation {logs['val_distortion']:8.2f}"
        return (
            f"ELBO {logs['elbo']:8.2f}  validation {logs['val_elbo']:8.2f}"
            f"  (rate {logs['val_rate']:.2f}, distortion {logs['val_distortion']:.2f})"
        )


class StopOnNonFinite(tf_keras.callbacks.Callback):
    """Ends the training with a clear error as soon as the loss is NaN or infinite."""

    def __init__(self):
        super().__init__()
        self._epoch = 0

    def on_epoch_begin(self, epoch, logs=None):
        """Notes the epoch for the message."""
        self._epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        """Checks the running mean of the loss, which stays NaN once it was."""
        if not math.isfinite(logs["loss"]):
            raise InputError(
                f"The loss became {logs['loss']} in epoch {self._epoch + 1}, step {batch + 1}. "
                "Lower learning_rate or gradient_clip_norm; nothing was exported."
            )
