"""Predict, status and metadata over REST: what is answered, read by a foreign client."""

import base64
import math

import numpy as np
import pytest
from google.protobuf import json_format
from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2

from serving.rest_server import RestServer
from serving.servable import Servable
from tests.serving.rest_support import Caller, FixedRegistry, save_kinds


@pytest.fixture(scope="module")
def caller(decoders, tmp_path_factory):
    kinds = Servable(save_kinds(tmp_path_factory.mktemp("saved") / "kinds"), 5)
    decoder = Servable(decoders["bright"], 7)
    server = RestServer(
        FixedRegistry(kinds=[kinds], decoder=[decoder], **{"a b": [kinds]}), "127.0.0.1", 0
    )
    server.start()
    yield Caller(server.port)
    server.stop(grace=5)


def ok(response):
    assert response.status_code == 200, response.text
    assert response.headers["Content-Type"] == "application/json"
    return response.json()


def test_rows_of_a_single_unnamed_input(caller):
    predictions = ok(caller.predict(model="decoder", instances=[[0, 0], [0, 0.0], [1, 2]]))
    rows = predictions["predictions"]
    assert [sorted(row) for row in rows] == [["mean", "mode", "sample"]] * 3
    np.testing.assert_allclose(rows[0]["mean"], np.full([2, 2, 1], 1 / (1 + np.exp(-1))), rtol=1e-6)


def test_rows_of_named_inputs(caller):
    body = ok(caller.predict(model="decoder", instances=[{"z": [0, 0]}, {"z": [1, 1]}]))
    assert np.shape(body["predictions"][1]["mode"]) == (2, 2, 1)
    rows = [{"x": [1, 2], "name": "a"}, {"x": [3, 4], "name": {"b64": "AP8="}}]
    assert ok(caller.predict("two", instances=rows)) == {
        "predictions": [
            {"name_out": "a", "x_out": [1.0, 2.0]},
            {"name_out": "\0\ufffd", "x_out": [3.0, 4.0]},
        ]
    }


def test_columns(caller):
    plain = ok(caller.predict(model="decoder", inputs=[[0, 0]]))
    named = ok(caller.predict(model="decoder", inputs={"z": [[0, 0]]}))
    assert plain == named
    assert sorted(plain["outputs"]) == ["mean", "mode", "sample"]
    scalars = ok(caller.predict("generate", "decoder", inputs={"number": 2, "seed": 3}))
    assert np.shape(scalars["outputs"]["z"]) == (2, 2)


def test_a_single_output_has_no_name(caller):
    assert ok(caller.predict(instances=[1, 2.5])) == {"predictions": [1.0, 2.5]}
    assert ok(caller.predict(instances=[[1], [2]])) == {"predictions": [[1.0], [2.0]]}
    assert ok(caller.predict(inputs=3)) == {"outputs": 3.0}
    assert ok(caller.predict(inputs=[[], []])) == {"outputs": [[], []]}
    assert ok(caller.predict(instances=[{"x": []}])) == {"predictions": [[]]}


def test_version_and_encoded_name_and_case_of_the_path(caller):
    for path in (
        "/v1/models/kinds/versions/5:predict",
        "/v1/models/kinds/versions/0005:predict",
        "/V1/Models/kinds:predict",
        "/v1/models/k%69nds:predict?verbose=1",
        "/v1/models/a%20b:predict",
    ):
        assert ok(caller.post(path, {"instances": [1]})) == {"predictions": [1.0]}, path


def test_whole_numbers_keep_their_value_at_the_limits(caller):
    columns = {
        "int8": [127, -128],
        "int32": [2**31 - 1, -(2**31)],
        "int64": [2**63 - 1, -(2**63)],
        "uint8": [0, 255],
        "uint32": [0, 2**32 - 1],
        "uint64": [0, 2**64 - 1],
        "bool": [True, False],
    }
    outputs = ok(caller.predict("whole", inputs=columns))["outputs"]
    assert outputs == {f"{name}_out": values for name, values in columns.items()}
    assert outputs["bool_out"][0] is True
    # RapidJSON's GetInt, cast: narrower integers wrap around.
    columns["int8"] = [128, 300]
    assert ok(caller.predict("whole", inputs=columns))["outputs"]["int8_out"] == [-128, 44]


def test_strings_and_bytes(caller):
    values = ["", 'é\u0000"\\\n', {"b64": base64.b64encode(b"\xff\x00").decode()}, {"b64": " /w "}]
    rows = ok(caller.predict("text", instances=values))["predictions"]
    assert [row["text"] for row in rows] == ["", 'é\0"\\\n', "\ufffd\0", "\ufffd"]
    decoded = [base64.b64decode(row["text_bytes"]["b64"]) for row in rows]
    assert decoded == [b"", 'é\0"\\\n'.encode(), b"\xff\0", b"\xff"]
    assert ok(caller.predict("text", inputs={"b64": "YQ=="}))["outputs"]["text"] == "a"
    nested = ok(caller.predict("text", inputs={"text": [["a"], ["b"]]}))
    assert nested["outputs"]["text"] == [["a"], ["b"]]


