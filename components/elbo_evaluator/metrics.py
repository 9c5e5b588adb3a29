"""The gate's statistics as TFMA metrics: label-free, mergeable, by slice, on any Beam runner.

TFMA's own `Mean` does not work with a baseline, and `MeanPrediction` returns 0.0 without a label,
which would pass any negative floor.
"""

import functools
from collections.abc import Iterable
from typing import Any

import apache_beam as beam
from tensorflow_model_analysis.metrics import metric_types
from tensorflow_model_analysis.proto import config_pb2
from tensorflow_model_analysis.utils import model_util

from components.elbo_evaluator.moments import Moments
from components.elbo_evaluator.statistics import STATISTICS, Scores, Statistic, merge

GAIN = "elbo_gain"
GAIN_STANDARD_ERROR = "elbo_gain_standard_error"


class VaeMetric(metric_types.Metric):
    """One family of numbers of `components.elbo_evaluator.statistics`, for every model.

    The extracts' predictions hold, by model name, arrays of the scores of n images each.
    """

    def __init__(self, name: str, settings: dict[str, Any] | None = None):
        """Makes the metric.

        Args:
          name: Of the statistic's class, such as `ElboTerms`.
          settings: Arguments of the class.
        """
        super().__init__(_computations, name=name, settings=settings or {})


class PairedElbo(metric_types.Metric):
    """Mean gain of the candidate's ELBO over the champion's on the same images; nats per image.

    `elbo_gain_standard_error` is that of the mean of the differences of each image, and so far
    smaller than what the two models' own standard errors would give.
    """

    def __init__(self, name: str = GAIN):
        """Makes the metric."""
        super().__init__(_paired_computations, name=name)


metric_types.register_metric(VaeMetric)
metric_types.register_metric(PairedElbo)


def _computations(
    name: str, settings: dict[str, Any], model_names: list[str]
) -> metric_types.MetricComputations:
    statistic = STATISTICS[name](**settings)
    computations = []
    for model_name in model_names:
        keys = [metric_types.MetricKey(name, model_name=model_name) for name in statistic.names]
        computations.append(_computation(keys, _Combiner(statistic, model_name)))
    return computations


def _paired_computations(
    name: str, eval_config: config_pb2.EvalConfig, model_names: list[str]
) -> metric_types.MetricComputations:
    del name
    baseline = model_util.get_baseline_model_spec(eval_config)
    computations = []
    for model_name in model_names:
        if baseline and model_name != baseline.name:
            names = (GAIN, GAIN_STANDARD_ERROR)
            keys = [metric_types.MetricKey(name, model_name=model_name) for name in names]
            computations.append(_computation(keys, _PairedCombiner(model_name, baseline.name)))
    return computations


def _computation(
    keys: list[metric_types.MetricKey], combiner: "_Combiner | _PairedCombiner"
) -> metric_types.MetricComputation:
    predictions_only = metric_types.StandardMetricInputsPreprocessor(
        include_filter={"predictions": {}}, include_default_inputs=False
    )
    return metric_types.MetricComputation(
        keys=keys, preprocessors=[predictions_only], combiner=combiner
    )


class _MergingCombiner(beam.CombineFn):
    def create_accumulator(self) -> Any:
        return None

    def merge_accumulators(self, accumulators: Iterable[Any]) -> Any:
        return functools.reduce(merge, accumulators, None)


class _Combiner(_MergingCombiner):
    def __init__(self, statistic: Statistic, model_name: str):
        self._statistic = statistic
        self._model_name = model_name

    def add_input(self, accumulator: Any, element: metric_types.StandardMetricInputs) -> Any:
        scores = _of_model(element.predictions, self._model_name)
        return merge(accumulator, self._statistic.accumulate(scores) if scores else None)

    def extract_output(self, accumulator: Any) -> dict[metric_types.MetricKey, Any]:
        if accumulator is None:
            return {}
        return {
            metric_types.MetricKey(name, model_name=self._model_name): value
            for name, value in self._statistic.numbers(accumulator).items()
        }


class _PairedCombiner(_MergingCombiner):
    def __init__(self, candidate: str, champion: str):
        self._candidate, self._champion = candidate, champion

    def add_input(
        self, accumulator: Moments | None, element: metric_types.StandardMetricInputs
    ) -> Moments | None:
        candidate = _of_model(element.predictions, self._candidate)
        champion = _of_model(element.predictions, self._champion)
        if not champion or "elbo" not in candidate:
            return accumulator
        difference = candidate["elbo"].astype(float) - champion["elbo"].astype(float)
        return merge(accumulator, Moments.of(difference[:, None]))

    def extract_output(self, accumulator: Moments | None) -> dict[metric_types.MetricKey, float]:
        if accumulator is None:
            return {}
        values = (accumulator.mean[0], accumulator.standard_error()[0])
        return {
            metric_types.MetricKey(name, model_name=self._candidate): float(value)
            for name, value in zip((GAIN, GAIN_STANDARD_ERROR), values, strict=True)
        }


def _of_model(predictions: Any, model_name: str) -> Scores:
    return predictions.get(model_name, {})
