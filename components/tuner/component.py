"""The stock TFX Tuner, wired to `tuner_fn`."""

import dataclasses
import json

from tfx import types
from tfx.components.tuner.component import Tuner
from tfx.proto import trainer_pb2

from components.code_fingerprint import code_fingerprint
from components.trainer.config import CODE_FINGERPRINT_KEY, CONFIG_KEY, TrainingConfig
from components.tuner.search import SearchSpace

# Keys of the Tuner's custom_config, beside those of the Trainer.
SEARCH_KEY = "search"
TRIALS_DIR_KEY = "trials_dir"


def vae_tuner(
    examples: types.BaseChannel, config: TrainingConfig, search: SearchSpace, trials_dir: str
) -> Tuner:
    """A TFX Tuner that looks for the VAE with the best validation ELBO.

    Args:
      examples: Model-ready Examples with the splits `train` and `eval`.
      config: Model and optimisation, but for the searched fields.
      search: What is searched, and how.
      trials_dir: Folder of the trials; it outlives executions, so that a killed search goes on.

    Returns:
      A component with the outputs `best_hyperparameters` and `tuner_results`.

    Raises:
      InputError: If a combination that is searched makes no sense.
    """
    search.configurations(config)
    return Tuner(
        examples=examples,
        tuner_fn="components.tuner.tuner_fn.tuner_fn",
        train_args=trainer_pb2.TrainArgs(splits=["train"]),
        eval_args=trainer_pb2.EvalArgs(splits=["eval"]),
        custom_config={
            CONFIG_KEY: json.dumps(dataclasses.asdict(config), sort_keys=True),
            SEARCH_KEY: search.to_json(),
            TRIALS_DIR_KEY: trials_dir,
            CODE_FINGERPRINT_KEY: code_fingerprint(
                "components.trainer",
                "components.tuner",
                "components.image_binarizer",
                "components.content_noise",
                "components.model_report.history",
                "components.model_report.numbers",
            ),
        },
    )
