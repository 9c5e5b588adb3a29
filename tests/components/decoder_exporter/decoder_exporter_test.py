import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tfx import types
from tfx.types import standard_artifacts

from components.decoder_exporter import DecoderExporter
from components.decoder_exporter.executor import Executor
from components.decoder_exporter.export import export_decoder
from components.errors import InputError
from components.saved_models import model_fingerprint


@pytest.fixture(scope="module")
def decoder(trained, tmp_path_factory):
    artifact = standard_artifacts.Model()
    artifact.uri = str(tmp_path_factory.mktemp("decoder"))
    Executor().Do({"model": [trained[0]]}, {"decoder": [artifact]}, {"code_fingerprint": "any"})
    return artifact


@pytest.fixture(scope="module")
def full_model(trained):
    return tf.saved_model.load(f"{trained[0].uri}/Format-Serving")


@pytest.fixture(scope="module")
def loaded(decoder):
    return tf.saved_model.load(f"{decoder.uri}/Format-Serving")


def _call(model, signature, **inputs):
    tensors = {name: tf.constant(value) for name, value in inputs.items()}
    return {name: value.numpy() for name, value in model.signatures[signature](**tensors).items()}


def _equal(one, other):
    assert one.keys() == other.keys()
    for name, value in one.items():
        np.testing.assert_array_equal(value, other[name], err_msg=name)


def _codes(number):
    return np.random.default_rng(number).normal(size=(number, 4)).astype(np.float32)


def _folder_bytes(path):
    return sum(file.stat().st_size for file in Path(path).rglob("*") if file.is_file())


def test_construction(monkeypatch):
    model = types.Channel(type=standard_artifacts.Model)
    component = DecoderExporter(model=model)
    assert component.inputs["model"] is model
    assert component.outputs["decoder"].type_name == standard_artifacts.Model.TYPE_NAME
    assert len(component.exec_properties["code_fingerprint"]) == 16
    monkeypatch.setattr(
        "components.decoder_exporter.component.code_fingerprint", lambda name: f"edited {name}"
    )
    edited = DecoderExporter(model=model).exec_properties["code_fingerprint"]
    assert edited == "edited components.decoder_exporter"


def test_only_the_decoders_signatures_are_there(loaded):
    assert set(loaded.signatures) == {"serving_default", "decode", "generate"}
    specs = loaded.signatures["decode"].structured_input_signature[1]
    assert specs["z"].shape.as_list() == [None, 4]


@pytest.mark.parametrize("batch", [1, 7])
def test_decode_equals_the_full_models(loaded, full_model, batch):
    outputs = _call(loaded, "decode", z=_codes(batch))
    assert sorted(outputs) == ["mean", "mode", "sample"]
    assert {value.shape for value in outputs.values()} == {(batch, 28, 28, 1)}
    assert outputs["mean"].std() > 0
    _equal(outputs, _call(full_model, "decode", z=_codes(batch)))


def test_serving_default_is_decode(loaded):
    codes = _codes(3)
    _equal(_call(loaded, "serving_default", z=codes), _call(loaded, "decode", z=codes))


@pytest.mark.parametrize("number", [1, 7])
def test_generate_equals_the_full_models(loaded, full_model, number):
    inputs = {"number": np.int64(number), "seed": np.int64(11)}
    outputs = _call(loaded, "generate", **inputs)
    assert outputs["z"].shape == (number, 4)
    _equal(outputs, _call(full_model, "generate", **inputs))
    other = _call(loaded, "generate", number=np.int64(number), seed=np.int64(12))
    assert not np.array_equal(outputs["z"], other["z"])


def test_only_the_decoders_weights_are_saved(decoder, trained, full_model):
    def saved_parameters(path):
        shapes = dict(tf.train.list_variables(f"{path}/Format-Serving/variables/variables"))
        return sum(
            int(np.prod(shape)) for name, shape in shapes.items() if "VARIABLE_VALUE" in name
        )

    used = {id(v): v for v in full_model.signatures["decode"].variables}.values()
    expected = sum(int(np.prod(variable.shape)) for variable in used)
    assert saved_parameters(decoder.uri) == expected
    assert 0 < expected < saved_parameters(trained[0].uri)
    assert _folder_bytes(decoder.uri) < _folder_bytes(trained[0].uri)


def test_the_decoder_names_the_model_that_it_came_from(decoder, trained):
    source = decoder.get_string_custom_property("source_model_fingerprint")
    assert source == model_fingerprint(f"{trained[0].uri}/Format-Serving")
    assert source != model_fingerprint(f"{decoder.uri}/Format-Serving")


def test_it_loads_without_this_project(decoder, loaded, tmp_path):
    codes = _codes(2)
    np.save(tmp_path / "z.npy", codes)
    code = f"""
import sys
import numpy as np
import tensorflow as tf
model = tf.saved_model.load({decoder.uri + "/Format-Serving"!r})
assert not any(m.split(".")[0] in ("components", "tfx") for m in sys.modules)
z = tf.constant(np.load("z.npy"))
np.save("mean.npy", model.signatures["serving_default"](z=z)["mean"].numpy())
"""
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    expected = _call(loaded, "decode", z=codes)["mean"]
    np.testing.assert_allclose(np.load(tmp_path / "mean.npy"), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("kept", "missing"), [("decode", "generate"), ("generate", "decode"), ("x", "decode, generate")]
)
def test_a_model_without_a_signature(tmp_path, kept, missing):
    module = tf.Module()
    module.call = tf.function(lambda x: {"y": x}, input_signature=[tf.TensorSpec([], tf.float32)])
    tf.saved_model.save(module, str(tmp_path / "model"), signatures={kept: module.call})
    with pytest.raises(InputError, match=rf"model has no signature {missing}; export the model"):
        export_decoder(str(tmp_path / "model"), str(tmp_path / "decoder"))
    assert not (tmp_path / "decoder").exists()
