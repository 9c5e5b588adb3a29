import os
import re
import shutil
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2
from tfx import types
from tfx.types import standard_artifacts
from tfx.utils import path_utils

from components.errors import InputError
from components.saved_models import model_fingerprint
from components.serving_validator import ServingValidator, validate
from components.serving_validator.executor import Executor
from components.serving_validator.limits import Limits
from components.serving_validator.validate import find_serving_faults
from serving.server import ModelServer


def _run(folder, out, limits=None):
    """Runs the executor on a decoder's folder; gives the blessing."""
    decoder, blessing = standard_artifacts.Model(), standard_artifacts.InfraBlessing()
    decoder.uri, blessing.uri = str(folder), str(out)
    Executor().Do({"decoder": [decoder]}, {"blessing": [blessing]}, limits or {})
    return blessing


@pytest.fixture
def server_here(monkeypatch):
    """Serves in this process, which spares the seconds that another one needs for imports."""

    @contextmanager
    def serve(decoder_path, timeout):
        base_path = Path(decoder_path).parent / "base"
        base_path.mkdir(exist_ok=True)
        (base_path / "1").symlink_to(decoder_path)
        with ModelServer(validate.MODEL_NAME, base_path) as server:
            yield server.target
        (base_path / "1").unlink()

    monkeypatch.setattr(validate, "_serve", serve)


@pytest.fixture
def server_script(monkeypatch, tmp_path):
    """Puts a shell script in the place of the model server; gives what tells its process id."""

    def use(script):
        file = tmp_path / "server"
        file.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/pid\n{script}\n")
        file.chmod(0o755)
        monkeypatch.setattr(validate.sys, "executable", str(file))
        return lambda: int((tmp_path / "pid").read_text())

    return use


def _copy(source, destination):
    return str(shutil.copytree(source, destination))


def _is_running(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture(scope="module")
def good(save_decoder, tmp_path_factory):
    """A good decoder's folder, the blessing it got from a real server, and that server."""
    folder = save_decoder()
    processes = []

    class Recorded(subprocess.Popen):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            processes.append(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(validate.subprocess, "Popen", Recorded)
        blessing = _run(folder, tmp_path_factory.mktemp("blessing"))
    return folder, blessing, processes


def test_construction(monkeypatch):
    decoder = types.Channel(type=standard_artifacts.Model)
    component = ServingValidator(decoder=decoder)
    assert component.inputs["decoder"] is decoder
    assert component.outputs["blessing"].type_name == standard_artifacts.InfraBlessing.TYPE_NAME
    assert len(component.exec_properties["code_fingerprint"]) == 16
    monkeypatch.setattr(
        "components.serving_validator.component.code_fingerprint", lambda *names: ",".join(names)
    )
    code = ServingValidator(decoder=decoder).exec_properties["code_fingerprint"]
    assert code == "components.serving_validator,components.serving_warmup,serving"


def test_a_good_decoder_is_blessed(good):
    folder, blessing, _ = good
    assert blessing.get_string_custom_property("reasons") == ""
    assert blessing.get_int_custom_property("blessed") == 1
    assert blessing.get_int_custom_property("has_model") == 1
    assert (Path(blessing.uri) / "INFRA_BLESSED").is_file()
    fingerprint = blessing.get_string_custom_property("decoder_fingerprint")
    assert fingerprint == model_fingerprint(str(folder / "Format-Serving"))


def test_the_server_was_real_and_is_gone(good):
    (process,) = good[2]
    assert process.args[1:3] == ["-m", "serving.server"]
    assert process.returncode is not None
    assert not _is_running(process.pid)


def test_the_blessed_model_is_the_decoder_with_warm_up(good):
    folder, blessing, _ = good
    stamped = path_utils.stamped_model_path(blessing.uri)
    assert model_fingerprint(stamped) == model_fingerprint(str(folder / "Format-Serving"))
    assert not (folder / "Format-Serving" / "assets.extra").exists()
    file = f"{stamped}/assets.extra/tf_serving_warmup_requests"
    logs = [
        prediction_log_pb2.PredictionLog.FromString(record)
        for record in tf.data.TFRecordDataset(file).as_numpy_iterator()
    ]
    requests = {log.predict_log.request.model_spec.signature_name: log for log in logs}
    assert set(requests) == {"serving_default", "decode", "generate", "interpolate"}
    assert sorted(requests["generate"].predict_log.request.inputs) == [
        "number",
        "seed",
        "temperature",
    ]
    model = tf.saved_model.load(stamped)
    for signature, log in requests.items():
        assert log.predict_log.request.model_spec.name == "decoder"
        inputs = {
            name: tf.constant(tf.make_ndarray(proto))
            for name, proto in log.predict_log.request.inputs.items()
        }
        assert model.signatures[signature](**inputs)["mean"].shape[1:] == [3, 3, 1]


def _not_blessed(blessing, reason):
    assert blessing.get_int_custom_property("blessed") == 0
    assert blessing.get_int_custom_property("has_model") == 0
    reasons = blessing.get_string_custom_property("reasons")
    assert reason in reasons
    assert [entry.name for entry in Path(blessing.uri).iterdir()] == ["INFRA_NOT_BLESSED"]
    lines = (Path(blessing.uri) / "INFRA_NOT_BLESSED").read_text().split("\n")
    assert "; ".join(lines) == reasons
    return lines


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("nan", "decode: mean is not finite everywhere"),
        ("above", "decode: mean leaves [0, 1]"),
        ("below", "generate: mean leaves [0, 1]"),
    ],
)
def test_images_that_are_none(save_decoder, server_here, tmp_path, fault, reason):
    lines = _not_blessed(_run(save_decoder(fault), tmp_path), reason)
    assert {line.split(":")[0] for line in lines} == {
        "serving_default",
        "decode",
        "decode of one code",
        "generate",
        "generate without temperature",
        "interpolate",
        "interpolate without spherical",
    }


