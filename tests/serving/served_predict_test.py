"""PredictionService and ModelService over loopback, with the stock stubs: answers and errors."""

import grpc
import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from serving.server import ModelServer

DECODE_Z = {"z": np.zeros([1, 2], np.float32)}


@pytest.fixture(scope="module")
def server(decoders, push, tmp_path_factory):
    base_path = tmp_path_factory.mktemp("base")
    push(decoders["bright"], base_path, 7)
    with ModelServer("decoder", base_path) as server:
        yield server


@pytest.fixture(scope="module")
def channel(server):
    with grpc.insecure_channel(server.target) as channel:
        yield channel


@pytest.fixture(scope="module")
def prediction(channel):
    return prediction_service_pb2_grpc.PredictionServiceStub(channel)


@pytest.fixture(scope="module")
def models(channel):
    return model_service_pb2_grpc.ModelServiceStub(channel)


def predict_request(spec='name: "decoder"', inputs=DECODE_Z, output_filter=()):
    request = predict_pb2.PredictRequest(output_filter=output_filter)
    text_format.Parse(spec, request.model_spec)
    for name, value in inputs.items():
        proto = value if isinstance(value, tensor_pb2.TensorProto) else tf.make_tensor_proto(value)
        request.inputs[name].CopyFrom(proto)
    return request


def assert_fails(method, request, code, details):
    with pytest.raises(grpc.RpcError) as failure:
        method(request, timeout=10)
    assert (failure.value.code().name, failure.value.details()) == (code, details)


def test_default_signature_and_response_spec(prediction):
    response = prediction.Predict(predict_request(), timeout=10)
    assert sorted(response.outputs) == ["mean", "mode", "sample"]
    assert response.model_spec.name == "decoder"
    assert response.model_spec.signature_name == "serving_default"
    assert response.model_spec.version.value == 7


def test_floats_arrive_in_the_typed_field(prediction):
    mean = prediction.Predict(predict_request(), timeout=10).outputs["mean"]
    assert mean.tensor_content == b""
    np.testing.assert_allclose(mean.float_val, [1 / (1 + np.exp(-1))] * 4, rtol=1e-6)
    assert tf.make_ndarray(mean).shape == (1, 2, 2, 1)


def test_every_other_kind_arrives_in_its_typed_field(prediction):
    text = np.array([b"a\0b", b""], object)
    request = predict_request('name: "decoder" signature_name: "echo"', {"text": text})
    outputs = prediction.Predict(request, timeout=10).outputs
    assert list(outputs["text"].string_val) == [b"a\0b", b""]
    assert list(outputs["length"].int_val) == [3, 0]
    assert list(outputs["long"].int64_val) == [3, 0]
    assert list(outputs["empty"].bool_val) == [False, True]
    assert list(outputs["double"].double_val) == [1.0, 0.0]


def test_output_filter_limits_what_is_sent(prediction):
    request = predict_request(output_filter=["mode"])
    assert list(prediction.Predict(request, timeout=10).outputs) == ["mode"]


def test_typed_input_and_content_input_mean_the_same(prediction):
    content = tf.make_tensor_proto(np.array([[1.0, 2.0]], np.float32))
    typed = tensor_pb2.TensorProto(dtype=content.dtype, float_val=[1.0, 2.0])
    typed.tensor_shape.CopyFrom(content.tensor_shape)
    answers = [
        prediction.Predict(predict_request(inputs={"z": z}), timeout=10).outputs["mean"]
        for z in (content, typed)
    ]
    assert answers[0] == answers[1]


def test_a_batch_larger_than_grpcs_default_limit_passes(server):
    options = [("grpc.max_receive_message_length", -1)]
    with grpc.insecure_channel(server.target, options) as unlimited:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(unlimited)
        z = np.zeros([700_000, 2], np.float32)
        request = predict_request(inputs={"z": z}, output_filter=["mean"])
        assert request.ByteSize() > 4 * 2**20
        mean = stub.Predict(request, timeout=20).outputs["mean"]
    assert len(mean.float_val) == 700_000 * 4


def test_shapes_are_the_graphs_business_not_the_signatures(prediction):
    # `seed` is a scalar in the signature; a matrix is fed all the same, and the graph decides.
    request = predict_request(
        'name: "decoder" signature_name: "generate"',
        {"number": np.int64(2), "seed": np.array([[3]], np.int64)},
    )
    with pytest.raises(grpc.RpcError) as failure:
        prediction.Predict(request, timeout=10)
    assert "signature" not in failure.value.details()
    assert "{{node" in failure.value.details()


NOT_PARSED = tf.make_tensor_proto(np.zeros([1, 2], np.float32))
NOT_PARSED.tensor_content = b"123"
UNKNOWN_SHAPE = tf.make_tensor_proto(np.zeros([2], np.float32))
UNKNOWN_SHAPE.tensor_shape.dim[0].size = -1

