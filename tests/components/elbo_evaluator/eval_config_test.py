import json
import math
import subprocess
import sys

import pytest
from google.protobuf import json_format
from tensorflow_model_analysis.proto import config_pb2

from components.elbo_evaluator import GateConfig
from components.elbo_evaluator import eval_config as eval_config_module
from components.elbo_evaluator.eval_config import build_eval_config
from components.errors import InputError


def _metrics(config):
    (spec,) = config.metrics_specs
    return {metric.class_name: metric for metric in spec.metrics}


def _threshold(config, class_name):
    metric = _metrics(config)[class_name]
    assert not metric.HasField("threshold")
    (per_slice,) = metric.per_slice_thresholds
    assert list(per_slice.slicing_specs) == [config_pb2.SlicingSpec()]
    return per_slice.threshold


@pytest.mark.parametrize(
    ("likelihood", "floor"),
    [
        ("bernoulli", -784 * math.log(2)),
        ("discretized_logistic", -784 * math.log(256)),
        ("gaussian", 0.0),
        ("gaussian_learned_scale", 0.0),
        ("gaussian_analytic_scale", 0.0),
        ("continuous_bernoulli", 0.0),
    ],
)
def test_the_default_floor_is_that_of_a_model_that_knows_nothing(likelihood, floor):
    config = build_eval_config(GateConfig(), num_pixels=784, likelihood=likelihood)
    bound = _threshold(config, "VaeScores").value_threshold.lower_bound.value
    assert bound == pytest.approx(floor, rel=1e-12)


def test_a_floor_of_zero_is_not_the_default():
    threshold = _threshold(
        build_eval_config(GateConfig(floor=0.0), num_pixels=784, likelihood="bernoulli"),
        "VaeScores",
    )
    assert threshold.value_threshold.HasField("lower_bound")
    assert threshold.value_threshold.lower_bound.value == 0.0


def test_thresholds_are_those_of_the_gate_and_of_all_images_alone():
    config = build_eval_config(GateConfig(-90.5, 0.25, 7), num_pixels=784, likelihood="bernoulli")
    elbo = _threshold(config, "VaeScores")
    assert elbo.value_threshold.lower_bound.value == -90.5
    assert elbo.change_threshold.absolute.value == 0.25
    assert elbo.change_threshold.direction == config_pb2.MetricDirection.HIGHER_IS_BETTER
    count = _threshold(config, "ExampleCount")
    assert count.value_threshold.lower_bound.value == 7
    assert not count.HasField("change_threshold")


@pytest.mark.parametrize("gate", [GateConfig(), GateConfig(-1.0, 3.0, 1), GateConfig(0.0, -2.0)])
def test_no_threshold_is_relative(gate):
    config = build_eval_config(gate, num_pixels=64, likelihood="bernoulli")
    assert _threshold(config, "VaeScores").change_threshold.HasField("absolute")
    assert '"relative"' not in json_format.MessageToJson(config)


def test_models_are_generic_and_scored_by_evaluate():
    config = build_eval_config(GateConfig(), num_pixels=64, likelihood="bernoulli")
    assert [(spec.name, spec.is_baseline) for spec in config.model_specs] == [
        ("candidate", False),
        ("champion", True),
    ]
    for spec in config.model_specs:
        assert (spec.model_type, spec.signature_name) == ("tf_generic", "evaluate")
        assert not spec.label_key


def test_code_is_part_of_the_configuration(monkeypatch):
    def settings():
        metric = _metrics(build_eval_config(GateConfig(), num_pixels=64, likelihood="bernoulli"))[
            "VaeScores"
        ]
        return json.loads(metric.config)

    assert len(settings()["code_fingerprint"]) == 16
    monkeypatch.setattr(eval_config_module, "code_fingerprint", lambda name: f"edited {name}")
    assert settings() == {"code_fingerprint": "edited components.elbo_evaluator"}


def test_gates_that_make_no_sense():
    with pytest.raises(InputError, match="min_examples must be at least 1, not 0"):
        GateConfig(min_examples=0)
    with pytest.raises(InputError, match="floor is not a number"):
        GateConfig(floor=math.nan)
    with pytest.raises(InputError, match="min_improvement is not a number"):
        GateConfig(min_improvement=math.nan)


def test_importing_a_gate_imports_neither_tfx_nor_tensorflow():
    code = (
        "import sys; from components.elbo_evaluator import GateConfig; "
        "sys.exit(any(m in sys.modules for m in ('tfx', 'tensorflow', 'apache_beam')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