def test_a_default_that_changes_the_images(save_decoder, server_here, tmp_path):
    lines = _not_blessed(_run(save_decoder("default"), tmp_path), "z differs from the model's own")
    assert {line.split(":")[0] for line in lines} == {"generate without temperature"}


def test_a_decoder_that_crashes_on_a_call(save_decoder, tmp_path):
    (line,) = _not_blessed(_run(save_decoder("crash"), tmp_path), "no such luck")
    assert line.startswith("InvalidArgumentError: ")


@pytest.mark.parametrize("signature", ["generate", "decode", "serving_default", "interpolate"])
def test_a_decoder_without_a_signature(save_decoder, tmp_path, signature):
    reason = f"The decoder has no signature {signature}; export it with DecoderExporter."
    _not_blessed(_run(save_decoder(without=[signature]), tmp_path), reason)


def _garbage(model):
    (model / "saved_model.pb").write_bytes(b"\xff no SavedModel")


def _no_graph(model):
    (model / "saved_model.pb").unlink()


def _half_the_weights(model):
    (file,) = (model / "variables").glob("variables.data-*")
    file.write_bytes(file.read_bytes()[:-20])


@pytest.mark.parametrize(
    ("damage", "reason"),
    [(_garbage, "saved_model.pb"), (_no_graph, "saved_model.pb"), (_half_the_weights, "Error: ")],
)
def test_a_damaged_decoder(save_decoder, tmp_path, damage, reason):
    folder = save_decoder()
    damage(folder / "Format-Serving")
    (line,) = _not_blessed(_run(folder, tmp_path), reason)
    assert len(line) > len(reason)


@pytest.mark.parametrize(
    ("change", "faults"),
    [
        (
            lambda mean: mean + np.float32(1e-4),
            [
                "decode: mean differs from the model's own by 0.0001",
                "decode of one code: mean differs from the model's own by 0.0001",
            ],
        ),
        (
            lambda mean: mean[1:],
            [
                "decode: mean has shape (7, 3, 3, 1) instead of (8, 3, 3, 1)",
                "decode of one code: mean has shape (0, 3, 3, 1) instead of (1, 3, 3, 1)",
            ],
        ),
        (lambda mean: mean + np.float32(1e-7), []),
    ],
)
def test_a_server_that_computes_something_else(
    good, server_here, tmp_path, monkeypatch, change, faults
):
    predict = validate.DecoderClient.predict

    def other_predict(self, signature, inputs, outputs=None):
        replies = predict(self, signature, inputs, outputs)
        if signature == "decode":
            replies["mean"] = change(replies["mean"] * np.float32(0.9))
        return replies

    expected = validate._expected_replies

    def other_expected(path):
        replies = expected(path)
        replies["decode"][1]["mean"] *= np.float32(0.9)
        return replies

    monkeypatch.setattr(validate.DecoderClient, "predict", other_predict)
    monkeypatch.setattr(validate, "_expected_replies", other_expected)
    path = _copy(good[0] / "Format-Serving", tmp_path / "model")
    assert find_serving_faults(path) == faults


