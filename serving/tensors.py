"""NumPy arrays to and from TensorProto, in the typed fields that TF Serving uses, at wire speed.

TF Serving answers with typed fields (`float_val`), never with `tensor_content`. Filling a repeated
field from Python costs milliseconds for one batch of images. A packed repeated float or double is
its raw little-endian bytes on the wire, so those bytes are spliced in, and taken out, as they are.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2

# Field number of TensorProto.float_val and .double_val, both packed.
_SPLICED = {np.dtype(np.float32): 5, np.dtype(np.float64): 6}
_LENGTH_DELIMITED = 2

_INT_VAL_KINDS = {np.dtype(kind) for kind in (np.int8, np.int16, np.int32, np.uint8, np.uint16)}
_FIELD_BY_DTYPE = {
    np.dtype(np.int64): "int64_val",
    np.dtype(np.uint32): "uint32_val",
    np.dtype(np.uint64): "uint64_val",
    np.dtype(np.bool_): "bool_val",
    **dict.fromkeys(_INT_VAL_KINDS, "int_val"),
}
_HALF_TYPES = (tf.float16, tf.bfloat16)


def to_proto(array: np.ndarray, proto: tensor_pb2.TensorProto) -> None:
    """Writes an array into an empty TensorProto, values in the typed field of its dtype.

    Args:
      array: Any shape; numeric, bool, or objects that are bytes.
      proto: Filled in place, because a protobuf map hands out messages and cannot be assigned to.
    """
    array = np.asarray(array)
    dtype = tf.string if array.dtype.kind in "OSU" else tf.as_dtype(array.dtype)
    proto.dtype = dtype.as_datatype_enum
    for size in array.shape:
        proto.tensor_shape.dim.add(size=size)
    # Marks a scalar as having a shape: presence of the message, with no dimensions.
    proto.tensor_shape.SetInParent()
    if not array.size:
        return
    if array.dtype in _SPLICED:
        raw = (
            np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
        )
        proto.MergeFromString(_header(_SPLICED[array.dtype], len(raw)) + raw)
    elif dtype == tf.string:
        proto.string_val.extend(tf.compat.as_bytes(value) for value in array.reshape(-1))
    elif dtype in _HALF_TYPES:
        proto.half_val.extend(np.ascontiguousarray(array).view(np.uint16).reshape(-1).tolist())
    elif array.dtype in _FIELD_BY_DTYPE:
        getattr(proto, _FIELD_BY_DTYPE[array.dtype]).extend(array.reshape(-1).tolist())
    elif dtype in (tf.complex64, tf.complex128):
        # Real and imaginary parts alternate.
        parts = np.ascontiguousarray(array).reshape(-1).view(array.real.dtype).tolist()
        (proto.scomplex_val if dtype == tf.complex64 else proto.dcomplex_val).extend(parts)
    else:
        # Quantized and eight-bit floating-point types, which have no field of plain numbers.
        proto.CopyFrom(tf.make_tensor_proto(array))


def from_proto(proto: tensor_pb2.TensorProto) -> np.ndarray:
    """Returns the array of a TensorProto, whichever field it uses.

    Args:
      proto: With `tensor_content`, or a typed field; fewer values than the shape has are padded
        with the last one, as TensorFlow does.

    Raises:
      ValueError: The shape is not fully known, or the values do not fit it.
      TypeError: The dtype is unset or has no array form.
    """
    shape = [dim.size for dim in proto.tensor_shape.dim]
    if proto.tensor_shape.unknown_rank or any(size < 0 for size in shape):
        raise ValueError("The shape of a tensor must be fully known.")
    array = _spliced_array(proto, shape)
    return tf.make_ndarray(proto) if array is None else array


def _spliced_array(proto: tensor_pb2.TensorProto, shape: list[int]) -> np.ndarray | None:
    """Returns the array of a full `float_val` or `double_val`, or None when it is anything else."""
    if proto.dtype == tf.float32.as_datatype_enum:
        count, dtype = len(proto.float_val), np.dtype("<f4")
    elif proto.dtype == tf.float64.as_datatype_enum:
        count, dtype = len(proto.double_val), np.dtype("<f8")
    else:
        return None
    if proto.tensor_content or not count or count != np.prod(shape, dtype=np.int64):
        return None
    size = count * dtype.itemsize
    wire = proto.SerializeToString()
    header = _header(_SPLICED[dtype.newbyteorder("=")], size)
    # Fields are written in the order of their numbers, so the values end the message, unless the
    # sender also filled a field that does not belong to this dtype.
    if wire[-size - len(header) : -size] != header:
        return None
    return np.frombuffer(wire, dtype, count, len(wire) - size).reshape(shape).copy()


def _header(field: int, size: int) -> bytes:
    """Returns the tag and the length that precede a packed field on the wire."""
    encoded = bytearray([field << 3 | _LENGTH_DELIMITED])
    while size > 0x7F:
        encoded.append(size & 0x7F | 0x80)
        size >>= 7
    encoded.append(size)
    return bytes(encoded)
