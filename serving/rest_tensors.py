"""Predict over REST: tensors from JSON rows or columns, and back.

The rules and texts are those of json_tensor.cc at TF Serving 2.16.1. A body is first taken apart
level by level, at C speed; only one that does not fit is walked value by value, which finds the
first mistake in TF Serving's order.
"""

from __future__ import annotations

import base64
import binascii
import enum
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

import grpc
import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2

from serving import tensors
from serving.rest_json import dump, quote, type_name, writable
from serving.status import StatusError, invalid_argument

BASE64_KEY = "b64"

_BYTES_SUFFIX = "_bytes"
# NumPy's limit; TensorFlow's is 254.
_MAX_RANK = 32
_OUTPUT_DTYPES = {
    *(tf.float32, tf.float64, tf.int8, tf.int16, tf.int32, tf.int64, tf.uint8),
    *(tf.uint32, tf.uint64, tf.bool, tf.string),
}


class Format(enum.Enum):
    """How a request writes its tensors, and how its answer does."""

    ROW = "instances"
    COLUMN = "inputs"


@dataclass(frozen=True)
class _Kind:
    """Which JSON values a dtype takes.

    Attributes:
      types: Python types of the values.
      via: The dtype that holds every such value, cast to the tensor's own afterwards.
      limits: The smallest and the largest integer, or None.
    """

    types: frozenset[type]
    via: type
    limits: tuple[int, int] | None = None

    def accepts(self, values: list[Any]) -> bool:
        # `type`, not `isinstance`: a bool is an int to Python but not to JSON.
        if not self.types.issuperset(map(type, values)):
            return False
        if self.limits is None or not values:
            return True
        return self.limits[0] <= min(values) and max(values) <= self.limits[1]


_NUMBER = _Kind(frozenset({int, float}), np.float64)
# RapidJSON's IsInt: narrower types take these too, and wrap around.
_INT32 = _Kind(frozenset({int}), np.int64, (-(2**31), 2**31 - 1))
_STRING = _Kind(frozenset({str}), object)
_KINDS = {
    tf.float32: _NUMBER,
    tf.float64: _NUMBER,
    **dict.fromkeys((tf.int8, tf.int16, tf.int32, tf.uint8), _INT32),
    tf.int64: _Kind(frozenset({int}), np.int64, (-(2**63), 2**63 - 1)),
    tf.uint32: _Kind(frozenset({int}), np.uint64, (0, 2**32 - 1)),
    tf.uint64: _Kind(frozenset({int}), np.uint64, (0, 2**64 - 1)),
    tf.bool: _Kind(frozenset({bool}), np.bool_),
    tf.string: _STRING,
}


def read_inputs(
    document: Mapping[str, Any], dtypes: Mapping[str, tf.DType]
) -> tuple[Format, dict[str, np.ndarray]]:
    """Reads the tensors of a predict request.

    Args:
      document: The request.
      dtypes: Of the signature's inputs, by name; at least one.

    Returns:
      The format, which is the answer's too, and arrays by input name.

    Raises:
      StatusError: The request is not of either format, or does not fit the inputs.
    """
    if Format.ROW.value in document:
        if Format.COLUMN.value in document:
            raise invalid_argument(
                f"JSON Value: {quote(document)} Not formatted correctly expecting only"
                " one of 'inputs' or 'instances' keys to exist "
            )
        rows = document[Format.ROW.value]
        if not isinstance(rows, list):
            raise invalid_argument(
                f"JSON Value: {quote(document)} Expecting 'instances' to be an list/array"
            )
        if not rows:
            raise invalid_argument(f"JSON Value: {quote(document)} No values in 'instances' array")
        return Format.ROW, _read_rows(rows, dtypes)
    if Format.COLUMN.value in document:
        return Format.COLUMN, _read_columns(document[Format.COLUMN.value], dtypes)
    raise invalid_argument("Missing 'inputs' or 'instances' key")


def write_outputs(form: Format, outputs: Mapping[str, tensor_pb2.TensorProto]) -> bytes:
    """Writes the answer to a predict request.

    Args:
      form: The format of the request.
      outputs: Tensors by output name. The name of a single one is left out.

    Raises:
      StatusError: A dtype has no JSON form, or rows are asked for and outputs differ in their
        first dimension or have none.
    """
    arrays = {}
    for name, proto in sorted(outputs.items()):
        dtype = tf.dtypes.as_dtype(proto.dtype)
        if dtype not in _OUTPUT_DTYPES:
            raise invalid_argument(
                f"Failed to write JSON value for tensor type: {dtype_name(dtype)}"
            )
        arrays[name] = tensors.from_proto(proto)
    if form is Format.COLUMN:
        columns = {name: _column(name, array) for name, array in arrays.items()}
        return dump({"outputs": _unnamed_if_single(columns)})
    _check_batch(arrays)
    if len(arrays) == 1:
        [(name, array)] = arrays.items()
        return dump({"predictions": _column(name, array)})
    columns = [_rows(name, array) for name, array in arrays.items()]
    rows = zip(*columns, strict=True)
    return dump({"predictions": [dict(zip(arrays, row, strict=True)) for row in rows]})


