"""tensorflow.serving.ModelService."""

from __future__ import annotations

import grpc
from tensorflow_serving.apis import (
    get_model_status_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
)

from serving.config_reloader import ConfigReloader
from serving.model_registry import ModelRegistry
from serving.status import StatusError, abort, invalid_argument


class ModelService(model_service_pb2_grpc.ModelServiceServicer):
    """Answers status requests, and changes which models are served."""

    def __init__(self, registry: ModelRegistry, reloader: ConfigReloader):
        self._registry = registry
        self._reloader = reloader

    def GetModelStatus(self, request, context):
        """Returns the state of one version or of all, the highest first; ignores labels."""
        try:
            return self._statuses(request)
        except StatusError as error:
            abort(context, error)

    def HandleReloadConfigRequest(self, request, context):
        """Replaces the whole configuration; answers when the new models serve."""
        try:
            self._reloader.reload(request.config)
        except StatusError as error:
            abort(context, error)
        response = model_management_pb2.ReloadConfigResponse()
        # Present even when OK, as TF Serving sends it.
        response.status.SetInParent()
        return response

    def _statuses(
        self, request: get_model_status_pb2.GetModelStatusRequest
    ) -> get_model_status_pb2.GetModelStatusResponse:
        if not request.HasField("model_spec"):
            raise invalid_argument("Missing ModelSpec")
        spec = request.model_spec
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
        response = get_model_status_pb2.GetModelStatusResponse()
        for version, status in statuses.items():
            entry = response.model_version_status.add(version=version, state=int(status.state))
            # Present even when OK, as TF Serving sends it.
            entry.status.SetInParent()
            if status.error is not None:
                entry.status.error_code = status.error.code.value[0]
                entry.status.error_message = status.error.message
        return response
