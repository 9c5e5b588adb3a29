"""What Classify, Regress and MultiInference compute: signatures that read serialized tf.Examples.

A decoder has no such signature, so for it these are the errors that TF Serving gives. The checks
and texts are those of classifier.cc, regressor.cc, multi_inference.cc and util.cc at TF Serving
2.16.1, with its default of not looking at a signature's method_name.
"""

from __future__ import annotations

from collections.abc import Mapping

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import (
    classification_pb2,
    inference_pb2,
    input_pb2,
    regression_pb2,
)

from serving.predict import fill_model_spec
from serving.servable import DEFAULT_SIGNATURE, Endpoint, Servable, Signature
from serving.status import StatusError, invalid_argument

CLASSIFY_METHOD = "tensorflow/serving/classify"
REGRESS_METHOD = "tensorflow/serving/regress"


def run_classify(
    servable: Servable,
    request: classification_pb2.ClassificationRequest,
    timeout: float | None = None,
) -> classification_pb2.ClassificationResponse:
    """Runs a signature with input `inputs` and outputs `classes`, `scores`, or both.

    Args:
      servable: The model.
      request: Its model name and version are not looked at.
      timeout: Seconds, or None for no limit.

    Raises:
      StatusError: The signature or the input does not fit, or the graph fails.
    """
    signature = _signature(servable, request.model_spec.signature_name)
    reads, outputs = _classify_endpoints(signature)
    examples = _serialized_examples(request.input)
    values = servable.run([(reads, examples)], list(outputs.values()), timeout)
    response = classification_pb2.ClassificationResponse()
    spec = request.model_spec
    fill_model_spec(response.model_spec, spec.name, spec.signature_name, servable.version)
    _fill_classifications(response.result, len(examples), dict(zip(outputs, values, strict=True)))
    return response


def run_regress(
    servable: Servable, request: regression_pb2.RegressionRequest, timeout: float | None = None
) -> regression_pb2.RegressionResponse:
    """Runs a signature with input `inputs` and output `outputs`, one number an example.

    Args:
      servable: The model.
      request: Its model name and version are not looked at.
      timeout: Seconds, or None for no limit.

    Raises:
      StatusError: The signature or the input does not fit, or the graph fails.
    """
    signature = _signature(servable, request.model_spec.signature_name)
    reads, outputs = _regress_endpoints(signature)
    examples = _serialized_examples(request.input)
    [value] = servable.run([(reads, examples)], list(outputs.values()), timeout)
    response = regression_pb2.RegressionResponse()
    spec = request.model_spec
    fill_model_spec(response.model_spec, spec.name, spec.signature_name, servable.version)
    _fill_regressions(response.result, len(examples), value)
    return response


def run_multi_inference(
    servable: Servable,
    request: inference_pb2.MultiInferenceRequest,
    timeout: float | None = None,
) -> inference_pb2.MultiInferenceResponse:
    """Runs several classify and regress signatures of one model in a single session run.

    Args:
      servable: The model.
      request: Tasks that all name the same model, and one input.
      timeout: Seconds, or None for no limit.

    Returns:
      Results in the order of the tasks.

    Raises:
      StatusError: The tasks, a signature or the input do not fit, or the graph fails.
    """
    plans = _plan_tasks(servable, request)
    examples = _serialized_examples(request.input)
    # Keyed by tensor name: tasks usually share the input, and may share outputs.
    feeds = {reads.name: (reads, examples) for reads, _ in plans}
    fetches = {end.name: end for _, outputs in plans for end in outputs.values()}
    values = dict(
        zip(
            fetches,
            servable.run(list(feeds.values()), list(fetches.values()), timeout),
            strict=True,
        )
    )
    response = inference_pb2.MultiInferenceResponse()
    for task, (_, outputs) in zip(request.tasks, plans, strict=True):
        result = response.results.add()
        spec = task.model_spec
        fill_model_spec(result.model_spec, spec.name, spec.signature_name, servable.version)
        arrays = {alias: values[endpoint.name] for alias, endpoint in outputs.items()}
        if task.method_name == CLASSIFY_METHOD:
            _fill_classifications(result.classification_result, len(examples), arrays)
        else:
            _fill_regressions(result.regression_result, len(examples), arrays["outputs"])
    return response


def _plan_tasks(
    servable: Servable, request: inference_pb2.MultiInferenceRequest
) -> list[tuple[Endpoint, dict[str, Endpoint]]]:
    plans, seen = [], set()
    for task in request.tasks:
        if not task.model_spec.name:
            raise invalid_argument("Found ModelSpec with an empty model name.")
        if task.model_spec.name != request.tasks[0].model_spec.name:
            raise invalid_argument(
                "All ModelSpecs in a MultiInferenceRequest must access the same model name."
            )
        name = task.model_spec.signature_name or DEFAULT_SIGNATURE
        if name in seen:
            raise invalid_argument(f"Duplicate evaluation of signature: {name}")
        seen.add(name)
        signature = servable.signatures.get(name)
        if signature is None:
            raise invalid_argument(f"Requested signature not found in model graph: {name}")
        if task.method_name == CLASSIFY_METHOD:
            plans.append(_classify_endpoints(signature))
        elif task.method_name == REGRESS_METHOD:
            plans.append(_regress_endpoints(signature))
        else:
            raise StatusError(
                grpc.StatusCode.UNIMPLEMENTED,
                f"Unsupported signature method_name: {task.method_name}",
            )
    return plans


