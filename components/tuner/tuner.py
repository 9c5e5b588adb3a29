"""A KerasTuner whose trials are trainings of the Trainer's own code."""

import dataclasses
import math
from collections.abc import Callable, Mapping

import keras_tuner

from components.errors import InputError
from components.image_binarizer.image_format import examples_uri_of
from components.trainer.config import TrainingConfig
from components.tuner.search import LogRange, SearchSpace
from components.tuner.trials import TrialResult, read_result, run_trial, trial_folder

_ORACLES = {
    "grid": keras_tuner.oracles.GridSearchOracle,
    "random": keras_tuner.oracles.RandomSearchOracle,
    "bayesian": keras_tuner.oracles.BayesianOptimizationOracle,
}
OBJECTIVE = "val_elbo"


class VaeTuner(keras_tuner.Tuner):
    """Looks for the best validation ELBO at KL weight 1, whatever weight trains.

    KerasTuner's own state is of one execution. What outlives it are the trials' folders: the
    oracles are deterministic, so a search that is run again asks for the same trials, and those
    that have ended are read back.
    """

    def __init__(
        self,
        config: TrainingConfig,
        search: SearchSpace,
        train_files: list[str],
        eval_files: list[str],
        trials_dir: str,
        working_dir: str,
        code_fingerprint: str = "",
        write: Callable[[str], None] = print,
    ):
        """Makes the oracle.

        Args:
          config: What all trials have in common.
          search: What is searched, and how.
          train_files: File patterns of the training split.
          eval_files: The same for the validation split.
          trials_dir: Folder of the trials, which outlives this search.
          working_dir: For KerasTuner's state.
          code_fingerprint: Of the code that trains and scores; trials of other code are not reused.
          write: Receives lines about trials and epochs.
        """
        oracle = _ORACLES[search.algorithm](
            objective=keras_tuner.Objective(OBJECTIVE, "max"),
            max_trials=search.num_trials,
            hyperparameters=_hyperparameters(search),
            # KerasTuner takes 0 for no seed.
            seed=search.seed + 1,
            # It would end the search after three failures in a row.
            max_consecutive_failed_trials=search.num_trials + 1,
        )
        # It would draw tables, and clear the screen before each.
        oracle.verbose = 0
        super().__init__(oracle, directory=working_dir, project_name=OBJECTIVE, overwrite=True)
        self._config = config
        self._search = search
        self._files = train_files, eval_files
        self._trials_dir = trials_dir
        self._code_fingerprint = code_fingerprint
        self._write = write
        self._failures: list[str] = []

    def search_space_summary(self, extended: bool = False) -> None:
        """One line, where KerasTuner would print one for each entry."""
        described = "; ".join(_described(*item) for item in self._search.fields.items())
        number = self._search.num_trials
        self._write(
            f"    {number} trial{'s' * (number > 1)}, {self._search.algorithm}: {described}"
        )

    def results_summary(self, num_trials: int = 10) -> None:
        """Nothing: every trial has had its line."""

    def search(self) -> None:
        """Runs all trials.

        Raises:
          InputError: If every trial failed.
        """
        try:
            super().search()
        except keras_tuner.errors.FatalError as error:
            raise (error.__cause__ or error) from None
        if len(self._failures) == len(self.oracle.trials):
            raise InputError(
                f"All {len(self._failures)} trials failed; the first: {self._failures[0]}"
            )

    def run_trial(self, trial: keras_tuner.engine.trial.Trial) -> dict[str, float]:
        """Trains and scores, unless that was done before.

        Args:
          trial: Names the searched values.

        Returns:
          The objective, nats per image.

        Raises:
          FailedTrialError: If the training cannot be done; other trials go on.
        """
        try:
            result = self._result(trial.hyperparameters.values)
        except Exception as error:
            # KerasTuner counts any error as a failed trial; a full disk must end the search.
            raise keras_tuner.errors.FatalError from error
        if result.failure:
            self._failures.append(result.failure)
            raise keras_tuner.errors.FailedTrialError(result.failure)
        return {OBJECTIVE: result.elbo}

    def _result(self, values: Mapping[str, int | float | str]) -> TrialResult:
        config = dataclasses.replace(self._config, **values)
        folder = trial_folder(
            self._trials_dir, config, examples_uri_of(self._files[0][0]), self._code_fingerprint
        )
        self._write(
            f"    trial {len(self.oracle.trials)}/{self._search.num_trials}: {_named(values)}"
        )
        result = read_result(folder)
        # What failed may have failed for a reason that is gone.
        if result and not result.failure:
            self._write(f"    done before: {_scored(result)}")
            return result
        result = run_trial(folder, config, *self._files, self._code_fingerprint, self._write)
        outcome = f"failed: {result.failure}" if result.failure else f"done: {_scored(result)}"
        self._write(f"    {outcome}")
        return result


def _hyperparameters(search: SearchSpace) -> keras_tuner.HyperParameters:
    space = keras_tuner.HyperParameters()
    for name, domain in search.fields.items():
        if isinstance(domain, LogRange):
            space.Float(name, domain.low, domain.high, sampling="log")
        else:
            space.Choice(name, list(domain))
    return space


def _described(name: str, domain: tuple | LogRange) -> str:
    if isinstance(domain, LogRange):
        return f"{name} from {domain.low:g} to {domain.high:g}"
    return f"{name} {', '.join(_text(value) for value in domain)}"


def _named(values: Mapping[str, int | float | str]) -> str:
    return ", ".join(f"{name} {_text(value)}" for name, value in values.items())


def _text(value: int | float | str) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _scored(result: TrialResult) -> str:
    error = result.elbo_standard_error
    spread = f" ± {error:.2f}" if math.isfinite(error) else ""
    return (
        f"validation ELBO {result.elbo:.2f}{spread}  (rate {result.rate:.2f}, distortion "
        f"{result.distortion:.2f})  of epoch {result.best_epoch}"
    )