def test_values_that_are_not_numbers(caller):
    body = '{"signature_name": "odd", "instances": [1.0, 0, NaN, -Infinity]}'
    text = caller.post("/v1/models/kinds:predict", body).text
    assert text == (
        '{"predictions":[{"y":1.0,"z":[Infinity,-Infinity,NaN]},{"y":0.0,"z":[NaN,NaN,NaN]},'
        '{"y":NaN,"z":[NaN,NaN,NaN]},{"y":-Infinity,"z":[-Infinity,Infinity,NaN]}]}'
    )
    columns = caller.post("/v1/models/kinds:predict", '{"inputs": [[NaN, 1], [2, Infinity]]}')
    assert columns.text == '{"outputs":[[NaN,1.0],[2.0,Infinity]]}'
    assert caller.post("/v1/models/kinds:predict", '{"inputs": NaN}').text == '{"outputs":NaN}'


def test_an_overflow_of_float32_is_infinite_as_in_tf_serving(caller):
    assert caller.predict(inputs=1e300).text == '{"outputs":Infinity}'


@pytest.mark.parametrize(("signature", "dtype"), [("same", np.float32), ("double", np.float64)])
def test_every_bit_of_a_float_arrives_and_comes_back(caller, signature, dtype):
    random = np.random.default_rng(0)
    bits = np.uint32 if dtype == np.float32 else np.uint64
    raw = random.integers(0, np.iinfo(bits).max, 20_000, bits, endpoint=True).view(dtype)
    edges = np.array([0.0, -0.0, np.finfo(dtype).max, np.finfo(dtype).tiny, 5e-324, 0.1], dtype)
    values = np.concatenate([raw[np.isfinite(raw)], edges])
    outputs = ok(caller.predict(signature, inputs=values.tolist()))["outputs"]
    np.testing.assert_array_equal(np.array(outputs, dtype).view(bits), values.view(bits))
    assert all(type(value) is float for value in outputs)


def test_float32_is_written_without_noise_digits(caller):
    assert caller.predict(inputs=[0.1, 1, 0.3]).text == '{"outputs":[0.1,1.0,0.3]}'


def test_status(caller):
    body = ok(caller.get("/v1/models/kinds"))
    assert body == {
        "model_version_status": [
            {
                "version": "5",
                "state": "AVAILABLE",
                "status": {"error_code": "OK", "error_message": ""},
            },
            {
                "version": "1",
                "state": "END",
                "status": {"error_code": "DATA_LOSS", "error_message": "cannot be read"},
            },
        ]
    }
    message = get_model_status_pb2.GetModelStatusResponse()
    json_format.ParseDict(body, message)
    assert message.model_version_status[0].version == 5
    one = ok(caller.get("/v1/models/kinds/versions/1"))
    assert one["model_version_status"] == body["model_version_status"][1:]
    # A label is not looked at.
    assert ok(caller.get("/v1/models/kinds/labels/stable")) == body


def test_metadata(caller):
    body = ok(caller.get("/v1/models/decoder/metadata"))
    assert ok(caller.get("/v1/models/decoder/versions/7/metadata")) == body
    assert body["model_spec"] == {"name": "decoder", "signature_name": "", "version": "7"}
    signatures = body["metadata"]["signature_def"]["signature_def"]
    assert signatures["decode"]["inputs"]["z"] == {
        "dtype": "DT_FLOAT",
        "tensor_shape": {
            "dim": [{"size": "-1", "name": ""}, {"size": "2", "name": ""}],
            "unknown_rank": False,
        },
        "name": signatures["decode"]["inputs"]["z"]["name"],
    }
    assert signatures["decode"]["method_name"] == "tensorflow/serving/predict"
    assert signatures["decode"]["defaults"] == {}
    assert "__saved_model_init_op" in signatures
    message = get_model_metadata_pb2.SignatureDefMap()
    json_format.ParseDict(body["metadata"]["signature_def"], message)


def test_classify_and_regress(caller):
    body = {"signature_name": "classify", "examples": [{"x": 1.0}, {"x": [2.5]}]}
    results = ok(caller.post("/v1/models/kinds:classify", body))
    assert results == {"results": [[["1", 0.2]], [["2", 0.5]]]}
    body = {"signature_name": "regress", "examples": [{"x": 1.0, "n": [True, 3]}, {"x": 2.5}]}
    assert ok(caller.post("/v1/models/kinds:regress", body)) == {"results": [0.2, 0.5]}


def test_a_context_reaches_every_example(caller):
    body = {"signature_name": "regress", "context": {"x": 5.0}, "examples": [{}, {"x": 10.0}]}
    assert ok(caller.post("/v1/models/kinds:regress", body)) == {"results": [1.0, 2.0]}


def test_examples_that_are_not_finite(caller):
    text = '{"signature_name": "%s", "examples": [{"x": NaN}, {"x": [-Infinity]}, {"x": 1e300}]}'
    body = caller.post("/v1/models/kinds:regress", text % "regress").text
    assert body == '{"results":[NaN,-Infinity,Infinity]}'
    body = caller.post("/v1/models/kinds:classify", text % "classify").text
    assert body == '{"results":[[["nan",NaN]],[["-inf",-Infinity]],[["inf",Infinity]]]}'


def test_examples_hold_every_kind_of_value(caller):
    features = {
        "x": 1.5,
        "text": ["a", {"b64": "AA=="}],
        "empty": [],
        "whole": [-(2**63), 2**63 - 1, False],
        "long": 1e5,
    }
    body = {"signature_name": "regress", "examples": [features]}
    [value] = ok(caller.post("/v1/models/kinds:regress", body))["results"]
    assert math.isclose(value, 0.3, rel_tol=1e-6)
