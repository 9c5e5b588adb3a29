"""What a training leaves in its ModelRun folder, and how a killed one goes on from it.

<model_run>/
  training_key.json     what is being trained on what; only an equal key is resumed
  backup/               weights, optimizer and noise of the last epoch; gone when training ends
  best/                 weights of the epoch with the best validation ELBO, and which one it was
  tensorboard/          event files
  history.csv           one line an epoch
"""

import dataclasses
import hashlib
import json
import math
import shutil
from pathlib import Path

import tensorflow as tf
import tf_keras

from components.errors import InputError
from components.trainer.strategy import is_chief

BACKUP = "backup"
BEST = "best"

# Keras's BackupAndRestore adds this level, and removes it when training ends.
_BACKUP_CHECKPOINT = f"{BACKUP}/chief"
_KEY_FILE = "training_key.json"
_BEST_FILE = "best.json"


def training_key(description: dict) -> str:
    """A hash of everything that decides a training's outcome."""
    return hashlib.sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()


def adopt_interrupted_run(model_run_dir: str, key: str) -> bool:
    """Continues the newest earlier ModelRun of the same training that never ended.

    TFX gives every execution a new folder beside those of earlier executions, so an interrupted
    one is found among the neighbours; without TFX, it may be the folder itself.

    Of several processes, the chief alone calls this, before the others read what is there.

    Args:
      model_run_dir: This execution's ModelRun folder; an interrupted run is copied into it.
      key: From `training_key`.

    Returns:
      Whether there was one.
    """
    here = Path(model_run_dir)
    here.mkdir(parents=True, exist_ok=True)
    if _is_interrupted(here, key):
        return True
    # What another training left here must not be taken for this one's.
    for name in (BACKUP, BEST):
        shutil.rmtree(here / name, ignore_errors=True)
    neighbours = (folder for folder in here.parent.iterdir() if folder != here)
    interrupted = [folder for folder in neighbours if _is_interrupted(folder, key)]
    if interrupted:
        newest = max(interrupted, key=lambda folder: folder.stat().st_mtime)
        shutil.copytree(newest, here, dirs_exist_ok=True)
        # Taken over: a training that starts after this one has ended must not find it again.
        shutil.rmtree(newest / BACKUP)
    (here / _KEY_FILE).write_text(json.dumps({"key": key}) + "\n")
    return bool(interrupted)


def _is_interrupted(folder: Path, key: str) -> bool:
    return (
        (folder / _BACKUP_CHECKPOINT).is_dir()
        and (folder / _KEY_FILE).is_file()
        and json.loads((folder / _KEY_FILE).read_text())["key"] == key
    )


def epochs_done(model_run_dir: Path) -> int:
    """Whole epochs in the backup that Keras's BackupAndRestore is about to restore."""
    checkpoint = tf.train.latest_checkpoint(str(model_run_dir / _BACKUP_CHECKPOINT))
    if checkpoint is None:
        return 0
    variable = "ckpt_saved_epoch/.ATTRIBUTES/VARIABLE_VALUE"
    return int(tf.train.load_variable(checkpoint, variable)) + 1


@dataclasses.dataclass(frozen=True)
class Monitor:
    """A logged number that says how good an epoch was.

    Attributes:
      name: Its name in Keras's logs.
      sign: 1 if more is better, -1 if less is.
    """

    name: str
    sign: int


ELBO = Monitor("val_elbo", 1)
DISTORTION = Monitor("val_distortion", -1)


class BestWeights(tf_keras.callbacks.Callback):
    """Keeps the weights of the best epoch, and ends training when none better comes.

    What it knows is on disk, so a restart changes nothing.
    """

    def __init__(
        self,
        folder: Path,
        monitor: Monitor = ELBO,
        patience: int | None = None,
        count_from: int = 0,
    ):
        """Reads what an earlier process kept.

        Args:
          folder: Where weights go.
          monitor: What decides.
          patience: Epochs without a better one after which training ends; None never ends it.
          count_from: Epochs that do not count for that, because the KL weight still grows.
        """
        super().__init__()
        self._folder = folder
        self._monitor = monitor
        self._patience = patience
        self._count_from = count_from
        self._best_file = folder / _BEST_FILE
        self.best: dict = {"epoch": None, monitor.name: None}
        if self._best_file.is_file():
            self.best = json.loads(self._best_file.read_text())

    def on_epoch_end(self, epoch, logs=None):
        """Saves the weights if they are the best so far."""
        value = float(logs[self._monitor.name])
        if self._is_better(value):
            self.best = {"epoch": epoch + 1, self._monitor.name: value}
            if is_chief():
                self._folder.mkdir(parents=True, exist_ok=True)
                self._checkpoint().write(str(self._folder / "weights"))
                self._best_file.write_text(json.dumps(self.best) + "\n")
        if self._patience:
            since = max(self.best["epoch"] or 0, self._count_from)
            self.model.stop_training = epoch + 1 - since >= self._patience

    def restore(self) -> None:
        """Loads the best weights back into the model.

        Raises:
          InputError: If no epoch had a finite validation score.
        """
        if self.best["epoch"] is None:
            raise InputError(
                f"No epoch had a finite {self._monitor.name}; lower learning_rate. "
                "Nothing was exported."
            )
        self._checkpoint().read(str(self._folder / "weights")).expect_partial()

    def _is_better(self, value: float) -> bool:
        best = self.best[self._monitor.name]
        return math.isfinite(value) and (best is None or self._monitor.sign * (value - best) > 0)

    def _checkpoint(self) -> tf.train.Checkpoint:
        parts = ("encoder", "decoder", "prior", "likelihood")
        return tf.train.Checkpoint(**{name: getattr(self.model, name) for name in parts})
