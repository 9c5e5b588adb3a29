"""Builds the TFMA EvalConfig of the gate: which models, slices and metrics, and no threshold.

The gate decides by itself (`rules`), because TFMA compares means alone: it knows no standard error
of a difference, and its relative thresholds are inverted for a negative score.
"""

import json

from tensorflow_model_analysis.proto import config_pb2

from components.elbo_evaluator.statistics import STATISTICS, ElboTerms

CANDIDATE = "candidate"
CHAMPION = "champion"

_METRICS_MODULE = "components.elbo_evaluator.metrics"


def build_eval_config(num_pixels: int) -> config_pb2.EvalConfig:
    """The comparison of a candidate with a champion, overall and by label.

    Args:
      num_pixels: Values per image, channels counted.
    """
    settings = {ElboTerms.__name__: {"num_pixels": num_pixels}}
    metrics = [
        config_pb2.MetricConfig(
            class_name="VaeMetric",
            module=_METRICS_MODULE,
            config=json.dumps({"name": name, "settings": settings.get(name, {})}),
        )
        for name in STATISTICS
    ]
    metrics.append(config_pb2.MetricConfig(class_name="PairedElbo", module=_METRICS_MODULE))
    return config_pb2.EvalConfig(
        # `tf_generic` keeps TFMA from adding Keras's compiled metrics.
        model_specs=[
            config_pb2.ModelSpec(name=CANDIDATE, model_type="tf_generic"),
            config_pb2.ModelSpec(name=CHAMPION, model_type="tf_generic", is_baseline=True),
        ],
        slicing_specs=[
            config_pb2.SlicingSpec(),
            config_pb2.SlicingSpec(feature_keys=["label"]),
        ],
        metrics_specs=[config_pb2.MetricsSpec(metrics=metrics, model_names=[CANDIDATE, CHAMPION])],
    )
