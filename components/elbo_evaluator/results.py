"""Reads what the Evaluator wrote back into plain numbers."""

import dataclasses
import math
from collections.abc import Mapping

import tensorflow_model_analysis as tfma

from components.elbo_evaluator.eval_config import CANDIDATE, CHAMPION

_NO_ELBO = (
    "the rate is infinite, as that of a point posterior (an autoencoder) always is, so there is no "
    "ELBO"
)


@dataclasses.dataclass(frozen=True)
class GateResult:
    """The Evaluator's numbers and verdict.

    Attributes:
      num_examples: Scored images.
      candidate: Metric name to value, overall; nats per image.
      champion: The same for the champion.
      difference: Candidate minus champion, for `elbo` and `elbo_paired_standard_error`.
      by_label: Label to the candidate's metrics on that slice.
      blessed: Whether every threshold held.
      failures: One line a threshold that did not hold.
    """

    num_examples: int
    candidate: Mapping[str, float]
    champion: Mapping[str, float]
    difference: Mapping[str, float]
    by_label: Mapping[int, Mapping[str, float]]
    blessed: bool
    failures: tuple[str, ...]


def read_gate_result(evaluation_uri: str) -> GateResult:
    """Reads an Evaluator's `evaluation` artifact.

    Args:
      evaluation_uri: The artifact's folder.
    """
    overall: dict[tuple[str, bool], dict[str, float]] = {}
    by_label: dict[int, dict[str, float]] = {}
    for record in tfma.load_metrics(evaluation_uri, "tfrecord"):
        label = None
        for part in record.slice_key.single_slice_keys:
            label = getattr(part, part.WhichOneof("kind"))
        for entry in record.metric_keys_and_values:
            key, value = entry.key, entry.value.double_value.value
            if label is None:
                overall.setdefault((key.model_name, key.is_diff), {})[key.name] = value
            elif key.model_name == CANDIDATE and not key.is_diff:
                by_label.setdefault(int(label), {})[key.name] = value
    verdict = tfma.load_validation_result(evaluation_uri)
    candidate = overall.get((CANDIDATE, False), {})
    return GateResult(
        num_examples=int(candidate.get("example_count", 0)),
        candidate=candidate,
        champion=overall.get((CHAMPION, False), {}),
        difference=overall.get((CANDIDATE, True), {}),
        by_label=dict(sorted(by_label.items())),
        blessed=verdict.validation_ok,
        failures=tuple(_failures(verdict, has_elbo=candidate.get("rate") != math.inf)),
    )


def _failures(verdict, has_elbo: bool) -> list[str]:
    lines = [] if has_elbo else [_NO_ELBO]
    for validation in verdict.metric_validations_per_slice:
        for failure in validation.failures:
            name, value = failure.metric_key.name, failure.metric_value.double_value.value
            threshold = failure.metric_threshold
            if name == "elbo" and not has_elbo:
                continue
            if failure.message.strip():
                lines.append(f"{name}: {failure.message.strip()}")
            elif threshold.HasField("value_threshold"):
                bound = threshold.value_threshold.lower_bound.value
                lines.append(f"{name} is {value:.2f}, below its floor of {bound:.2f}")
            else:
                bound = threshold.change_threshold.absolute.value
                lines.append(
                    f"{name} differs from the champion's by {value:+.2f}; at least {bound:+.2f} "
                    "is asked for"
                )
    for missing in verdict.missing_slices:
        lines.append(f"no data for the slice {str(missing).strip() or 'of all images'}")
    return lines