def _signature(servable: Servable, name: str) -> Signature:
    name = name or DEFAULT_SIGNATURE
    if name not in servable.signatures:
        raise invalid_argument(f"No signature was found with the name: {name}")
    return servable.signatures[name]


def _classify_endpoints(signature: Signature) -> tuple[Endpoint, dict[str, Endpoint]]:
    if len(signature.inputs) != 1:
        raise invalid_argument("Expected one input Tensor.")
    if len(signature.outputs) not in (1, 2):
        raise invalid_argument(
            f"Expected one or two output Tensors, found {len(signature.outputs)}"
        )
    if "inputs" not in signature.inputs:
        raise invalid_argument(
            f"No classification inputs found in SignatureDef: {signature.definition}"
        )
    outputs = {
        alias: signature.outputs[alias]
        for alias in ("classes", "scores")
        if alias in signature.outputs
    }
    if not outputs:
        raise invalid_argument(
            "Expected classification signature outputs to contain at least one of "
            f'"classes" or "scores". Signature was: {signature.definition}'
        )
    return signature.inputs["inputs"], outputs


def _regress_endpoints(signature: Signature) -> tuple[Endpoint, dict[str, Endpoint]]:
    if len(signature.inputs) != 1:
        raise invalid_argument("Expected one input Tensor.")
    if len(signature.outputs) != 1:
        raise invalid_argument("Expected one output Tensor.")
    if "inputs" not in signature.inputs:
        raise invalid_argument(
            f"No regression inputs found in SignatureDef: {signature.definition}"
        )
    if "outputs" not in signature.outputs:
        raise invalid_argument(
            f"No regression outputs found in SignatureDef: {signature.definition}"
        )
    return signature.inputs["inputs"], dict(signature.outputs)


def _serialized_examples(message: input_pb2.Input) -> np.ndarray:
    """Returns the examples as a vector of bytes objects, each preceded by the context, if any.

    Concatenated messages parse as one merged message, which is how the context reaches every
    example.
    """
    context = b""
    examples = message.example_list.examples
    if message.WhichOneof("kind") == "example_list_with_context":
        context = message.example_list_with_context.context.SerializeToString()
        examples = message.example_list_with_context.examples
    if not examples:
        raise invalid_argument("Input is empty.")
    vector = np.empty(len(examples), dtype=object)
    vector[:] = [context + example.SerializeToString() for example in examples]
    return vector


def _fill_classifications(
    result: classification_pb2.ClassificationResult, count: int, arrays: Mapping[str, np.ndarray]
) -> None:
    classes, scores = arrays.get("classes"), arrays.get("scores")
    for alias, array, dtype in (("classes", classes, tf.string), ("scores", scores, tf.float32)):
        if array is None:
            continue
        if array.ndim != 2:
            raise invalid_argument(
                f"Expected Tensor shape: [batch_size num_classes] but got {_shape(array)}"
            )
        if _dtype(array) != dtype:
            raise invalid_argument(
                f"Expected {alias} Tensor of {_dtype_name(dtype)}. "
                f"Got: {_dtype_name(_dtype(array))}"
            )
        if len(array) != count:
            raise invalid_argument(
                f"Expected {alias} output batch size of {count}. Got: {len(array)}"
            )
    if classes is not None and scores is not None and classes.shape[1] != scores.shape[1]:
        raise invalid_argument(
            "Tensors class and score should match in dim_size(1). Got "
            f"{classes.shape[1]} vs. {scores.shape[1]}"
        )
    for row in range(count):
        classifications = result.classifications.add()
        for column in range((scores if classes is None else classes).shape[1]):
            entry = classifications.classes.add()
            if classes is not None:
                # The field is text; a label that is not UTF-8 cannot be sent in it unchanged.
                entry.label = classes[row, column].decode("utf-8", "replace")
            if scores is not None:
                entry.score = scores[row, column]


def _fill_regressions(
    result: regression_pb2.RegressionResult, count: int, array: np.ndarray
) -> None:
    if array.ndim != 1 and not (array.ndim == 2 and array.shape[1] == 1):
        raise invalid_argument(
            "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] "
            f"but got {_shape(array)}"
        )
    if len(array) != count:
        raise invalid_argument(
            f"Input batch size did not match output batch size: {count} vs. {len(array)}"
        )
    if _dtype(array) != tf.float32:
        raise invalid_argument(
            f"Expected output Tensor of DT_FLOAT.  Got: {_dtype_name(_dtype(array))}"
        )
    for value in array.reshape(-1):
        result.regressions.add(value=value)


def _shape(array: np.ndarray) -> str:
    return "[" + ",".join(map(str, array.shape)) + "]"


def _dtype(array: np.ndarray) -> tf.DType:
    return tf.string if array.dtype == object else tf.as_dtype(array.dtype)


def _dtype_name(dtype: tf.DType) -> str:
    return f"DT_{dtype.name.upper()}".replace("FLOAT32", "FLOAT").replace("FLOAT64", "DOUBLE")
