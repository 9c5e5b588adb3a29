"""Classify, Regress, MultiInference: errors for a decoder, answers for a model of Examples."""

import grpc
import pytest
import tensorflow as tf
from google.protobuf import text_format
from tensorflow_serving.apis import (
    classification_pb2,
    inference_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

from serving.server import ModelServer

ONE_EXAMPLE = "input { example_list { examples { } } }"


def stub_of(server):
    return prediction_service_pb2_grpc.PredictionServiceStub(grpc.insecure_channel(server.target))


@pytest.fixture(scope="module")
def decoder(decoders, push, tmp_path_factory):
    base_path = tmp_path_factory.mktemp("base")
    push(decoders["dark"], base_path, 1)
    with ModelServer("m", base_path) as server:
        yield stub_of(server)


@pytest.fixture(scope="module")
def reader(push, tmp_path_factory):
    """A model that classifies and regresses an Example by its feature `x`."""

    class Reader(tf.Module):
        def _x(self, inputs):
            return tf.io.parse_example(inputs, {"x": tf.io.FixedLenFeature([1], tf.float32)})["x"]

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "inputs")])
        def classify(self, inputs):
            x = self._x(inputs)
            return {"classes": tf.strings.as_string(x, precision=0), "scores": x / 2}

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "inputs")])
        def regress(self, inputs):
            return {"outputs": self._x(inputs) * 3}

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "inputs")])
        def flat(self, inputs):
            return {"scores": self._x(inputs)[:, 0]}

    module = Reader()
    saved = tmp_path_factory.mktemp("saved") / "reader"
    signatures = {"c": module.classify, "serving_default": module.regress, "flat": module.flat}
    tf.saved_model.save(module, str(saved), signatures=signatures)
    base_path = tmp_path_factory.mktemp("base")
    push(saved, base_path, 5)
    with ModelServer("m", base_path) as server:
        yield stub_of(server)


def classification(text):
    return text_format.Parse(text, classification_pb2.ClassificationRequest())


def regression(text):
    return text_format.Parse(text, regression_pb2.RegressionRequest())


def multi_inference(text):
    return text_format.Parse(text, inference_pb2.MultiInferenceRequest())


def task(name="m", signature="decode", method="tensorflow/serving/classify"):
    return (
        f'tasks {{ model_spec {{ name: "{name}" signature_name: "{signature}" }} '
        f'method_name: "{method}" }}'
    )


def examples(*values, context=""):
    body = " ".join(f"examples {{ features {{ {x(value)} }} }}" for value in values)
    if context:
        return (
            "input { example_list_with_context { examples { } examples { } "
            f"context {{ features {{ {context} }} }} }} }}"
        )
    return f"input {{ example_list {{ {body} }} }}"


def x(value):
    return f'feature {{ key: "x" value {{ float_list {{ value: {value} }} }} }}'


DECODER_ERRORS = {
    "classify: no spec": ("Classify", classification(""), "INVALID_ARGUMENT", "Missing ModelSpec"),
    "classify: unknown signature": (
        "Classify",
        classification('model_spec { name: "m" signature_name: "nope" }'),
        "INVALID_ARGUMENT",
        "No signature was found with the name: nope",
    ),
    "classify: unknown model": (
        "Classify",
        classification('model_spec { name: "x" }'),
        "NOT_FOUND",
        "Servable not found for request: Latest(x)",
    ),
    "classify: three outputs": (
        "Classify",
        classification('model_spec { name: "m" }' + ONE_EXAMPLE),
        "INVALID_ARGUMENT",
        "Expected one or two output Tensors, found 3",
    ),
    "classify: two inputs": (
        "Classify",
        classification('model_spec { name: "m" signature_name: "generate" }' + ONE_EXAMPLE),
        "INVALID_ARGUMENT",
        "Expected one input Tensor.",
    ),
    "regress: no spec": ("Regress", regression(""), "INVALID_ARGUMENT", "Missing ModelSpec"),
    "regress: unknown signature": (
        "Regress",
        regression('model_spec { name: "m" signature_name: "nope" }'),
        "INVALID_ARGUMENT",
        "No signature was found with the name: nope",
    ),
    "regress: two inputs": (
        "Regress",
        regression('model_spec { name: "m" signature_name: "generate" }' + ONE_EXAMPLE),
        "INVALID_ARGUMENT",
        "Expected one input Tensor.",
    ),
    "regress: three outputs": (
        "Regress",
        regression('model_spec { name: "m" }' + ONE_EXAMPLE),
        "INVALID_ARGUMENT",
        "Expected one output Tensor.",
    ),
    "multi: no task": (
        "MultiInference",
        multi_inference(""),
        "INVALID_ARGUMENT",
        "ModelSpec has no name specified.",
    ),
    "multi: unknown signature": (
        "MultiInference",
        multi_inference(task(signature="nope")),
        "INVALID_ARGUMENT",
        "Requested signature not found in model graph: nope",
    ),
    "multi: other method": (
        "MultiInference",
        multi_inference(task(method="tensorflow/serving/predict")),
        "UNIMPLEMENTED",
        "Unsupported signature method_name: tensorflow/serving/predict",
    ),
    "multi: not a classifier": (
        "MultiInference",
        multi_inference(task() + ONE_EXAMPLE),
        "INVALID_ARGUMENT",
        "Expected one or two output Tensors, found 3",
    ),
}

