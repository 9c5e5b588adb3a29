"""Builds the TFMA EvalConfig of the gate."""

import json
import math

from tensorflow_model_analysis.proto import config_pb2

from components.code_fingerprint import code_fingerprint
from components.elbo_evaluator.config import GateConfig
from components.trainer.config import Likelihood

CANDIDATE = "candidate"
CHAMPION = "champion"

_METRICS_MODULE = "components.elbo_evaluator.metrics"


def ignorant_elbo(num_pixels: int, likelihood: Likelihood) -> float:
    """The ELBO of a model that knows nothing, in nats per image: all values alike.

    Args:
      num_pixels: Values per image, channels counted.
      likelihood: A value is one of 2 (`bernoulli`), one of 256 (`discretized_logistic`), or of
        density 1 on [0, 1].
    """
    levels = {"bernoulli": 2, "discretized_logistic": 256}.get(likelihood, 1)
    return num_pixels * math.log(1.0 / levels)


def build_eval_config(
    gate: GateConfig, num_pixels: int, likelihood: Likelihood
) -> config_pb2.EvalConfig:
    """The comparison of a candidate with a champion, overall and by label.

    Args:
      gate: Thresholds.
      num_pixels: Values per image; with the likelihood it sets the floor where the gate names none.
      likelihood: What the candidate's p(x|z) is.

    Returns:
      An EvalConfig. `tf_generic` keeps TFMA from adding Keras's compiled metrics; the change
      threshold is absolute, because a relative one is inverted for a negative metric.
    """
    floor = ignorant_elbo(num_pixels, likelihood) if gate.floor is None else gate.floor
    elbo_threshold = config_pb2.MetricThreshold(
        value_threshold=config_pb2.GenericValueThreshold(lower_bound={"value": floor}),
        change_threshold=config_pb2.GenericChangeThreshold(
            absolute={"value": gate.min_improvement},
            direction=config_pb2.MetricDirection.HIGHER_IS_BETTER,
        ),
    )
    count_threshold = config_pb2.MetricThreshold(
        value_threshold=config_pb2.GenericValueThreshold(lower_bound={"value": gate.min_examples})
    )
    return config_pb2.EvalConfig(
        model_specs=[
            config_pb2.ModelSpec(
                name=CANDIDATE, signature_name="evaluate", model_type="tf_generic"
            ),
            config_pb2.ModelSpec(
                name=CHAMPION,
                signature_name="evaluate",
                model_type="tf_generic",
                is_baseline=True,
            ),
        ],
        slicing_specs=[
            config_pb2.SlicingSpec(),
            config_pb2.SlicingSpec(feature_keys=["label"]),
        ],
        metrics_specs=[
            config_pb2.MetricsSpec(
                metrics=[
                    config_pb2.MetricConfig(
                        class_name="ExampleCount",
                        per_slice_thresholds=[_overall(count_threshold)],
                    ),
                    config_pb2.MetricConfig(
                        class_name="VaeScores",
                        module=_METRICS_MODULE,
                        config=json.dumps(
                            {"code_fingerprint": code_fingerprint("components.elbo_evaluator")}
                        ),
                        per_slice_thresholds=[_overall(elbo_threshold)],
                    ),
                ]
            )
        ],
    )


def _overall(threshold: config_pb2.MetricThreshold) -> config_pb2.PerSliceMetricThreshold:
    # A plain threshold would be asked of every label's slice too.
    return config_pb2.PerSliceMetricThreshold(
        slicing_specs=[config_pb2.SlicingSpec()], threshold=threshold
    )
