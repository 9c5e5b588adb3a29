"""Classify and Regress over REST: tf.Examples from JSON objects, and their results as JSON.

The rules and texts are those of json_tensor.cc at TF Serving 2.16.1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from tensorflow.core.example import example_pb2, feature_pb2
from tensorflow_serving.apis import classification_pb2, input_pb2, regression_pb2

from serving.rest_json import dump, quote, type_name, writable
from serving.rest_tensors import decode_base64, is_base64
from serving.status import StatusError, invalid_argument

_KIND_NAMES = {"bytes_list": "bytes", "float_list": "float", "int64_list": "int64"}


def read_examples(document: Mapping[str, Any], message: input_pb2.Input) -> None:
    """Reads the examples of a classify or regress request, and their context if there is one.

    Args:
      document: The request.
      message: Filled in place.

    Raises:
      StatusError: A key is missing, or a value has no place in a tf.Example.
    """
    target = message.example_list
    if "context" in document:
        target = message.example_list_with_context
        _fill_example(document["context"], target.context)
    if "examples" not in document:
        # TF Serving says "classify" for regress too.
        raise invalid_argument(
            f"JSON Value: {quote(document)} When method is classify, key 'examples' is expected "
            "and was not found"
        )
    examples = document["examples"]
    if not isinstance(examples, list):
        raise invalid_argument(
            f"JSON Value: {quote(document)} Expecting 'examples' value to be an list/array"
        )
    if not examples:
        raise invalid_argument(f"JSON Value: {quote(document)} 'examples' value is an empty array")
    for value in examples:
        _fill_example(value, target.examples.add())


def write_classifications(result: classification_pb2.ClassificationResult) -> bytes:
    """Writes one list of `[label, score]` pairs an example."""
    results = [
        [[entry.label, _number(entry.score)] for entry in classifications.classes]
        for classifications in result.classifications
    ]
    return dump({"results": results})


def write_regressions(result: regression_pb2.RegressionResult) -> bytes:
    """Writes one number an example."""
    values = np.array([regression.value for regression in result.regressions], np.float32)
    return dump({"results": writable(values)})


def _number(value: float) -> Any:
    # Protobuf hands out a float as a double, whose digits would be noise.
    return writable(np.asarray(value, np.float32))


def _fill_example(value: Any, example: example_pb2.Example) -> None:
    if not isinstance(value, dict):
        raise invalid_argument(f"Example must be JSON object but got JSON {type_name(value)}")
    for name, content in value.items():
        feature = example.features.feature[name]
        for item in content if isinstance(content, list) else [content]:
            _add_value(item, name, feature)


def _add_value(value: Any, name: str, feature: feature_pb2.Feature) -> None:
    if isinstance(value, str):
        _list_of_kind("bytes_list", name, feature).append(value.encode())
    elif is_base64(value):
        _list_of_kind("bytes_list", name, feature).append(decode_base64(value))
    elif isinstance(value, float):
        with np.errstate(over="ignore"):
            _list_of_kind("float_list", name, feature).append(np.float32(value))
    elif isinstance(value, int):
        values = _list_of_kind("int64_list", name, feature)
        if value >= 2**63:
            raise invalid_argument(
                f"Feature: {name} has uint64_t element. Only int64_t is supported."
            )
        values.append(value)
    else:
        raise invalid_argument(
            f"Feature: {name} has element with unexpected JSON type: {type_name(value)}"
        )


def _list_of_kind(kind: str, name: str, feature: feature_pb2.Feature) -> Any:
    """Returns the values of a feature, which the first value gives its kind."""
    if feature.WhichOneof("kind") not in (None, kind):
        raise _incompatible(name, feature)
    return getattr(feature, kind).value


def _incompatible(name: str, feature: feature_pb2.Feature) -> StatusError:
    return invalid_argument(
        f"Unexpected element type in feature: {name} "
        f"expecting type: {_KIND_NAMES[feature.WhichOneof('kind')]}"
    )
