"""Arrays to TensorProto and back, in any dtype and shape, and the same bytes as filled fields."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from tensorflow.core.framework import tensor_pb2

from serving import tensors

SHAPES = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5)
NUMERIC = [
    *("float16", "float32", "float64", "complex64", "complex128", "bool"),
    *("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
]


def to_proto(array):
    proto = tensor_pb2.TensorProto()
    tensors.to_proto(array, proto)
    return proto


@given(
    st.sampled_from(NUMERIC).flatmap(lambda dtype: hnp.arrays(np.dtype(dtype), SHAPES)), st.data()
)
@settings(max_examples=150, deadline=None)
def test_numbers_survive_in_typed_fields(array, data):
    if array.ndim and data.draw(st.booleans()):
        array = array.T  # Not contiguous.
    proto = to_proto(array)
    assert proto.tensor_content == b""
    for back in (tensors.from_proto(proto), tf.make_ndarray(proto)):
        assert back.dtype == array.dtype
        np.testing.assert_array_equal(back, array)


@given(hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3), st.data())
@settings(max_examples=50, deadline=None)
def test_strings_survive(shape, data):
    size = int(np.prod(shape))
    array = np.empty(size, object)
    array[:] = data.draw(st.lists(st.binary(max_size=5), min_size=size, max_size=size))
    array = array.reshape(shape)
    proto = to_proto(array)
    assert list(proto.string_val) == list(array.reshape(-1))
    np.testing.assert_array_equal(tensors.from_proto(proto), array)


@given(hnp.arrays(np.float32, SHAPES))
@settings(max_examples=50, deadline=None)
def test_spliced_floats_are_the_bytes_that_filling_the_field_gives(array):
    filled = tensor_pb2.TensorProto(dtype=1, float_val=array.reshape(-1).tolist())
    filled.tensor_shape.SetInParent()
    for size in array.shape:
        filled.tensor_shape.dim.add(size=size)
    assert to_proto(array).SerializeToString() == filled.SerializeToString()


def test_lengths_that_need_several_bytes():
    array = np.arange(300_000, dtype=np.float32)
    np.testing.assert_array_equal(tensors.from_proto(to_proto(array)), array)


def test_bfloat16_uses_the_half_field():
    array = np.array([1.5, -2.0], tf.bfloat16.as_numpy_dtype)
    proto = to_proto(array)
    assert len(proto.half_val) == 2
    np.testing.assert_array_equal(tensors.from_proto(proto), array)


def test_a_type_without_a_field_survives():
    array = np.array([1.5, -2.0], tf.dtypes.experimental.float8_e5m2.as_numpy_dtype)
    np.testing.assert_array_equal(tensors.from_proto(to_proto(array)), array)


def test_one_value_fills_the_shape():
    proto = tensor_pb2.TensorProto(dtype=1, float_val=[2.5])
    proto.tensor_shape.dim.add(size=3)
    assert tensors.from_proto(proto).tolist() == [2.5, 2.5, 2.5]


def test_values_in_a_field_of_another_type_are_not_mistaken_for_the_tensors():
    proto = to_proto(np.array([1.0, 2.0], np.float32))
    proto.int64_val.extend([9, 9, 9, 9, 9, 9, 9, 9])
    assert tensors.from_proto(proto).tolist() == [1.0, 2.0]


def test_the_result_can_be_written_to():
    array = tensors.from_proto(to_proto(np.zeros(3, np.float32)))
    array[0] = 1
    assert array.tolist() == [1, 0, 0]


@pytest.mark.parametrize("shape", [[2], [-1], [-1, -3]])
def test_content_that_does_not_fit_the_shape_is_refused(shape):
    proto = tensor_pb2.TensorProto(dtype=1, tensor_content=b"\0" * 12)
    for size in shape:
        proto.tensor_shape.dim.add(size=size)
    with pytest.raises(ValueError, match="shape"):
        tensors.from_proto(proto)
