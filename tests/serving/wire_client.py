"""What tests say to a server over the wire, with the stock stubs."""

import grpc
import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

DARK, BRIGHT = 1 / (1 + np.e), 1 / (1 + np.exp(-1))


def model(name, base_path, extra=""):
    """One entry of a model_config_list."""
    return (
        f'config {{ name: "{name}" base_path: "{base_path}" model_platform: "tensorflow" {extra} }}'
    )


def labels(**versions):
    return " ".join(
        f'version_labels {{ key: "{label}" value: {version} }}'
        for label, version in versions.items()
    )


def policy(text):
    return f"model_version_policy {{ {text} }}"


class Client:
    """The stock stubs, with ModelSpecs in text format."""

    def __init__(self, target, credentials=None):
        self.channel = (
            grpc.secure_channel(target, credentials)
            if credentials
            else grpc.insecure_channel(target)
        )
        self.prediction = prediction_service_pb2_grpc.PredictionServiceStub(self.channel)
        self.models = model_service_pb2_grpc.ModelServiceStub(self.channel)

    def predict(self, spec):
        """Returns the version that answered and how bright its image at the origin is."""
        request = predict_pb2.PredictRequest()
        text_format.Parse(spec, request.model_spec)
        request.inputs["z"].CopyFrom(tf.make_tensor_proto(np.zeros([1, 2], np.float32)))
        response = self.prediction.Predict(request, timeout=10)
        value = response.outputs["mean"].float_val[0]
        return response.model_spec.version.value, pytest.approx(value, abs=1e-5)

    def metadata_version(self, spec):
        request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
        text_format.Parse(spec, request.model_spec)
        return self.prediction.GetModelMetadata(request, timeout=10).model_spec.version.value

    def status(self, spec):
        request = get_model_status_pb2.GetModelStatusRequest()
        text_format.Parse(spec, request.model_spec)
        return {
            status.version: get_model_status_pb2.ModelVersionStatus.State.Name(status.state)
            for status in self.models.GetModelStatus(request, timeout=10).model_version_status
        }

    def reload(self, *models):
        request = model_management_pb2.ReloadConfigRequest()
        text_format.Parse(f"model_config_list {{ {' '.join(models)} }}", request.config)
        return self.models.HandleReloadConfigRequest(request, timeout=20)


def fails(call, *arguments):
    """Calls what must fail, and returns the status code and text."""
    with pytest.raises(grpc.RpcError) as failure:
        call(*arguments)
    return failure.value.code().name, failure.value.details()
