"""The stock TFX Trainer, wired to `run_fn`."""

import dataclasses
import json

from tfx import types
from tfx.components.trainer.component import Trainer
from tfx.proto import trainer_pb2

from components.code_fingerprint import code_fingerprint
from components.trainer.config import CODE_FINGERPRINT_KEY, CONFIG_KEY, TrainingConfig


def vae_trainer(examples: types.BaseChannel, config: TrainingConfig) -> Trainer:
    """A TFX Trainer that trains a VAE.

    Args:
      examples: Model-ready Examples with the splits `train` and `eval`.
      config: Model and optimisation.

    Returns:
      A component with the outputs `model` (SavedModel with the signatures of
      `components.trainer.export.ExportedVae`) and `model_run` (checkpoints, TensorBoard logs).
    """
    return Trainer(
        examples=examples,
        run_fn="components.trainer.run_fn.run_fn",
        train_args=trainer_pb2.TrainArgs(splits=["train"]),
        eval_args=trainer_pb2.EvalArgs(splits=["eval"]),
        custom_config={
            CONFIG_KEY: json.dumps(dataclasses.asdict(config), sort_keys=True),
            CODE_FINGERPRINT_KEY: code_fingerprint(
                "components.trainer", "components.image_binarizer", "components.content_noise"
            ),
        },
    )
