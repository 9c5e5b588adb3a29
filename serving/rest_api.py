"""TF Serving's REST API, apart from HTTP: what a method, a path and a body are answered with.

Routes and texts are those of http_rest_api_handler.cc and http_rest_api_util.cc at 2.16.1; models
run through the same functions as for gRPC.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import grpc
import tensorflow as tf
from google.protobuf import json_format
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    model_pb2,
    predict_pb2,
    regression_pb2,
)

from serving import tensors
from serving.example_inference import run_classify, run_regress
from serving.model_registry import ModelRegistry
from serving.predict import run_predict
from serving.rest_examples import read_examples, write_classifications, write_regressions
from serving.rest_json import dump, parse_object, quote
from serving.rest_tensors import read_inputs, write_outputs
from serving.servable import DEFAULT_SIGNATURE, Servable
from serving.status import StatusError, invalid_argument

# TF Serving's default of --rest_api_timeout_in_ms.
TIMEOUT_SECONDS = 30.0

_LOG = logging.getLogger(__name__)

_INFERENCE = re.compile(
    r"/v1/models/([^/:]+)(?:/versions/([0-9]+)|/labels/([^/:]+))?:(classify|regress|predict)",
    re.IGNORECASE | re.ASCII,
)
_MODEL = re.compile(
    r"/v1/models(?:/([^/:]+))?(?:/versions/([0-9]+)|/labels/([^/:]+))?(?:/(metadata))?",
    re.IGNORECASE | re.ASCII,
)


@dataclass(frozen=True)
class Reply:
    """What a request is answered with.

    Attributes:
      status: OK or the code of the error.
      body: JSON.
      model_name: The model that the path names; empty if it names none.
      method: `predict`, `classify`, `regress`, or empty.
    """

    status: grpc.StatusCode
    body: bytes
    model_name: str
    method: str


def error_body(message: str) -> bytes:
    """Returns the JSON of an error."""
    return dump({"error": message.encode("utf-8", "replace").decode()})


class RestApi:
    """Answers requests to paths under `/v1/`."""

    def __init__(self, registry: ModelRegistry):
        """Creates the API.

        Args:
          registry: The models.
        """
        self._registry = registry
        self._inference: Mapping[str, Callable[[model_pb2.ModelSpec, bytes], bytes]] = {
            "predict": self._predict,
            "classify": self._classify,
            "regress": self._regress,
        }

    def answer(self, http_method: str, path: str, body: bytes) -> Reply:
        """Answers one request.

        Args:
          http_method: For example `POST`.
          path: Without query.
          body: Uncompressed.

        Returns:
          The reply; a request that fails has one too.
        """
        match = None
        if http_method in ("GET", "POST"):
            match = (_INFERENCE if http_method == "POST" else _MODEL).fullmatch(path)
        name, version, label, what = match.groups(default="") if match else ("", "", "", "")
        name = unquote(name)
        method = what if http_method == "POST" else ""
        try:
            spec = _model_spec(name, version, unquote(label))
            if method in self._inference:
                content = self._inference[method](spec, body)
            elif http_method == "GET" and match:
                content = self._metadata(spec) if what == "metadata" else self._status(spec)
            else:
                raise invalid_argument(f"Malformed request: {http_method} {path}")
        except StatusError as error:
            return Reply(error.code, error_body(error.message), name, method)
        except Exception:
            _LOG.exception("%s %s failed.", http_method, path)
            text = "The server failed; its log tells why."
            return Reply(grpc.StatusCode.INTERNAL, error_body(text), name, method)
        return Reply(grpc.StatusCode.OK, content, name, method)

    def _predict(self, spec: model_pb2.ModelSpec, body: bytes) -> bytes:
        document = parse_object(body)
        request = predict_pb2.PredictRequest(model_spec=spec)
        _fill_signature_name(document, request.model_spec)
        with self._registry.acquire(request.model_spec) as servable:
            dtypes = _input_dtypes(servable, request.model_spec.signature_name)
            form, arrays = read_inputs(document, dtypes)
            for name, array in arrays.items():
                tensors.to_proto(array, request.inputs[name])
            response = run_predict(servable, request, TIMEOUT_SECONDS)
        return write_outputs(form, response.outputs)

    def _classify(self, spec: model_pb2.ModelSpec, body: bytes) -> bytes:
        request = classification_pb2.ClassificationRequest(model_spec=spec)
        _fill_examples(request, body)
        with self._registry.acquire(request.model_spec) as servable:
            response = run_classify(servable, request, TIMEOUT_SECONDS)
        return write_classifications(response.result)

    def _regress(self, spec: model_pb2.ModelSpec, body: bytes) -> bytes:
        request = regression_pb2.RegressionRequest(model_spec=spec)
        _fill_examples(request, body)
        with self._registry.acquire(request.model_spec) as servable:
            response = run_regress(servable, request, TIMEOUT_SECONDS)
        return write_regressions(response.result)

    def _status(self, spec: model_pb2.ModelSpec) -> bytes:
        """Returns the states of versions; a label is not looked at, as over gRPC."""
        _check_has_name(spec)
        statuses = self._registry.statuses(spec.name)
        if spec.WhichOneof("version_choice") == "version":
            version = spec.version.value
            if version not in statuses:
                raise StatusError(
                    grpc.StatusCode.NOT_FOUND,
                    f"Could not find version {version} of model {spec.name}",
                )
            statuses = {version: statuses[version]}
        if not statuses:
            raise StatusError(
                grpc.StatusCode.NOT_FOUND, f"Could not find any versions of model {spec.name}"
            )
        entries = [
            {
                "version": str(version),
                "state": status.state.name,
                "status": {
                    "error_code": status.error.code.name if status.error else "OK",
                    "error_message": status.error.message if status.error else "",
                },
            }
            for version, status in statuses.items()
        ]
        return _indented({"model_version_status": entries})

    def _metadata(self, spec: model_pb2.ModelSpec) -> bytes:
        _check_has_name(spec)
        with self._registry.acquire(spec) as servable:
            signatures = get_model_metadata_pb2.SignatureDefMap()
            for name, signature in servable.signatures.items():
                signatures.signature_def[name].CopyFrom(signature.definition)
            version = servable.version
        return _indented(
            {
                "model_spec": {
                    "name": spec.name,
                    "signature_name": "",
                    "version": str(version),
                },
                "metadata": {
                    "signature_def": json_format.MessageToDict(
                        signatures,
                        including_default_value_fields=True,
                        preserving_proto_field_name=True,
                    )
                },
            }
        )


def _model_spec(name: str, version: str, label: str) -> model_pb2.ModelSpec:
    spec = model_pb2.ModelSpec(name=name)
    if version:
        # Twenty digits are too many already, and `int` refuses some thousands.
        if len(version.lstrip("0")) > 19 or int(version.lstrip("0") or 0) >= 2**63:
            raise invalid_argument(f"Failed to convert version: {version} to numeric.")
        spec.version.value = int(version.lstrip("0") or 0)
    elif label:
        spec.version_label = label
    return spec


def _check_has_name(spec: model_pb2.ModelSpec) -> None:
    if not spec.name:
        raise invalid_argument("Missing model name in request.")


def _fill_signature_name(document: Mapping[str, Any], spec: model_pb2.ModelSpec) -> None:
    name = document.get("signature_name", "")
    if not isinstance(name, str):
        raise invalid_argument(
            f"JSON Value: {quote(document)} not formatted correctly. "
            "'signature_name' key must be a string value."
        )
    spec.signature_name = name


def _fill_examples(request: Any, body: bytes) -> None:
    document = parse_object(body)
    _fill_signature_name(document, request.model_spec)
    read_examples(document, request.input)


def _input_dtypes(servable: Servable, signature_name: str) -> dict[str, tf.DType]:
    signature = servable.signatures.get(signature_name or DEFAULT_SIGNATURE)
    if signature is None:
        # Not the code and text of gRPC; TF Serving differs in the same way.
        raise invalid_argument(
            f'Serving signature name: "{signature_name or DEFAULT_SIGNATURE}" '
            "not found in signature def"
        )
    inputs = sorted(signature.definition.inputs.items())
    if not inputs:
        raise invalid_argument(
            f"Failed to get input map for signature: {signature_name or 'DEFAULT'}"
        )
    return {name: tf.dtypes.as_dtype(info.dtype) for name, info in inputs}


def _indented(value: Any) -> bytes:
    """Writes what people read in a terminal, as TF Serving does."""
    return json.dumps(value, indent=1, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
