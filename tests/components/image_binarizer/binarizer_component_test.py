import dataclasses
import json

import pytest
from tfx import types
from tfx.types import standard_artifacts

from components.code_fingerprint import code_fingerprint
from components.errors import InputError
from components.image_binarizer import ImageBinarizer, ImageFormat
from components.image_binarizer import component as component_module
from components.image_binarizer.executor import Executor

_FORMAT = ImageFormat(28, 28, 1, "stochastic", seed=7)


def _component(**kwargs):
    examples = types.Channel(type=standard_artifacts.Examples)
    return ImageBinarizer(examples=examples, image_format=_FORMAT, **kwargs)


def test_construction():
    component = _component(max_undecodable_share=0.25)
    assert set(component.outputs) == {"model_ready_examples", "dead_letters"}
    for channel in component.outputs.values():
        assert channel.type_name == standard_artifacts.Examples.TYPE_NAME
    assert set(component.inputs) == {"examples"}
    assert component.executor_spec.executor_class is Executor
    properties = component.exec_properties
    assert set(properties) == {"image_format", "max_undecodable_share", "code_fingerprint"}
    assert ImageFormat(**json.loads(properties["image_format"])) == _FORMAT
    assert json.loads(properties["image_format"]) == dataclasses.asdict(_FORMAT)
    assert properties["max_undecodable_share"] == 0.25


def test_anomalies_are_an_optional_input():
    channel = types.Channel(type=standard_artifacts.ExampleAnomalies)
    assert _component(anomalies=channel).inputs["anomalies"] is channel
    with pytest.raises(TypeError):
        _component(anomalies=types.Channel(type=standard_artifacts.Schema))


def test_beam_flags_are_accepted():
    flags = ["--direct_num_workers=2"]
    component = _component().with_beam_pipeline_args(flags)
    assert component.executor_spec.beam_pipeline_args == flags


def test_an_integer_share_becomes_a_float():
    share = _component(max_undecodable_share=1).exec_properties["max_undecodable_share"]
    assert isinstance(share, float)


@pytest.mark.parametrize("share", [-0.01, 1.01, float("nan")])
def test_impossible_share(share):
    with pytest.raises(
        InputError, match=rf"max_undecodable_share must be in \[0, 1\], not {share}"
    ):
        _component(max_undecodable_share=share)


def test_fingerprint_covers_this_package_and_its_noise(monkeypatch):
    covered = []

    def record(*packages):
        covered.extend(packages)
        return "edited"

    before = _component().exec_properties["code_fingerprint"]
    assert before == code_fingerprint("components.image_binarizer", "components.content_noise")
    monkeypatch.setattr(component_module, "code_fingerprint", record)
    assert _component().exec_properties["code_fingerprint"] == "edited"
    assert covered == ["components.image_binarizer", "components.content_noise"]
