"""Serves a decoder in a process of its own, queries it, and compares with TensorFlow in-process."""

import os
import re
import subprocess
import sys
import tempfile
import textwrap
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from components.errors import InputError
from serving.client import DecoderClient

MODEL_NAME = "decoder"
TOLERANCE = 1e-5

_NUM_CODES = 8
_NUM_GENERATED = 4
_FAULT_LENGTH = 500
# Seconds that a server gets to stop by itself; one that hangs may not heed the request.
_STOP_SECONDS = 5.0
_ADDRESS = re.compile(r"on (\S+:\d+)")


def find_serving_faults(decoder_path: str, timeout: float = 120.0) -> list[str]:
    """Serves a decoder as it would be served in production, and queries every signature.

    Args:
      decoder_path: The decoder's SavedModel; warm-up requests are written into it.
      timeout: Seconds for the server to become ready, and again for each reply.

    Returns:
      What was wrong, a line each; nothing if all replies are finite, lie in [0, 1] and equal
      those of the SavedModel in this process within `TOLERANCE`.
    """
    try:
        expected = _expected_replies(decoder_path)
        write_warmup_requests(decoder_path)
        with (
            _serve(decoder_path, timeout) as target,
            DecoderClient(target, MODEL_NAME, timeout) as client,
        ):
            faults = []
            for signature, (inputs, outputs) in expected.items():
                replies = client.predict(signature, inputs)
                faults += [f"{signature}: {fault}" for fault in _compare(replies, outputs)]
            return faults
    # A model may fail to load, trace or run in any way; all of them make it unfit to serve.
    except Exception as error:
        # TensorFlow's messages run over several lines, and their first one seldom says what it is.
        return [f"{type(error).__name__}: {textwrap.shorten(str(error), _FAULT_LENGTH)}"]


def _requests(model) -> dict[str, dict[str, np.ndarray]]:
    """Inputs for every signature, the same on every call."""
    codes_spec = model.signatures["decode"].structured_input_signature[1]["z"]
    codes = tf.random.stateless_normal([_NUM_CODES, codes_spec.shape[1]], seed=[0, 1]).numpy()
    generate = {"number": np.int64(_NUM_GENERATED), "seed": np.int64(0)}
    return {"serving_default": {"z": codes}, "decode": {"z": codes}, "generate": generate}


def _expected_replies(decoder_path: str) -> dict[str, tuple[dict, dict]]:
    model = tf.saved_model.load(decoder_path)
    replies = {}
    for signature, inputs in _requests(model).items():
        tensors = {name: tf.constant(value) for name, value in inputs.items()}
        outputs = model.signatures[signature](**tensors)
        replies[signature] = inputs, {name: value.numpy() for name, value in outputs.items()}
    return replies


def _compare(replies: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> Iterator[str]:
    if replies.keys() != expected.keys():
        yield f"gives {sorted(replies)} instead of {sorted(expected)}"
        return
    for name, value in expected.items():
        reply = replies[name]
        if reply.shape != value.shape:
            yield f"{name} has shape {reply.shape} instead of {value.shape}"
        elif not np.isfinite(reply).all():
            yield f"{name} is not finite everywhere"
        # A sample of a Gaussian may leave it rightly.
        elif name in ("mean", "mode") and (reply.min() < 0.0 or reply.max() > 1.0):
            yield f"{name} leaves [0, 1]"
        # A sample or mode may flip where a mean lies within the tolerance of its threshold.
        elif name in ("sample", "mode"):
            if np.mean(reply != value) > 1e-3:
                yield f"{name} differs from the model's own in more than 0.1 % of pixels"
        elif np.abs(reply - value).max() > TOLERANCE:
            yield f"{name} differs from the model's own by {np.abs(reply - value).max():.2g}"


@contextmanager
def _serve(decoder_path: str, timeout: float) -> Iterator[str]:
    """Runs the model server on a free port; gives its address."""
    with tempfile.TemporaryDirectory() as base_path:
        # A server wants numbered versions under a base path; a link saves the copy.
        os.symlink(os.path.abspath(decoder_path), Path(base_path) / "1")
        command = [sys.executable, "-m", "serving.server", "--port", "0"]
        command += ["--model_name", MODEL_NAME, "--model_base_path", base_path]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            # Ends a server that hangs while loading, so that reading its output ends too.
            watchdog = threading.Timer(timeout, process.kill)
            watchdog.start()
            try:
                address = _address(process)
                watchdog.cancel()
                yield address
            finally:
                watchdog.cancel()
                process.terminate()
                try:
                    process.wait(_STOP_SECONDS)
                except subprocess.TimeoutExpired:
                    process.kill()


def _address(process: subprocess.Popen) -> str:
    for line in process.stdout:
        if match := _ADDRESS.search(line):
            return match[1]
    process.wait()
    reason = process.stderr.read().strip().splitlines()
    raise InputError(
        f"The model server did not become ready ({reason[-1] if reason else 'it hung'})."
    )


def write_warmup_requests(decoder_path: str) -> str:
    """Adds the requests that a model server sends to itself before it serves a version.

    Args:
      decoder_path: The decoder's SavedModel, written to.

    Returns:
      The file's path, where TF Serving looks for it.
    """
    path = os.path.join(decoder_path, "assets.extra", "tf_serving_warmup_requests")
    tf.io.gfile.makedirs(os.path.dirname(path))
    with tf.io.TFRecordWriter(path) as writer:
        for signature, inputs in _requests(tf.saved_model.load(decoder_path)).items():
            request = predict_pb2.PredictRequest()
            request.model_spec.name = MODEL_NAME
            request.model_spec.signature_name = signature
            for name, value in inputs.items():
                request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
            log = prediction_log_pb2.PredictionLog(
                predict_log=prediction_log_pb2.PredictLog(request=request)
            )
            writer.write(log.SerializeToString())
    return path
