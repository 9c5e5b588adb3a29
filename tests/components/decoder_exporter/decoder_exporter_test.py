import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.saved_model import loader_impl
from tfx import types
from tfx.types import standard_artifacts

from components.decoder_exporter import DecoderExporter
from components.decoder_exporter.executor import Executor
from components.decoder_exporter.export import export_decoder
from components.decoder_exporter.export_encoder import export_encoder
from components.errors import InputError
from components.model_report.probes import slerp
from components.saved_models import model_fingerprint
from serving.client import DecoderClient
from serving.server import ModelServer


@pytest.fixture(scope="module")
def decoder(trained, tmp_path_factory):
    artifact = standard_artifacts.Model()
    artifact.uri = str(tmp_path_factory.mktemp("decoder"))
    encoder = standard_artifacts.Model()
    encoder.uri = str(tmp_path_factory.mktemp("encoder"))
    outputs = {"decoder": [artifact], "encoder": [encoder]}
    Executor().Do({"model": [trained[0]]}, outputs, {"code_fingerprint": "any"})
    fingerprint = encoder.get_string_custom_property("source_model_fingerprint")
    assert fingerprint == artifact.get_string_custom_property("source_model_fingerprint")
    assert (Path(encoder.uri) / "Format-Serving" / "saved_model.pb").is_file()
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
    for output in ("decoder", "encoder"):
        assert component.outputs[output].type_name == standard_artifacts.Model.TYPE_NAME
    assert len(component.exec_properties["code_fingerprint"]) == 16
    monkeypatch.setattr(
        "components.decoder_exporter.component.code_fingerprint", lambda *names: " ".join(names)
    )
    edited = DecoderExporter(model=model).exec_properties["code_fingerprint"]
    assert edited.split() == [
        "components.decoder_exporter",
        "components.image_binarizer.binarize",
        "components.content_noise",
        "components.serving_warmup",
    ]


def test_only_the_decoders_signatures_are_there(loaded):
    assert set(loaded.signatures) == {"serving_default", "decode", "generate", "interpolate"}
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
    outputs = _call(loaded, "generate", **inputs, temperature=np.float32(1))
    assert outputs["z"].shape == (number, 4)
    _equal(outputs, _call(full_model, "generate", **inputs))
    other = _call(
        loaded,
        "generate",
        number=np.int64(number),
        seed=np.int64(12),
        temperature=np.float32(1),
    )
    assert not np.array_equal(outputs["z"], other["z"])


def _generate(loaded, temperature):
    inputs = {"number": np.int64(5), "seed": np.int64(3), "temperature": np.float32(temperature)}
    return _call(loaded, "generate", **inputs)


def test_the_temperature_scales_the_codes(loaded):
    warm, cool, cold = (_generate(loaded, temperature) for temperature in (1, 0.5, 0))
    np.testing.assert_array_equal(cool["z"], 0.5 * warm["z"])
    np.testing.assert_array_equal(cold["z"], np.zeros([5, 4]))
    _equal(_call(loaded, "decode", z=cool["z"]), {k: v for k, v in cool.items() if k != "z"})
    np.testing.assert_array_equal(cold["mean"][1:], cold["mean"][:-1])


def test_the_saved_signature_says_what_a_request_may_leave_out(decoder):
    saved = loader_impl.parse_saved_model(f"{decoder.uri}/Format-Serving").meta_graphs[0]
    defaults = {
        name: {alias: tf.make_ndarray(proto).item() for alias, proto in signature.defaults.items()}
        for name, signature in saved.signature_def.items()
        if signature.defaults
    }
    assert defaults == {"generate": {"temperature": 1.0}, "interpolate": {"spherical": True}}


def test_a_server_fills_in_what_a_request_leaves_out(decoder, loaded, tmp_path):
    (tmp_path / "1").symlink_to(f"{decoder.uri}/Format-Serving")
    start, end = _codes(2)
    with ModelServer("decoder", tmp_path) as server, DecoderClient(server.target) as client:
        generated = client.predict("generate", {"number": np.int64(5), "seed": np.int64(3)})
        way = client.predict("interpolate", {"start": start, "end": end, "steps": np.int64(4)})
    expected = _generate(loaded, 1)
    for name, value in generated.items():
        np.testing.assert_allclose(value, expected[name], atol=1e-6)
    np.testing.assert_allclose(way["z"], slerp(start, end, 4), rtol=1e-5)


@pytest.mark.parametrize("spherical", [True, False])
def test_interpolate_goes_from_one_code_to_the_other(loaded, spherical):
    start, end = _codes(2)
    outputs = _call(
        loaded, "interpolate", start=start, end=end, steps=np.int64(7), spherical=spherical
    )
    z = outputs.pop("z")
    assert z.shape == (7, 4)
    np.testing.assert_array_equal(z[[0, -1]], [start, end])
    line = np.linspace(0, 1, 7)[:, None]
    expected = slerp(start, end, 7) if spherical else (1 - line) * start + line * end
    np.testing.assert_allclose(z, expected, rtol=1e-5, atol=1e-6)
    _equal(outputs, _call(loaded, "decode", z=z))


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
    # Four bytes a weight; the rest is the graph and the names.
    weights = 4 * expected
    assert weights < _folder_bytes(decoder.uri) < weights + 500_000


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
    ("kept", "missing"),
    [("decode", "generate, prior_codes"), ("generate", "decode, prior_codes")],
)
def test_a_model_without_a_signature(tmp_path, kept, missing):
    module = tf.Module()
    module.call = tf.function(lambda x: {"y": x}, input_signature=[tf.TensorSpec([], tf.float32)])
    tf.saved_model.save(module, str(tmp_path / "model"), signatures={kept: module.call})
    with pytest.raises(InputError, match=rf"model has no signature {missing}; export the model"):
        export_decoder(str(tmp_path / "model"), str(tmp_path / "decoder"))
    with pytest.raises(InputError, match="no signature encode_stored, describe; export the model"):
        export_encoder(str(tmp_path / "model"), str(tmp_path / "encoder"))
    assert [entry.name for entry in tmp_path.iterdir()] == ["model"]


def test_a_generate_that_is_not_what_was_judged(full_model, tmp_path):
    module = tf.Module()
    module.model = full_model
    codes = full_model.signatures["prior_codes"]

    @tf.function(
        input_signature=[
            tf.TensorSpec([], tf.int64, "number"),
            tf.TensorSpec([], tf.int64, "seed"),
            tf.TensorSpec([], tf.float32, "temperature"),
        ]
    )
    def other_codes(number, seed, temperature):
        return {"z": 2 * codes(number=number, seed=seed, temperature=temperature)["z"]}

    module.other_codes = other_codes
    signatures = {name: full_model.signatures[name] for name in ("decode", "generate")}
    signatures["prior_codes"] = other_codes
    tf.saved_model.save(module, str(tmp_path / "model"), signatures=signatures)
    with pytest.raises(InputError, match="z of generate is not that of prior_codes and decode"):
        export_decoder(str(tmp_path / "model"), str(tmp_path / "decoder"))