READER_ERRORS = {
    "classify: empty input": (
        "Classify",
        classification('model_spec { name: "m" signature_name: "c" }'),
        "INVALID_ARGUMENT",
        "Input is empty.",
    ),
    "regress: empty input": (
        "Regress",
        regression('model_spec { name: "m" }'),
        "INVALID_ARGUMENT",
        "Input is empty.",
    ),
    "multi: empty input": (
        "MultiInference",
        multi_inference(task(signature="c")),
        "INVALID_ARGUMENT",
        "Input is empty.",
    ),
    "multi: mixed models": (
        "MultiInference",
        multi_inference(task(signature="c") + task(name="other", signature="c")),
        "INVALID_ARGUMENT",
        "All ModelSpecs in a MultiInferenceRequest must access the same model name.",
    ),
    "multi: empty name": (
        "MultiInference",
        multi_inference(task(signature="c") + task(name="", signature="c")),
        "INVALID_ARGUMENT",
        "Found ModelSpec with an empty model name.",
    ),
    "multi: signature twice": (
        "MultiInference",
        multi_inference(task(signature="c") + task(signature="c")),
        "INVALID_ARGUMENT",
        "Duplicate evaluation of signature: c",
    ),
    "classify: scores of rank 1": (
        "Classify",
        classification('model_spec { name: "m" signature_name: "flat" }' + examples(1, 2)),
        "INVALID_ARGUMENT",
        "Expected Tensor shape: [batch_size num_classes] but got [2]",
    ),
}


def assert_fails(stub, method, request, code, details):
    with pytest.raises(grpc.RpcError) as failure:
        getattr(stub, method)(request, timeout=10)
    assert (failure.value.code().name, failure.value.details()) == (code, details)


@pytest.mark.parametrize("case", DECODER_ERRORS)
def test_error_for_a_decoder(decoder, case):
    assert_fails(decoder, *DECODER_ERRORS[case])


@pytest.mark.parametrize("case", READER_ERRORS)
def test_error_for_a_model_of_examples(reader, case):
    assert_fails(reader, *READER_ERRORS[case])


def test_regress_explains_what_it_misses(decoder):
    request = regression('model_spec { name: "m" signature_name: "slow" }' + ONE_EXAMPLE)
    with pytest.raises(grpc.RpcError) as failure:
        decoder.Regress(request, timeout=10)
    assert failure.value.details().startswith("No regression inputs found in SignatureDef: inputs")


def test_classify(reader):
    request = classification('model_spec { name: "m" signature_name: "c" }' + examples(1, 4))
    response = reader.Classify(request, timeout=10)
    found = [
        [(entry.label, entry.score) for entry in row.classes]
        for row in response.result.classifications
    ]
    assert found == [[("1", 0.5)], [("4", 2.0)]]
    assert response.model_spec.signature_name == "c"
    assert response.model_spec.version.value == 5


def test_regress_with_the_default_signature(reader):
    response = reader.Regress(regression('model_spec { name: "m" }' + examples(1, 4)), timeout=10)
    assert [entry.value for entry in response.result.regressions] == [3.0, 12.0]
    assert response.model_spec.signature_name == "serving_default"


def test_context_reaches_every_example(reader):
    request = regression('model_spec { name: "m" }' + examples(context=x(7)))
    response = reader.Regress(request, timeout=10)
    assert [entry.value for entry in response.result.regressions] == [21.0, 21.0]


def test_multi_inference_answers_in_the_order_of_the_tasks(reader):
    request = multi_inference(
        task(signature="", method="tensorflow/serving/regress") + task(signature="c") + examples(2)
    )
    regress, classify = reader.MultiInference(request, timeout=10).results
    assert [entry.value for entry in regress.regression_result.regressions] == [6.0]
    assert classify.classification_result.classifications[0].classes[0].label == "2"
    assert classify.model_spec.signature_name == "c"