PREDICT_ERRORS = {
    "no spec": (predict_pb2.PredictRequest(), "INVALID_ARGUMENT", "Missing ModelSpec"),
    "no name": (
        predict_request('signature_name: "decode"'),
        "INVALID_ARGUMENT",
        "ModelSpec has no name specified.",
    ),
    "unknown model": (
        predict_request('name: "x"'),
        "NOT_FOUND",
        "Servable not found for request: Latest(x)",
    ),
    "unknown model with version": (
        predict_request('name: "x" version { value: 3 }'),
        "NOT_FOUND",
        "Servable not found for request: Specific(x, 3)",
    ),
    "unknown version": (
        predict_request('name: "decoder" version { value: 6 }'),
        "NOT_FOUND",
        "Servable not found for request: Specific(decoder, 6)",
    ),
    "version 0 is a version": (
        predict_request('name: "decoder" version { }'),
        "NOT_FOUND",
        "Servable not found for request: Specific(decoder, 0)",
    ),
    "unknown label": (
        predict_request('name: "decoder" version_label: "canary"'),
        "INVALID_ARGUMENT",
        "Unrecognized servable version label: canary",
    ),
    "unknown signature": (
        predict_request('name: "decoder" signature_name: "nope"'),
        "FAILED_PRECONDITION",
        'Serving signature key "nope" not found.',
    ),
    "input missing": (
        predict_request('name: "decoder" signature_name: "generate"', {"seed": np.int64(1)}),
        "INVALID_ARGUMENT",
        "input size does not match signature: 1!=2 len({seed}) != len({number,seed}). "
        "Sent extra: {}. Missing but required: {number}.",
    ),
    "input extra": (
        predict_request(inputs={**DECODE_Z, "a": np.int64(1)}),
        "INVALID_ARGUMENT",
        "input size does not match signature: 2!=1 len({a,z}) != len({z}). "
        "Sent extra: {a}. Missing but required: {}.",
    ),
    "values do not fit shape": (
        predict_request(inputs={"z": NOT_PARSED}),
        "INVALID_ARGUMENT",
        "tensor parsing error: z",
    ),
    "shape not known": (
        predict_request(inputs={"z": UNKNOWN_SHAPE}),
        "INVALID_ARGUMENT",
        "tensor parsing error: z",
    ),
    "dtype unset": (
        predict_request(inputs={"z": tensor_pb2.TensorProto()}),
        "INVALID_ARGUMENT",
        "tensor parsing error: z",
    ),
    "wrong dtype": (
        predict_request(inputs={"z": np.zeros([1, 2], bool)}),
        "INVALID_ARGUMENT",
        "Expects arg[0] to be float but bool is provided",
    ),
    "unknown output": (
        predict_request(output_filter=["mean", "x"]),
        "INVALID_ARGUMENT",
        "output tensor alias not found in signature: x "
        "Outputs expected to be in the set {mean,mode,sample}.",
    ),
    "output twice": (
        predict_request(output_filter=["mean", "mean"]),
        "INVALID_ARGUMENT",
        "duplicate output tensor alias: mean",
    ),
    "lookup comes before signature": (
        predict_request('name: "x" signature_name: "nope"'),
        "NOT_FOUND",
        "Servable not found for request: Latest(x)",
    ),
    "inputs come before output filter": (
        predict_request(inputs={}, output_filter=["x"]),
        "INVALID_ARGUMENT",
        "input size does not match signature: 0!=1 len({}) != len({z}). "
        "Sent extra: {}. Missing but required: {z}.",
    ),
    "output filter comes before the graph": (
        predict_request(inputs={"z": np.zeros([1, 2], bool)}, output_filter=["x"]),
        "INVALID_ARGUMENT",
        "output tensor alias not found in signature: x "
        "Outputs expected to be in the set {mean,mode,sample}.",
    ),
}


@pytest.mark.parametrize("case", PREDICT_ERRORS)
def test_predict_error(prediction, case):
    request, code, details = PREDICT_ERRORS[case]
    assert_fails(prediction.Predict, request, code, details)


def test_wrong_input_name_is_refused_and_does_not_damage_the_signature(prediction):
    for _ in range(2):
        with pytest.raises(grpc.RpcError) as failure:
            prediction.Predict(predict_request(inputs={"typo": DECODE_Z["z"]}), timeout=10)
        assert failure.value.code() == grpc.StatusCode.INVALID_ARGUMENT
        assert failure.value.details().startswith("Signature input alias: z(feed name: ")
        assert failure.value.details().endswith(
            ":0) not found in request and no default value provided. "
            "Inputs expected to be in the request {typo}, or default input alias set: "
        )
    assert "mean" in prediction.Predict(predict_request(), timeout=10).outputs


