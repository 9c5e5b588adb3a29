"""Warm-up requests are replayed before a version serves; a failing one keeps it from serving."""

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format
from tensorflow_serving.apis import prediction_log_pb2

from serving.model_manager import ModelManager, State
from serving.servable import Servable
from serving.warmup import MAX_RECORDS, warm_up


def predict_log(signature="decode", **inputs):
    log = prediction_log_pb2.PredictionLog()
    log.predict_log.request.model_spec.signature_name = signature
    for name, value in inputs.items():
        log.predict_log.request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
    return log.SerializeToString()


GOOD = predict_log(z=np.zeros([1, 2], np.float32))


@pytest.fixture
def version(decoders, push, tmp_path):
    path = push(decoders["dark"], tmp_path, 1)
    (path / "assets.extra").mkdir()
    return path


def write(version, records):
    with tf.io.TFRecordWriter(str(version / "assets.extra" / "tf_serving_warmup_requests")) as file:
        for record in records:
            file.write(record)


def error_after(version):
    manager = ModelManager("decoder", version.parent)
    manager.poll()
    status = manager.statuses()[1]
    assert manager.latest_version is None
    assert status.state is State.END
    return status.error.code.name, status.error.message


def test_every_record_runs_before_the_version_serves(version, monkeypatch):
    write(version, [GOOD, predict_log("generate", number=np.int64(3), seed=np.int64(1))])
    runs = []
    original = Servable.run

    def counting(self, feeds, *rest):
        runs.append([value.tolist() for _, value in feeds])
        assert manager.latest_version is None
        return original(self, feeds, *rest)

    monkeypatch.setattr(Servable, "run", counting)
    manager = ModelManager("decoder", version.parent)
    manager.poll()
    assert runs == [[[[0.0, 0.0]]], [3, 1]]
    assert manager.latest_version == 1
    manager.stop()


def test_without_a_file_nothing_runs(version):
    servable = Servable(version, 1)
    assert warm_up(servable) == 0
    servable.close()


def test_a_record_without_a_request_is_passed_over(version):
    write(version, [b"", GOOD])
    servable = Servable(version, 1)
    assert warm_up(servable) == 2
    servable.close()


def test_a_failing_request_keeps_the_version_from_serving(version):
    write(version, [GOOD, predict_log(z=np.zeros([1, 2], bool))])
    assert error_after(version) == (
        "INVALID_ARGUMENT",
        "Expects arg[0] to be float but bool is provided",
    )


def test_a_file_that_is_no_tfrecord(version):
    (version / "assets.extra" / "tf_serving_warmup_requests").write_bytes(b"x" * 100)
    code, message = error_after(version)
    assert code == "DATA_LOSS"
    assert message.endswith(". Please verify your warmup data is in TFRecord format.")


def test_a_record_that_is_no_prediction_log(version):
    write(version, [b"\xff\xff"])
    code, message = error_after(version)
    assert (code, message[:29]) == ("INVALID_ARGUMENT", "Failed to parse warmup record")


@pytest.mark.parametrize(("kind", "number"), [("session_run_log", 5), ("predict_streamed_log", 7)])
def test_kinds_that_warm_up_cannot_replay(version, kind, number):
    log = text_format.Parse(f"{kind} {{ }}", prediction_log_pb2.PredictionLog())
    assert prediction_log_pb2.PredictionLog.DESCRIPTOR.fields_by_name[kind].number == number
    write(version, [log.SerializeToString()])
    expected = f"Unsupported log_type for warmup: {number}"
    assert error_after(version) == ("UNIMPLEMENTED", expected)


def test_more_records_than_the_maximum(version):
    write(version, [b""] * (MAX_RECORDS + 1))
    code, message = error_after(version)
    assert code == "INVALID_ARGUMENT"
    assert message.startswith("Number of warmup records exceeds the maximum (1000) at ")


def test_classify_records_are_checked_too(version):
    log = prediction_log_pb2.PredictionLog()
    log.classify_log.request.model_spec.signature_name = "nope"
    write(version, [log.SerializeToString()])
    assert error_after(version) == (
        "INVALID_ARGUMENT",
        "No signature was found with the name: nope",
    )
