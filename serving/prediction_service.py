"""tensorflow.serving.PredictionService."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import grpc
from tensorflow_serving.apis import get_model_metadata_pb2, model_pb2, prediction_service_pb2_grpc

from serving.example_inference import run_classify, run_multi_inference, run_regress
from serving.model_registry import ModelRegistry
from serving.predict import run_predict
from serving.status import StatusError, abort, invalid_argument

SIGNATURE_DEF_FIELD = "signature_def"

# gRPC describes an RPC without a deadline by one that is centuries away.
_NO_DEADLINE_SECONDS = 10 * 365 * 24 * 3600.0


class PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Answers inference and metadata requests with the codes and texts of TF Serving 2.16.1."""

    def __init__(self, registry: ModelRegistry):
        self._registry = registry

    def Predict(self, request, context):
        """Runs a signature on tensors."""
        return self._infer(run_predict, request, context)

    def Classify(self, request, context):
        """Runs a classification signature on tf.Examples."""
        return self._infer(run_classify, request, context)

    def Regress(self, request, context):
        """Runs a regression signature on tf.Examples."""
        return self._infer(run_regress, request, context)

    def MultiInference(self, request, context):
        """Runs several classification and regression signatures on the same tf.Examples."""
        # The first task chooses the model; without one this is an empty spec, which has no name.
        spec = request.tasks[0].model_spec if request.tasks else model_pb2.ModelSpec()
        try:
            with self._registry.acquire(spec) as servable:
                return run_multi_inference(servable, request, _timeout(context))
        except StatusError as error:
            abort(context, error)

    def GetModelMetadata(self, request, context):
        """Returns every signature of a model, including TensorFlow's internal ones."""
        try:
            _check_has_spec(request)
            _check_metadata_fields(request)
            with self._registry.acquire(request.model_spec) as servable:
                response = get_model_metadata_pb2.GetModelMetadataResponse()
                response.model_spec.name = request.model_spec.name
                response.model_spec.version.value = servable.version
                signatures = get_model_metadata_pb2.SignatureDefMap()
                for name, signature in servable.signatures.items():
                    signatures.signature_def[name].CopyFrom(signature.definition)
                response.metadata[SIGNATURE_DEF_FIELD].Pack(signatures)
                return response
        except StatusError as error:
            abort(context, error)

    def _infer(self, run: Callable[..., Any], request: Any, context: grpc.ServicerContext) -> Any:
        try:
            _check_has_spec(request)
            with self._registry.acquire(request.model_spec) as servable:
                return run(servable, request, _timeout(context))
        except StatusError as error:
            abort(context, error)


def _check_has_spec(request: Any) -> None:
    if not request.HasField("model_spec"):
        raise invalid_argument("Missing ModelSpec")


def _check_metadata_fields(request: get_model_metadata_pb2.GetModelMetadataRequest) -> None:
    if not request.metadata_field:
        raise invalid_argument("GetModelMetadataRequest must specify at least one metadata_field")
    for name in request.metadata_field:
        if name != SIGNATURE_DEF_FIELD:
            raise invalid_argument(f"Metadata field {name} is not supported")


def _timeout(context: grpc.ServicerContext) -> float | None:
    """Returns the seconds that the client still waits, or None if it set no deadline."""
    remaining = context.time_remaining()
    if remaining is None or not math.isfinite(remaining) or remaining > _NO_DEADLINE_SECONDS:
        return None
    return remaining