def test_wrong_shape_is_the_graphs_error(prediction):
    with pytest.raises(grpc.RpcError) as failure:
        prediction.Predict(predict_request(inputs={"z": np.zeros([1, 3], np.float32)}), timeout=10)
    assert failure.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert failure.value.details().startswith(
        "Matrix size-incompatible: In[0]: [1,3], In[1]: [2,4]"
    )


def test_a_signature_without_outputs_is_the_runtimes_error(prediction):
    request = predict_request('name: "decoder" signature_name: "__saved_model_init_op"', {})
    with pytest.raises(grpc.RpcError) as failure:
        prediction.Predict(request, timeout=10)
    assert "NoOp" in failure.value.details()


def test_long_messages_are_cut(prediction):
    request = predict_request(f'name: "decoder" signature_name: "{"s" * 2000}"')
    with pytest.raises(grpc.RpcError) as failure:
        prediction.Predict(request, timeout=10)
    assert failure.value.details() == f'Serving signature key "{"s" * 1001}...TRUNCATED'
    assert len(failure.value.details()) == 1024 + len("...TRUNCATED")


def test_metadata_has_every_signature(prediction):
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = "decoder"
    response = prediction.GetModelMetadata(request, timeout=10)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(signatures)
    assert {"serving_default", "decode", "generate", "__saved_model_init_op"} <= set(
        signatures.signature_def
    )
    decode = signatures.signature_def["decode"]
    assert [dim.size for dim in decode.inputs["z"].tensor_shape.dim] == [-1, 2]
    assert response.model_spec.version.value == 7
    assert response.model_spec.signature_name == ""


METADATA_ERRORS = {
    "no spec": (
        'metadata_field: "x"',
        "INVALID_ARGUMENT",
        "Missing ModelSpec",
    ),
    "no field": (
        'model_spec { name: "decoder" }',
        "INVALID_ARGUMENT",
        "GetModelMetadataRequest must specify at least one metadata_field",
    ),
    "other field": (
        'model_spec { name: "decoder" } metadata_field: "x"',
        "INVALID_ARGUMENT",
        "Metadata field x is not supported",
    ),
    "no name": (
        'model_spec { } metadata_field: "signature_def"',
        "INVALID_ARGUMENT",
        "ModelSpec has no name specified.",
    ),
    "unknown model": (
        'model_spec { name: "x" } metadata_field: "signature_def"',
        "NOT_FOUND",
        "Servable not found for request: Latest(x)",
    ),
}


@pytest.mark.parametrize("case", METADATA_ERRORS)
def test_metadata_error(prediction, case):
    text, code, details = METADATA_ERRORS[case]
    request = text_format.Parse(text, get_model_metadata_pb2.GetModelMetadataRequest())
    assert_fails(prediction.GetModelMetadata, request, code, details)


def test_status_of_one_version(models):
    request = get_model_status_pb2.GetModelStatusRequest()
    text_format.Parse('name: "decoder" version { value: 7 }', request.model_spec)
    [entry] = models.GetModelStatus(request, timeout=10).model_version_status
    assert (entry.version, entry.state, entry.status.error_code) == (7, 30, 0)


def test_status_ignores_labels(models):
    request = get_model_status_pb2.GetModelStatusRequest()
    text_format.Parse('name: "decoder" version_label: "canary"', request.model_spec)
    [entry] = models.GetModelStatus(request, timeout=10).model_version_status
    assert entry.version == 7


STATUS_ERRORS = {
    "no spec": ("", "INVALID_ARGUMENT", "Missing ModelSpec"),
    "unknown version": (
        'model_spec { name: "decoder" version { value: 6 } }',
        "NOT_FOUND",
        "Could not find version 6 of model decoder",
    ),
    "unknown model": (
        'model_spec { name: "x" }',
        "NOT_FOUND",
        "Could not find any versions of model x",
    ),
}


@pytest.mark.parametrize("case", STATUS_ERRORS)
def test_status_error(models, case):
    text, code, details = STATUS_ERRORS[case]
    request = text_format.Parse(text, get_model_status_pb2.GetModelStatusRequest())
    assert_fails(models.GetModelStatus, request, code, details)


def test_a_deadline_reaches_the_computation(prediction):
    long = predict_request(
        'name: "decoder" signature_name: "slow"', {"iterations": np.int64(3_000_000)}
    )
    # Ten seconds of work each, and more than the server has threads: it answers afterwards only if
    # the computations ended.
    waiting = [prediction.Predict.future(long, timeout=0.3) for _ in range(20)]
    assert {call.code() for call in waiting} == {grpc.StatusCode.DEADLINE_EXCEEDED}
    assert "mean" in prediction.Predict(predict_request(), timeout=10).outputs
