"""The function that the stock TFX Tuner calls."""

import json

from tfx.components.trainer.fn_args_utils import FnArgs
from tfx.components.tuner.component import TunerFnResult

from components.trainer.config import CODE_FINGERPRINT_KEY, CONFIG_KEY, TrainingConfig
from components.tuner.component import SEARCH_KEY, TRIALS_DIR_KEY
from components.tuner.search import SearchSpace
from components.tuner.tuner import VaeTuner


def tuner_fn(fn_args: FnArgs) -> TunerFnResult:
    """Makes the tuner.

    Args:
      fn_args: From the TFX Tuner. `custom_config` holds what `vae_tuner` was given.
    """
    custom = fn_args.custom_config
    tuner = VaeTuner(
        TrainingConfig(**json.loads(custom[CONFIG_KEY])),
        SearchSpace.from_json(custom[SEARCH_KEY]),
        train_files=fn_args.train_files,
        eval_files=fn_args.eval_files,
        trials_dir=custom[TRIALS_DIR_KEY],
        working_dir=fn_args.working_dir,
        code_fingerprint=custom[CODE_FINGERPRINT_KEY],
    )
    return TunerFnResult(tuner=tuner, fit_kwargs={})