def dtype_name(dtype: tf.DType) -> str:
    """Returns TensorFlow's C++ name of a dtype, which errors use."""
    return {"float32": "float", "float64": "double", "float16": "half"}.get(dtype.name, dtype.name)


def is_base64(value: Any) -> bool:
    """Tells whether a JSON value stands for bytes: `{"b64": "..."}`."""
    return isinstance(value, dict) and len(value) == 1 and isinstance(value.get(BASE64_KEY), str)


def decode_base64(value: Mapping[str, str]) -> bytes:
    """Returns the bytes that a JSON value stands for; blanks and missing padding are allowed."""
    digits = "".join(value[BASE64_KEY].split()).rstrip("=")
    try:
        return base64.b64decode(digits + "=" * (-len(digits) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise invalid_argument("Unable to base64 decode") from error


def _read_columns(value: Any, dtypes: Mapping[str, tf.DType]) -> dict[str, np.ndarray]:
    if not isinstance(value, dict) or is_base64(value):
        if len(dtypes) > 1:
            raise invalid_argument(
                "inputs is a plain value/list, but expecting an object as multiple input tensors "
                "required as per tensorinfo_map"
            )
        [(name, dtype)] = dtypes.items()
        return {name: _tensor(value, name, dtype)}
    arrays = {}
    for name, dtype in dtypes.items():
        if name not in value:
            raise invalid_argument(f"Missing named input: {name} in 'inputs' object.")
        arrays[name] = _tensor(value[name], name, dtype)
    return arrays


def _read_rows(rows: list[Any], dtypes: Mapping[str, tf.DType]) -> dict[str, np.ndarray]:
    if not isinstance(rows[0], dict) and len(dtypes) > 1:
        raise invalid_argument(
            "instances is a plain list, but expecting list of objects as multiple input tensors "
            "required as per tensorinfo_map"
        )
    # A tensor of all rows at once is the rows' tensors stacked, if they all fit.
    if not _is_named(rows[0]):
        name = next(iter(dtypes))
        array = _regular_tensor(rows, dtypes[name])
        return _read_rows_singly(rows, dtypes) if array is None else {name: array}
    if not all(_is_named(row) and row.keys() == dtypes.keys() for row in rows):
        return _read_rows_singly(rows, dtypes)
    arrays = {}
    for name, dtype in dtypes.items():
        array = _regular_tensor([row[name] for row in rows], dtype)
        if array is None:
            return _read_rows_singly(rows, dtypes)
        arrays[name] = array
    return arrays


def _read_rows_singly(rows: list[Any], dtypes: Mapping[str, tf.DType]) -> dict[str, np.ndarray]:
    """Reads rows in order, to find the first that does not fit."""
    named = _is_named(rows[0])
    stacks: dict[str, list[np.ndarray]] = {}
    for index, row in enumerate(rows):
        if named and not _is_named(row):
            raise invalid_argument(f"Expecting object but got list at item {index} of input list")
        if not named and _is_named(row):
            raise invalid_argument(
                f"Expecting value/list but got object at item {index} of input list"
            )
        for name, value in row.items() if named else [(next(iter(dtypes)), row)]:
            try:
                _stack(stacks, name, value, dtypes)
            except StatusError as error:
                key = f" key: {name}" if named else ""
                raise invalid_argument(
                    f"Failed to process element: {index}{key} of 'instances' list. "
                    f"Error: {error.code.name}: {error.message}"
                ) from error
        if named and row.keys() != dtypes.keys():
            raise invalid_argument(
                f"Failed to process element: {index} of 'instances' list. "
                f"JSON object: {quote(row)} keys must be equal to: {','.join(sorted(dtypes))}"
            )
    return {name: np.stack(stack) for name, stack in stacks.items()}


def _stack(
    stacks: dict[str, list[np.ndarray]], name: str, value: Any, dtypes: Mapping[str, tf.DType]
) -> None:
    if name not in dtypes:
        raise invalid_argument(f"JSON object: does not have named input: {name}")
    array = _tensor(value, name, dtypes[name])
    if array.ndim == _MAX_RANK:
        # The stack would have one more.
        raise invalid_argument(f"tensor parsing error: {name}")
    stack = stacks.setdefault(name, [])
    if stack and stack[0].size != array.size:
        raise invalid_argument(f"Expecting tensor size: {stack[0].size} but got: {array.size}")
    if stack and stack[0].shape != array.shape:
        raise invalid_argument(
            f"Expecting shape {_shape_text(stack[0])} but got: {_shape_text(array)}"
        )
    stack.append(array)


def _is_named(value: Any) -> bool:
    return isinstance(value, dict) and not is_base64(value)


def _tensor(value: Any, name: str, dtype: tf.DType) -> np.ndarray:
    array = _regular_tensor(value, dtype)
    if array is not None:
        return array
    shape, first = [], value
    while isinstance(first, list):
        shape.append(len(first))
        if not first:
            break
        first = first[0]
    if len(shape) > _MAX_RANK:
        raise invalid_argument(f"tensor parsing error: {name}")
    values: list[Any] = []
    _collect(value, 0, shape, dtype, values)
    return _array(values, shape, dtype)


def _regular_tensor(value: Any, dtype: tf.DType) -> np.ndarray | None:
    """Returns the tensor of a value whose lists and types are all alike, or None."""
    kind = _KINDS.get(dtype)
    shape: list[int] = []
    items = [value]
    while items and isinstance(items[0], list):
        size = len(items[0])
        if set(map(type, items)) != {list} or set(map(len, items)) != {size}:
            return None
        shape.append(size)
        items = list(chain.from_iterable(items))
    if kind is None or len(shape) > _MAX_RANK or not kind.accepts(items):
        return None
    return _array([item.encode() for item in items] if kind is _STRING else items, shape, dtype)


def _array(values: list[Any], shape: list[int], dtype: tf.DType) -> np.ndarray:
    kind = _KINDS.get(dtype)
    # A dtype without JSON form still has tensors without values.
    array = np.empty(len(values), kind.via if kind else dtype.as_numpy_dtype)
    array[:] = values
    with np.errstate(over="ignore"):
        return array.astype(dtype.as_numpy_dtype, copy=False).reshape(shape)


def _collect(value: Any, level: int, shape: list[int], dtype: tf.DType, values: list[Any]) -> None:
    """Appends the values of a nested list; `FillTensorProto` in json_tensor.cc."""
    if not isinstance(value, list):
        if level != len(shape):
            raise invalid_argument(
                f"JSON Value: {quote(value)} found at incorrect level: {level + 1} in the JSON "
                f"DOM. Expected at level: {len(shape)}"
            )
        values.append(_leaf(value, dtype))
        return
    if level >= len(shape):
        raise invalid_argument(
            f"Encountered list at unexpected level: {level} expected < {len(shape)}"
        )
    if len(value) != shape[level]:
        raise invalid_argument(
            f"Encountered list at unexpected size: {len(value)} at level: {level} "
            f"expected size: {shape[level]}"
        )
    for item in value:
        _collect(item, level + 1, shape, dtype, values)


def _leaf(value: Any, dtype: tf.DType) -> Any:
    if isinstance(value, dict) and dtype == tf.string:
        if not is_base64(value):
            raise invalid_argument(
                f"JSON Value: {quote(value)} not formatted correctly for base64 data"
            )
        return decode_base64(value)
    if not isinstance(value, dict) and dtype not in _KINDS:
        raise StatusError(
            grpc.StatusCode.UNIMPLEMENTED,
            f"Conversion of JSON Value: {quote(value)} to type: {dtype_name(dtype)}",
        )
    if dtype not in _KINDS or not _KINDS[dtype].accepts([value]):
        raise invalid_argument(
            f"JSON Value: {quote(value)} Type: {type_name(value)} is not of expected type: "
            f"{dtype_name(dtype)}"
        )
    return value.encode() if dtype == tf.string else value


def _check_batch(arrays: Mapping[str, np.ndarray]) -> None:
    batch = None
    for name, array in arrays.items():
        if not array.ndim:
            raise invalid_argument(f"Tensor name: {name} has no shape information ")
        if batch is not None and len(array) != batch:
            raise invalid_argument(
                f"Tensor name: {name} has inconsistent batch size: {len(array)} expecting: {batch}"
            )
        batch = len(array)


def _column(name: str, array: np.ndarray) -> Any:
    return writable(array) if array.dtype.kind != "O" else _strings(name, array)


def _rows(name: str, array: np.ndarray) -> Any:
    if array.dtype.kind == "O":
        return _strings(name, array)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        return [writable(np.asarray(row)) for row in array]
    return array


def _strings(name: str, array: np.ndarray) -> Any:
    written = np.empty(array.shape, object)
    if name.endswith(_BYTES_SUFFIX):
        for index, value in np.ndenumerate(array):
            written[index] = {BASE64_KEY: base64.b64encode(value).decode()}
    else:
        for index, value in np.ndenumerate(array):
            # TF Serving sends any bytes, and then its answer is not JSON.
            written[index] = value.decode("utf-8", "replace")
    return written.tolist()


def _unnamed_if_single(columns: dict[str, Any]) -> Any:
    return next(iter(columns.values())) if len(columns) == 1 else columns


def _shape_text(array: np.ndarray) -> str:
    return "[" + ",".join(map(str, array.shape)) + "]"