def test_limits_that_are_kept_and_broken(save_decoder, server_here, tmp_path):
    folder = save_decoder()
    size = sum(file.stat().st_size for file in (folder / "Format-Serving").rglob("*.*"))
    path = _copy(folder / "Format-Serving", tmp_path / "model")
    assert find_serving_faults(path, limits=Limits(60_000.0, size)) == []
    # The second time warm-up requests are there, which do not count.
    slow, large = find_serving_faults(path, limits=Limits(1e-6, size - 1))[::-1]
    assert large == f"the decoder has {size:,} bytes, more than max_model_bytes {size - 1:,}"
    assert re.fullmatch(
        r"decode of one code takes [\d.e+]+ ms \(median of 51\), more than max_latency_ms 1e-06",
        slow,
    )


def test_limits_reach_the_blessing(save_decoder, server_here, tmp_path):
    limits = {"max_model_bytes": 10, "max_latency_ms": 60_000.0}
    (line,) = _not_blessed(_run(save_decoder(), tmp_path, limits), "more than max_model_bytes 10")
    assert line.startswith("the decoder has ")


@pytest.mark.parametrize("name", ["max_latency_ms", "max_model_bytes"])
def test_limits_that_make_no_sense(name):
    decoder = types.Channel(type=standard_artifacts.Model)
    with pytest.raises(InputError, match=f"{name} must be above 0, not -1"):
        ServingValidator(decoder=decoder, **{name: -1})
    assert ServingValidator(decoder=decoder, **{name: 7}).exec_properties[name] == 7


def test_a_version_that_is_never_available(good, server_here, tmp_path, monkeypatch):
    monkeypatch.setattr(validate.DecoderClient, "status", lambda self: [(1, "LOADING")])
    path = _copy(good[0] / "Format-Serving", tmp_path / "model")
    (fault,) = find_serving_faults(path, timeout=0.3)
    assert fault == "InputError: No version became AVAILABLE within 0.3 s, only LOADING."


def test_outputs_and_flipped_pixels_are_compared():
    ones = np.ones((4, 3, 3, 1), np.float32)
    flipped = ones.copy()
    flipped[0, 0, 0, 0] = 0
    (fault,) = validate._compare({"sample": flipped}, {"sample": ones})
    assert fault == "sample differs from the model's own in more than 0.1 % of pixels"
    many, one_flipped = np.ones((200, 3, 3, 1)), np.ones((200, 3, 3, 1))
    one_flipped[0, 0, 0, 0] = 0
    assert list(validate._compare({"mode": one_flipped}, {"mode": many})) == []
    (fault,) = validate._compare({"mean": ones}, {"mean": ones, "z": ones})
    assert fault == "gives ['mean'] instead of ['mean', 'z']"
    # Codes are not pixels: they may leave [0, 1], but not differ.
    assert list(validate._compare({"z": -3 * ones}, {"z": -3 * ones})) == []
    assert list(validate._compare({"z": 3 * ones}, {"z": -3 * ones}))


def test_a_server_that_hangs_while_loading_is_killed(good, server_script, tmp_path):
    pid = server_script("exec sleep 30")
    started = time.monotonic()
    path = _copy(good[0] / "Format-Serving", tmp_path / "model")
    (fault,) = find_serving_faults(path, timeout=0.5)
    assert time.monotonic() - started < 10
    assert "The model server did not become ready (it hung)" in fault
    assert not _is_running(pid())


def test_a_server_that_neither_answers_nor_stops_is_killed(
    good, server_script, tmp_path, monkeypatch
):
    monkeypatch.setattr(validate, "_STOP_SECONDS", 0.5)
    # Nobody listens on port 1; the script does not heed SIGTERM.
    pid = server_script(
        "trap '' TERM\necho on 127.0.0.1:1\nfor _ in $(seq 300); do sleep 0.1; done"
    )
    started = time.monotonic()
    path = _copy(good[0] / "Format-Serving", tmp_path / "model")
    (fault,) = find_serving_faults(path, timeout=1.0)
    assert time.monotonic() - started < 10
    assert "No model server answers at 127.0.0.1:1" in fault
    assert not _is_running(pid())


def test_a_ready_server_is_not_killed_while_it_answers(server_script, tmp_path):
    pid = server_script("echo on 127.0.0.1:1\nexec sleep 30")
    with validate._serve(str(tmp_path), timeout=0.5):
        time.sleep(1.0)
        with open(f"/proc/{pid()}/stat") as file:
            assert file.read().split()[2] != "Z"
    assert not _is_running(pid())


def test_a_server_that_does_not_start_gives_its_reason(good, server_script, tmp_path):
    server_script("echo error: port 0 is haunted >&2\nexit 1")
    path = _copy(good[0] / "Format-Serving", tmp_path / "model")
    (fault,) = find_serving_faults(path, timeout=30)
    assert "did not become ready (error: port 0 is haunted)" in fault
