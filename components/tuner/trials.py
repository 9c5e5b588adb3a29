"""A trial: one training, its score, and what is kept of it.

<trials_dir>/<key>/
  model_run/     checkpoints, logs and history of the training, as the Trainer leaves them
  model/         SavedModel of its best epoch
  result.json    numbers; complete ones are not computed again
"""

import dataclasses
import json
import math
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf
import tf_keras

from components.errors import InputError
from components.image_binarizer.image_format import read_mean_image
from components.model_report.history import read_history
from components.model_report.numbers import latent_usage
from components.trainer import checkpoints
from components.trainer.config import TrainingConfig
from components.trainer.run_fn import train

_RESULT_FILE = "result.json"
_MODEL = "model"
_MODEL_RUN = "model_run"
_SCORED_AT_ONCE = 250


@dataclasses.dataclass(frozen=True)
class TrialResult:
    """What a trial came to; scores are means over validation images at KL weight 1, in nats.

    Attributes:
      seconds: Wall time of training and scoring, in the process that ended the trial.
      failure: Why there are no scores; empty if there are.
      epochs: Epochs that were trained.
      best_epoch: The epoch whose weights were scored.
      elbo: ELBO, of one code an image.
      elbo_standard_error: Of that mean over images; infinite for a single image.
      rate: KL divergence from the prior.
      distortion: Negative log-likelihood.
      active_units: Latent dimensions whose posterior mean differs from image to image.
    """

    seconds: float
    failure: str = ""
    epochs: int | None = None
    best_epoch: int | None = None
    elbo: float | None = None
    elbo_standard_error: float | None = None
    rate: float | None = None
    distortion: float | None = None
    active_units: int | None = None


def trial_folder(
    trials_dir: str, config: TrainingConfig, examples_uri: str, code_fingerprint: str
) -> Path:
    """The folder of a trial: the same for equal configuration, data and code.

    Args:
      trials_dir: Folder of all trials.
      config: What is trained.
      examples_uri: The Examples artifact that it is trained and validated on.
      code_fingerprint: Of the code that trains and scores.
    """
    mean_image, count = read_mean_image(examples_uri, "train")
    key = checkpoints.training_key(
        {
            "config": dataclasses.asdict(config),
            "examples": examples_uri,
            # A folder of artifacts that was deleted and made anew has the same names.
            "mean_image": [mean_image.tobytes().hex(), count],
            "code": code_fingerprint,
        }
    )
    return Path(trials_dir) / key[:16]


def read_result(folder: Path) -> TrialResult | None:
    """What an earlier process made of a trial; None if it never came to an end."""
    path = folder / _RESULT_FILE
    return TrialResult(**json.loads(path.read_text())) if path.is_file() else None


def run_trial(
    folder: Path,
    config: TrainingConfig,
    train_files: list[str],
    eval_files: list[str],
    code_fingerprint: str,
    write: Callable[[str], None],
) -> TrialResult:
    """Trains, going on from what a killed process left, and scores the best epoch.

    Args:
      folder: From `trial_folder`; the result is written there too.
      config: What is trained.
      train_files: File patterns of the training split.
      eval_files: The same for the validation split.
      code_fingerprint: Of the code that trains.
      write: Receives one line an epoch.

    Returns:
      Scores, or in `failure` what the training says about its input.
    """
    start = time.monotonic()
    # A trial must not depend on those before it, nor its memory grow with them.
    tf_keras.backend.clear_session()
    model_dir, model_run = folder / _MODEL, folder / _MODEL_RUN
    try:
        train(
            config,
            train_files,
            eval_files,
            str(model_dir),
            str(model_run),
            code_fingerprint,
            write,
        )
    except InputError as error:
        result = TrialResult(failure=str(error), seconds=time.monotonic() - start)
    else:
        history = read_history((model_run / "history.csv").read_text())
        best = checkpoints.BestWeights(model_run / checkpoints.BEST).best
        result = TrialResult(
            epochs=len(history.epochs),
            best_epoch=best["epoch"],
            **_scores(str(model_dir), eval_files),
            seconds=time.monotonic() - start,
        )
    _write_result(folder, result)
    return result


def _scores(model_dir: str, eval_files: list[str]) -> dict[str, float | int]:
    """Calls a SavedModel's `evaluate` on every image."""
    evaluate = tf.saved_model.load(model_dir).signatures["evaluate"]
    files = sorted(file for pattern in eval_files for file in tf.io.gfile.glob(pattern))
    batches = tf.data.TFRecordDataset(files, compression_type="GZIP").batch(_SCORED_AT_ONCE)
    scored = [evaluate(examples=batch) for batch in batches]
    names = ("elbo", "rate", "distortion", "posterior_mean", "posterior_variance")
    values = {name: np.concatenate([batch[name] for batch in scored]) for name in names}
    elbo = values["elbo"].astype(np.float64)
    error = elbo.std(ddof=1) / math.sqrt(len(elbo)) if len(elbo) > 1 else math.inf
    usage = latent_usage(values["posterior_mean"], values["posterior_variance"])
    return {
        "elbo": float(elbo.mean()),
        "elbo_standard_error": float(error),
        "rate": float(values["rate"].mean(dtype=np.float64)),
        "distortion": float(values["distortion"].mean(dtype=np.float64)),
        "active_units": int(usage.active.sum()),
    }


def _write_result(folder: Path, result: TrialResult) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    whole = folder / f"{_RESULT_FILE}.new"
    whole.write_text(json.dumps(dataclasses.asdict(result), indent=2) + "\n")
    os.replace(whole, folder / _RESULT_FILE)
