"""Reads what TFMA wrote back into plain numbers."""

import numpy as np
import tensorflow_model_analysis as tfma

from components.elbo_evaluator.eval_config import CANDIDATE
from components.elbo_evaluator.measurements import Comparison
from components.elbo_evaluator.statistics import Number


def read_comparisons(evaluation_uri: str) -> tuple[Comparison, dict[int, Comparison]]:
    """The numbers of all images, and of the images of each label.

    Args:
      evaluation_uri: The folder that TFMA wrote to.
    """
    overall, by_label = Comparison(), {}
    for record in tfma.load_metrics(evaluation_uri, "tfrecord"):
        comparison = _comparison(record)
        keys = record.slice_key.single_slice_keys
        if keys:
            by_label[int(keys[0].int64_value)] = comparison
        else:
            overall = comparison
    return overall, by_label


def _comparison(record) -> Comparison:
    candidate: dict[str, Number] = {}
    champion: dict[str, Number] = {}
    for entry in record.metric_keys_and_values:
        if entry.key.is_diff:
            continue
        numbers = candidate if entry.key.model_name == CANDIDATE else champion
        value = entry.value
        if value.HasField("array_value"):
            numbers[entry.key.name] = np.array(value.array_value.float64_values).tolist()
        else:
            numbers[entry.key.name] = value.double_value.value
    return Comparison(candidate, champion)
