"""Serves a decoder in a process of its own, queries it, and compares with TensorFlow in-process."""

import os
import re
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import numpy as np
import tensorflow as tf

from components.errors import InputError
from components.serving_validator.limits import Limits
from components.serving_validator.requests import (
    MODEL_NAME,
    OPTIONAL_INPUTS,
    requests_of,
)
from components.serving_warmup import write_warmup_requests
from serving.client import DecoderClient

# Of the largest value of an output.
TOLERANCE = 1e-5

_NUM_TIMED = 51
_POLL_SECONDS = 0.1
_FAULT_LENGTH = 500
# Seconds that a server gets to stop by itself; one that hangs may not heed the request.
_STOP_SECONDS = 5.0
_ADDRESS = re.compile(r"on (\S+:\d+)")


def find_serving_faults(
    decoder_path: str, timeout: float = 120.0, limits: Limits | None = None
) -> list[str]:
    """Serves a decoder as it would be served in production, and queries every signature.

    Args:
      decoder_path: The decoder's SavedModel; warm-up requests are written into it.
      timeout: Seconds for the server to become ready, and again for each reply.
      limits: What the decoder may cost at most.

    Returns:
      What was wrong, a line each; nothing if all replies are finite, lie in [0, 1] and equal
      those of the SavedModel in this process within `TOLERANCE`, and the limits are kept.
    """
    limits = limits or Limits()
    try:
        faults = list(_size_faults(decoder_path, limits.max_model_bytes))
        expected = _expected_replies(decoder_path)
        requests = {signature: inputs for signature, (inputs, _) in expected.items()}
        write_warmup_requests(decoder_path, MODEL_NAME, requests)
        with (
            _serve(decoder_path, timeout) as target,
            DecoderClient(target, MODEL_NAME, timeout) as client,
        ):
            _wait_until_available(client, timeout)
            for label, signature, inputs, outputs in _queries(expected):
                replies = client.predict(signature, inputs)
                faults += [f"{label}: {fault}" for fault in _compare(replies, outputs)]
            inputs, outputs = expected["decode"]
            code, one = inputs["z"][:1], {"mean": outputs["mean"][:1]}
            # The mean alone: a sample that is not of two values differs in its last bits.
            differences = _compare({"mean": client.decode(code)}, one)
            faults += [f"decode of one code: {fault}" for fault in differences]
            faults += _latency_faults(client, code, limits.max_latency_ms)
        return faults
    # A model may fail to load, trace or run in any way; all of them make it unfit to serve.
    except Exception as error:
        # TensorFlow's messages run over several lines, and their first one seldom says what it is.
        return [f"{type(error).__name__}: {textwrap.shorten(str(error), _FAULT_LENGTH)}"]


def _size_faults(decoder_path: str, most: int | None) -> Iterator[str]:
    files = (file for file in Path(decoder_path).rglob("*") if file.is_file())
    size = sum(file.stat().st_size for file in files if file.parent.name != "assets.extra")
    if most is not None and size > most:
        yield f"the decoder has {size:,} bytes, more than max_model_bytes {most:,}"


def _expected_replies(decoder_path: str) -> dict[str, tuple[dict, dict]]:
    """Inputs and outputs by signature."""
    model = tf.saved_model.load(decoder_path)
    replies = {}
    for signature, inputs in requests_of(model).items():
        tensors = {name: tf.constant(value) for name, value in inputs.items()}
        outputs = model.signatures[signature](**tensors)
        replies[signature] = inputs, {name: value.numpy() for name, value in outputs.items()}
    return replies


def _wait_until_available(client: DecoderClient, timeout: float) -> None:
    deadline = time.monotonic() + timeout
    while "AVAILABLE" not in (states := [state for _, state in client.status()]):
        if time.monotonic() > deadline:
            raise InputError(
                f"No version became AVAILABLE within {timeout:g} s, only {', '.join(states)}."
            )
        time.sleep(_POLL_SECONDS)


def _queries(expected: dict[str, tuple[dict, dict]]) -> Iterator[tuple[str, str, dict, dict]]:
    """Gives what each query is called, its signature, its inputs and its expected outputs."""
    for signature, (inputs, outputs) in expected.items():
        yield signature, signature, inputs, outputs
        if name := OPTIONAL_INPUTS.get(signature):
            rest = {key: value for key, value in inputs.items() if key != name}
            yield f"{signature} without {name}", signature, rest, outputs


def _latency_faults(client: DecoderClient, code: np.ndarray, most: float | None) -> Iterator[str]:
    if most is None:
        return
    seconds = []
    for _ in range(_NUM_TIMED):
        start = time.perf_counter()
        client.decode(code)
        seconds.append(time.perf_counter() - start)
    latency = 1000.0 * median(seconds)
    if latency > most:
        yield (
            f"decode of one code takes {latency:.3g} ms (median of {_NUM_TIMED}), "
            f"more than max_latency_ms {most:g}"
        )


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
        elif np.abs(reply - value).max() > TOLERANCE * np.abs(value).max():
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
