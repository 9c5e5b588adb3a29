"""TFMA metrics for models that report per-example scores and need no label.

TFMA's own `Mean` does not work with a baseline, and `MeanPrediction` returns 0.0 without a label,
which would pass any negative floor.
"""

import abc
import dataclasses
import math
from collections.abc import Iterable
from typing import Any

import apache_beam as beam
import numpy as np
from tensorflow_model_analysis.metrics import metric_types
from tensorflow_model_analysis.proto import config_pb2
from tensorflow_model_analysis.utils import model_util

SCORES = ("elbo", "rate", "distortion", "importance_weighted_bound")
_MORE_IS_BETTER = np.array([score in ("elbo", "importance_weighted_bound") for score in SCORES])
STANDARD_ERROR = "standard_error"
PAIRED_STANDARD_ERROR = "paired_standard_error"


class VaeScores(metric_types.Metric):
    """Mean and standard error of a VAE's per-example scores, in nats per image.

    For each score in `SCORES`: `<score>` is its mean over examples and `<score>_standard_error`
    is sd/sqrt(N) of that mean (infinite for fewer than two examples). With a champion there is
    also `elbo_paired_standard_error`, of the mean per-example difference between candidate and
    champion; the difference itself is TFMA's diff of `elbo`.
    """

    def __init__(self, name: str = "elbo", code_fingerprint: str = ""):
        """Makes the metric.

        Args:
          name: The score that a threshold on this metric is about.
          code_fingerprint: Of this code; carried in the EvalConfig so that TFX's cache sees it.
        """
        super().__init__(_computations, name=name, code_fingerprint=code_fingerprint)


metric_types.register_metric(VaeScores)


def _computations(
    name: str,
    code_fingerprint: str,
    eval_config: config_pb2.EvalConfig | None = None,
    model_names: list[str] | None = None,
) -> metric_types.MetricComputations:
    del name, code_fingerprint
    baseline = model_util.get_baseline_model_spec(eval_config) if eval_config else None
    computations = []
    for model_name in model_names or [""]:
        keys = [
            metric_types.MetricKey(key, model_name=model_name)
            for score in SCORES
            for key in (score, f"{score}_{STANDARD_ERROR}")
        ]
        computations.append(_computation(keys, _ScoresCombiner(model_name, keys)))
        if baseline and model_name != baseline.name:
            key = metric_types.MetricKey(
                f"elbo_{PAIRED_STANDARD_ERROR}", model_name=model_name, is_diff=True
            )
            computations.append(
                _computation([key], _PairedCombiner(model_name, baseline.name, key))
            )
    return computations


def _computation(keys, combiner) -> metric_types.MetricComputation:
    predictions_only = metric_types.StandardMetricInputsPreprocessor(
        include_filter={"predictions": {}}, include_default_inputs=False
    )
    return metric_types.MetricComputation(
        keys=keys, preprocessors=[predictions_only], combiner=combiner
    )


@dataclasses.dataclass
class Moments:
    """Count, mean and sum of squared deviations, float64 (Chan, Golub & LeVeque 1983).

    A mean with an infinite value is infinite and one with NaN is NaN, in any order of the values;
    the standard error of either is NaN.
    """

    count: int
    mean: np.ndarray
    squares: np.ndarray

    @classmethod
    def empty(cls, size: int) -> "Moments":
        """Nothing seen yet, for vectors of a size."""
        return cls(0, np.zeros(size), np.zeros(size))

    def add(self, value: np.ndarray) -> "Moments":
        """Takes in one vector."""
        if not np.isfinite((value, self.mean)).all():
            return self.merge(Moments(1, value, np.zeros_like(value)))
        self.count += 1
        delta = value - self.mean
        self.mean = self.mean + delta / self.count
        self.squares = self.squares + delta * (value - self.mean)
        return self

    def merge(self, other: "Moments") -> "Moments":
        """Takes in another's examples."""
        count = self.count + other.count
        if not count:
            return self
        # Infinite scores, which an autoencoder has, are no mistake to warn of.
        with np.errstate(invalid="ignore"):
            delta = other.mean - self.mean
            squares = self.squares + other.squares
            squares = squares + np.square(delta) * (self.count * other.count / count)
            mean = self.mean + delta * (other.count / count)
            # The difference of two infinities is NaN, and so would be a mean that moves by it.
            mean = np.where(np.isinf(self.mean), self.mean + other.mean, mean)
        return Moments(count, mean, squares)

    def standard_error(self) -> np.ndarray:
        """Of the mean: sd / sqrt(N), with N - 1 degrees of freedom."""
        if self.count < 2:
            return np.full_like(self.mean, math.inf)
        squares = np.where(np.isfinite(self.mean), self.squares, math.nan)
        return np.sqrt(squares / (self.count - 1) / self.count)


class _MomentsCombiner(beam.CombineFn, abc.ABC):
    """Moments of a vector per example."""

    size: int

    def create_accumulator(self) -> Moments:
        return Moments.empty(self.size)

    def add_input(
        self, accumulator: Moments, element: metric_types.StandardMetricInputs
    ) -> Moments:
        return accumulator.add(self.values(element.predictions))

    def merge_accumulators(self, accumulators: Iterable[Moments]) -> Moments:
        merged = self.create_accumulator()
        for accumulator in accumulators:
            merged = merged.merge(accumulator)
        return merged

    @abc.abstractmethod
    def values(self, predictions: Any) -> np.ndarray:
        """The vector of one example."""


class _ScoresCombiner(_MomentsCombiner):
    def __init__(self, model_name: str, keys: list[metric_types.MetricKey]):
        self._model_name = model_name
        self._keys = keys
        self.size = len(SCORES)

    def values(self, predictions: Any) -> np.ndarray:
        scores = _of_model(predictions, self._model_name)
        return np.array([np.asarray(scores[score]).item() for score in SCORES], np.float64)

    def extract_output(self, accumulator: Moments) -> dict[metric_types.MetricKey, float]:
        mean = accumulator.mean if accumulator.count else np.full(self.size, math.nan)
        # An infinite score would pass any floor; NaN passes none.
        mean = np.where(_MORE_IS_BETTER & ~np.isfinite(mean), math.nan, mean)
        values = np.stack([mean, accumulator.standard_error()], axis=1).ravel()
        return {key: float(value) for key, value in zip(self._keys, values, strict=True)}


class _PairedCombiner(_MomentsCombiner):
    size = 1

    def __init__(self, candidate: str, champion: str, key: metric_types.MetricKey):
        self._names = (candidate, champion)
        self._key = key

    def values(self, predictions: Any) -> np.ndarray:
        candidate, champion = (
            np.asarray(_of_model(predictions, name)["elbo"]).item() for name in self._names
        )
        return np.array([candidate - champion], np.float64)

    def extract_output(self, accumulator: Moments) -> dict[metric_types.MetricKey, float]:
        return {self._key: float(accumulator.standard_error()[0])}


def _of_model(predictions: Any, model_name: str) -> Any:
    # TFMA nests predictions by model name only where there is more than one model.
    return predictions.get(model_name, predictions)
