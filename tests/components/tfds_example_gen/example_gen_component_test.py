import os

import pytest
from google.protobuf import json_format, struct_pb2
from tfx.proto import example_gen_pb2
from tfx.types import standard_artifacts
from tfx.utils import proto_utils

from components.errors import InputError
from components.tfds_example_gen import DataSource, TfdsExampleGen
from components.tfds_example_gen import executor as executor_module

_SPLITS = {"train": "train[:90%]", "eval": "train[90%:]"}


def _settings(component):
    config = example_gen_pb2.CustomConfig()
    proto_utils.json_to_proto(component.exec_properties["custom_config"], config)
    struct = struct_pb2.Struct()
    assert config.custom_config.Unpack(struct)
    return json_format.MessageToDict(struct)


def test_construction(tmp_path):
    source = DataSource("mnist", data_dir=str(tmp_path), unlabelled=True)
    component = TfdsExampleGen(source, _SPLITS)
    assert component.outputs["examples"].type_name == standard_artifacts.Examples.TYPE_NAME
    config = example_gen_pb2.Input()
    proto_utils.json_to_proto(component.exec_properties["input_config"], config)
    assert {split.name: split.pattern for split in config.splits} == _SPLITS
    assert executor_module.read_source(component.exec_properties) == source
    assert list(tmp_path.iterdir()) == []


def test_a_single_split_is_not_divided(digits_dir):
    component = TfdsExampleGen(DataSource("digits", data_dir=digits_dir), {"train": "train"})
    config = example_gen_pb2.Output()
    proto_utils.json_to_proto(component.exec_properties["output_config"], config)
    assert not config.split_config.splits


def test_changed_data_and_code_change_the_settings(tmp_path, monkeypatch):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.png").write_bytes(b"never opened")
    source = DataSource(str(tmp_path))
    first = TfdsExampleGen(source, _SPLITS).exec_properties["custom_config"]
    assert TfdsExampleGen(source, _SPLITS).exec_properties["custom_config"] == first
    os.utime(tmp_path / "a" / "1.png", ns=(1, 1))
    second = TfdsExampleGen(source, _SPLITS).exec_properties["custom_config"]
    assert second != first
    monkeypatch.setattr("components.tfds_example_gen.component.code_fingerprint", lambda _: "x")
    assert TfdsExampleGen(source, _SPLITS).exec_properties["custom_config"] != second


def test_a_given_fingerprint_needs_no_data():
    component = TfdsExampleGen(DataSource("/in/the/cluster"), _SPLITS, data_fingerprint="v7")
    assert _settings(component)["data_fingerprint"] == "v7"


def test_errors(tmp_path):
    with pytest.raises(InputError, match="No output split is given"):
        TfdsExampleGen(DataSource("digits"), {})
    with pytest.raises(InputError, match="Output split 'a/b' cannot be a folder name"):
        TfdsExampleGen(DataSource("digits"), {"a/b": "train"})
    with pytest.raises(InputError, match="There is no folder"):
        TfdsExampleGen(DataSource(str(tmp_path / "absent")), _SPLITS)
