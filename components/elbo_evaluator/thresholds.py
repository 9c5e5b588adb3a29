"""Thresholds of the user's own, written as TFMA's EvalConfig, on any number of the gate."""

import dataclasses
import math
from collections.abc import Iterator

from tensorflow_model_analysis.proto import config_pb2

from components.elbo_evaluator.measurements import Measurements
from components.elbo_evaluator.rules import Rule
from components.elbo_evaluator.statistics import STATISTICS
from components.errors import InputError

_ARRAYS = ("rate_per_dimension",)


@dataclasses.dataclass(frozen=True)
class Threshold:
    """What is asked of one number.

    Attributes:
      name: The number's.
      lower: Least value.
      upper: Greatest value.
      least_gain: Least difference to the champion, in the direction that is better; None asks
        nothing.
      higher_is_better: That direction.
    """

    name: str
    lower: float
    upper: float
    least_gain: float | None
    higher_is_better: bool


def read_thresholds(eval_config: config_pb2.EvalConfig) -> tuple[Threshold, ...]:
    """The thresholds of an EvalConfig, by `thresholds` of a metrics spec or by metric.

    Raises:
      InputError: If it decides nothing, or something other than it seems to: no threshold, a
        metric that is no number of the gate (`MeanPrediction` is 0.0 where there is no label), a
        relative change threshold (inverted for a negative score), a change threshold alone (a
        first run has nothing to change from), or one for slices.
    """
    found = tuple(
        _threshold(name, threshold)
        for spec in eval_config.metrics_specs
        for name, threshold in _named(spec)
    )
    if not found:
        raise InputError(
            "The EvalConfig has no threshold, so it would decide nothing; give a metric a "
            "value_threshold, or leave the EvalConfig out."
        )
    return found


def _named(
    spec: config_pb2.MetricsSpec,
) -> Iterator[tuple[str, config_pb2.MetricThreshold]]:
    for name in sorted(spec.thresholds):
        yield name, spec.thresholds[name]
    for metric in spec.metrics:
        if metric.class_name in ("MeanPrediction", "Mean"):
            raise InputError(
                f"{metric.class_name} needs labels or a single model, and without them is 0.0 or "
                "missing, which passes any floor of a negative score; use the number elbo."
            )
        sliced = metric.per_slice_thresholds or metric.cross_slice_thresholds
        if sliced or spec.per_slice_thresholds or spec.cross_slice_thresholds:
            raise InputError(
                f"The EvalConfig has thresholds of {metric.class_name} by slice; the gate's own "
                "are label_floor and label_tolerance of GateConfig."
            )
        if metric.HasField("threshold"):
            yield metric.class_name, metric.threshold


def _threshold(name: str, threshold: config_pb2.MetricThreshold) -> Threshold:
    known = sorted(
        number
        for statistic in STATISTICS.values()
        for number in statistic.names
        if number not in _ARRAYS
    )
    if name not in known:
        raise InputError(
            f"The gate has no number {name!r} to ask a threshold of; known: {', '.join(known)}."
        )
    change = threshold.change_threshold
    if change.HasField("relative"):
        raise InputError(
            f"The change threshold of {name} is relative, which is inverted for a negative score; "
            "use absolute."
        )
    if not threshold.HasField("value_threshold"):
        raise InputError(
            f"{name} has a change threshold alone, which a first run has nothing to compare with; "
            "add a value_threshold."
        )
    value = threshold.value_threshold
    lower = value.lower_bound.value if value.HasField("lower_bound") else -math.inf
    upper = value.upper_bound.value if value.HasField("upper_bound") else math.inf
    if math.isinf(lower) and math.isinf(upper):
        raise InputError(f"The value_threshold of {name} has no bound, so it decides nothing.")
    higher = change.direction != config_pb2.MetricDirection.LOWER_IS_BETTER
    least_gain = None
    if threshold.HasField("change_threshold"):
        least_gain = change.absolute.value if higher else -change.absolute.value
    return Threshold(name, lower, upper, least_gain, higher)


def decide_thresholds(
    measured: Measurements, thresholds: tuple[Threshold, ...]
) -> tuple[Rule, ...]:
    """A rule for each threshold; a number that is missing or NaN holds none."""
    return tuple(_decide(measured, threshold) for threshold in thresholds)


def _decide(measured: Measurements, asked: Threshold) -> Rule:
    value = measured.overall.candidate.get(asked.name, math.nan)
    champion = measured.overall.champion.get(asked.name)
    messages = []
    if not asked.lower <= value <= asked.upper:
        messages.append(f"{asked.name} is {value:.4g}, not from {asked.lower:g} to {asked.upper:g}")
    difference = None if champion is None else value - champion
    if asked.least_gain is not None and difference is not None:
        gain = difference if asked.higher_is_better else -difference
        if not gain >= asked.least_gain:
            messages.append(
                f"{asked.name} differs from the champion's by {difference:+.4g}; a gain of at "
                f"least {asked.least_gain:+g} is asked for"
            )
    bounds = [
        f"{sign} {bound:g}"
        for sign, bound in (("≥", asked.lower), ("≤", asked.upper))
        if math.isfinite(bound)
    ]
    return Rule(
        asked.name,
        f"{asked.name} is within the bounds of the EvalConfig",
        not messages,
        "; ".join(messages),
        asked=", ".join(bounds),
        threshold=asked.lower if math.isfinite(asked.lower) else asked.upper,
        candidate=value,
        champion=champion,
        difference=difference,
    )
