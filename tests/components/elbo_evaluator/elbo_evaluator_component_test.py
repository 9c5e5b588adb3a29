import json

import pytest
from tensorflow_model_analysis.proto import config_pb2
from tfx import types
from tfx.types import standard_artifacts

from components.elbo_evaluator import ElboEvaluator, GateConfig
from components.elbo_evaluator.eval_config import build_eval_config


@pytest.fixture
def channels():
    return {
        "examples": types.Channel(type=standard_artifacts.Examples),
        "model": types.Channel(type=standard_artifacts.Model),
        "champion": types.Channel(type=standard_artifacts.Model),
    }


def test_construction(channels):
    gate = GateConfig(floor=-110.0, comparison="better", min_improvement=1.0)
    component = ElboEvaluator(**channels, gate=gate, bless_anyway="a demonstration")
    assert dict(component.inputs) == channels
    outputs = {name: channel.type_name for name, channel in component.outputs.items()}
    assert outputs == {"evaluation": "ModelEvaluation", "blessing": "ModelBlessing"}
    assert GateConfig(**json.loads(component.exec_properties["gate"])) == gate
    assert component.exec_properties["bless_anyway"] == "a demonstration"


def test_defaults(channels):
    properties = ElboEvaluator(**channels).exec_properties
    assert GateConfig(**json.loads(properties["gate"])) == GateConfig()
    assert properties["bless_anyway"] == ""


def test_code_is_part_of_the_configuration(channels, monkeypatch):
    assert len(ElboEvaluator(**channels).exec_properties["code_fingerprint"]) == 16
    monkeypatch.setattr(
        "components.elbo_evaluator.component.code_fingerprint", lambda *names: ",".join(names)
    )
    names = ElboEvaluator(**channels).exec_properties["code_fingerprint"].split(",")
    # What an image is, and so its score, is the binarizer's code.
    assert {"components.elbo_evaluator", "components.image_binarizer"} <= set(names)


def test_beam_arguments_reach_the_executor(channels):
    component = ElboEvaluator(**channels).with_beam_pipeline_args(["--direct_num_workers=2"])
    assert component.executor_spec.beam_pipeline_args == ["--direct_num_workers=2"]


def test_tfma_compares_two_models_overall_and_by_label_without_thresholds():
    config = build_eval_config(num_pixels=784)
    models = [(spec.name, spec.is_baseline, spec.model_type) for spec in config.model_specs]
    # Of any other type, TFMA would add metrics of Keras's.
    assert models == [("candidate", False, "tf_generic"), ("champion", True, "tf_generic")]
    assert list(config.slicing_specs) == [
        config_pb2.SlicingSpec(),
        config_pb2.SlicingSpec(feature_keys=["label"]),
    ]
    (spec,) = config.metrics_specs
    # The gate decides by itself; TFMA knows no standard error of a difference.
    for metric in spec.metrics:
        assert not metric.HasField("threshold")
        assert not metric.per_slice_thresholds
        assert not metric.cross_slice_thresholds
    settings = [json.loads(metric.config) for metric in spec.metrics if metric.config]
    assert {"name": "ElboTerms", "settings": {"num_pixels": 784}} in settings
    assert [metric.class_name for metric in spec.metrics] == ["VaeMetric"] * 6 + ["PairedElbo"]
