"""Models and a registry for the tests of the REST API."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import requests
import tensorflow as tf

from serving.model_manager import State, VersionStatus, not_found
from serving.servable import Servable
from serving.status import StatusError, invalid_argument


class KindsModel(tf.Module):
    """Gives back what it gets, in every dtype that JSON can hold and one that it cannot."""

    @tf.function(input_signature=[tf.TensorSpec(None, tf.float32, "x")])
    def same(self, x):
        return {"y": x}

    @tf.function(input_signature=[tf.TensorSpec(None, tf.float64, "x")])
    def double(self, x):
        return {"y": x}

    @tf.function(
        input_signature=[
            tf.TensorSpec(None, dtype, dtype.name)
            for dtype in (tf.int8, tf.int32, tf.int64, tf.uint8, tf.uint32, tf.uint64, tf.bool)
        ]
    )
    def whole(self, int8, int32, int64, uint8, uint32, uint64, bool):
        return {
            "int8_out": int8,
            "int32_out": int32,
            "int64_out": int64,
            "uint8_out": uint8,
            "uint32_out": uint32,
            "uint64_out": uint64,
            "bool_out": bool,
        }

    @tf.function(input_signature=[tf.TensorSpec(None, tf.string, "text")])
    def text(self, text):
        return {"text": text, "text_bytes": text}

    @tf.function(
        input_signature=[
            tf.TensorSpec(None, tf.float32, "x"),
            tf.TensorSpec(None, tf.string, "name"),
        ]
    )
    def two(self, x, name):
        return {"x_out": x, "name_out": name}

    @tf.function(input_signature=[tf.TensorSpec(None, tf.float32, "x")])
    def odd(self, x):
        nothing = tf.constant(0.0)
        return {"y": x, "z": tf.stack([x / nothing, -x / nothing, x * 0 / nothing], -1)}

    @tf.function(input_signature=[tf.TensorSpec(None, tf.float32, "x")])
    def ragged(self, x):
        return {"y": x, "z": tf.constant([1.0, 2.0, 3.0])}

    @tf.function(input_signature=[tf.TensorSpec(None, tf.float32, "x")])
    def total(self, x):
        return {"y": tf.reduce_sum(x), "z": x}

    @tf.function(input_signature=[tf.TensorSpec(None, tf.float16, "x")])
    def half_in(self, x):
        return {"y": tf.cast(x, tf.float32)}

    @tf.function(input_signature=[tf.TensorSpec(None, tf.float32, "x")])
    def half_out(self, x):
        return {"y": tf.cast(x, tf.float16)}

    @tf.function(input_signature=[])
    def constant(self):
        return {"y": tf.constant(1.0)}

    def _x(self, inputs):
        return tf.io.parse_example(inputs, {"x": tf.io.FixedLenFeature([1], tf.float32)})["x"]

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "inputs")])
    def classify(self, inputs):
        x = self._x(inputs)
        return {"classes": tf.strings.as_string(x, precision=0), "scores": x / 5}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "inputs")])
    def regress(self, inputs):
        return {"outputs": self._x(inputs) / 5}


def save_kinds(path: Path) -> Path:
    module = KindsModel()
    names = "same double whole text two odd ragged total half_in half_out constant classify regress"
    signatures = {name: getattr(module, name) for name in names.split()}
    tf.saved_model.save(
        module, str(path), signatures={**signatures, "serving_default": module.same}
    )
    return path


class FixedRegistry:
    """The two methods of ModelRegistry that the REST API uses, over servables that never change."""

    def __init__(self, **models: list[Servable]):
        self._models = models

    @contextmanager
    def acquire(self, spec) -> Iterator[Servable]:
        if not spec.name:
            raise invalid_argument("ModelSpec has no name specified.")
        choice = spec.WhichOneof("version_choice")
        if choice == "version_label":
            raise invalid_argument(f"Unrecognized servable version label: {spec.version_label}")
        version = spec.version.value if choice == "version" else None
        for servable in self._models.get(spec.name, []):
            if version in (None, servable.version):
                yield servable
                return
        raise not_found(spec.name, version)

    def statuses(self, name: str) -> dict[int, VersionStatus]:
        models = self._models.get(name, [])
        statuses = {servable.version: VersionStatus(State.AVAILABLE) for servable in models}
        if statuses:
            error = StatusError(grpc.StatusCode.DATA_LOSS, "cannot be read")
            statuses[1] = VersionStatus(State.END, error)
        return statuses


class Caller:
    """Sends requests to one server over one connection."""

    def __init__(self, port: int):
        self.base = f"http://127.0.0.1:{port}"
        self.session = requests.Session()

    def get(self, path: str) -> requests.Response:
        return self.session.get(self.base + path, timeout=20)

    def post(self, path: str, body: Any) -> requests.Response:
        if isinstance(body, (bytes, str)):
            # requests would send text as Latin-1.
            body = body.encode() if isinstance(body, str) else body
            return self.session.post(self.base + path, data=body, timeout=20)
        return self.session.post(self.base + path, json=body, timeout=20)

    def predict(self, signature: str = "", model: str = "kinds", **body: Any) -> requests.Response:
        if signature:
            body["signature_name"] = signature
        return self.post(f"/v1/models/{model}:predict", body)
