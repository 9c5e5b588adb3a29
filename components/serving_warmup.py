"""Requests stored beside a SavedModel, which a model server sends to itself before it serves."""

import os
from collections.abc import Mapping

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2


def write_warmup_requests(
    model_path: str, model_name: str, requests: Mapping[str, Mapping[str, np.ndarray]]
) -> str:
    """Adds warm-up requests to a SavedModel.

    Args:
      model_path: The SavedModel, written to.
      model_name: The name in the requests, which no server looks at.
      requests: Inputs by signature.

    Returns:
      The file's path, where TF Serving looks for it.
    """
    path = os.path.join(model_path, "assets.extra", "tf_serving_warmup_requests")
    tf.io.gfile.makedirs(os.path.dirname(path))
    with tf.io.TFRecordWriter(path) as writer:
        for signature, inputs in requests.items():
            request = predict_pb2.PredictRequest()
            request.model_spec.name = model_name
            request.model_spec.signature_name = signature
            for name, value in inputs.items():
                request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
            log = prediction_log_pb2.PredictionLog(
                predict_log=prediction_log_pb2.PredictLog(request=request)
            )
            writer.write(log.SerializeToString())
    return path
