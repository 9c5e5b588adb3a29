"""Requests that the REST API refuses: codes and texts of TF Serving, whatever the mistake."""

import pytest

from serving import rest_api
from serving.rest_server import RestServer
from serving.servable import Servable
from tests.serving.rest_support import Caller, FixedRegistry, save_kinds

PREDICT = "/v1/models/kinds:predict"


@pytest.fixture(scope="module")
def caller(decoders, tmp_path_factory):
    kinds = Servable(save_kinds(tmp_path_factory.mktemp("saved") / "kinds"), 5)
    decoder = Servable(decoders["bright"], 7)
    server = RestServer(FixedRegistry(kinds=[kinds], decoder=[decoder]), "127.0.0.1", 0)
    server.start()
    yield Caller(server.port)
    server.stop(grace=5)


def assert_error(response, code, text):
    assert (response.status_code, response.json()) == (code, {"error": text})
    assert response.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("", "The document is empty"),
        (" \n", "The document is empty. at offset: 2"),
        ("{", "Missing a name for object member. at offset: 1"),
        ('{"a"}', "Missing a colon after a name of object member. at offset: 4"),
        ('{"a": [1 2]}', "Missing a comma or ] after an array element. at offset: 9"),
        ('{"a": "]" "b"}', "Missing a comma or } after an object member. at offset: 10"),
        ('{"é": x}', "Invalid value. at offset: 7"),
        ("{} {}", "The document root must not be followed by other values. at offset: 3"),
        ('{"a": "b', "Missing a closing quotation mark in string. at offset: 6"),
        ('{"a": "\\q"}', "Invalid escape character in string. at offset: 7"),
        ('{"a": 1e999}', "Number too big to be stored in double. at offset: 6"),
        ('{"a": ' + "9" * 5000 + "}", "Number too big to be stored in double. at offset: 6"),
        ('{"a": "\\ud800"}', "The surrogate pair in string is invalid."),
        ('{"a": NaN, "b": "\\udc80"}', "The surrogate pair in string is invalid."),
        (b'{"a": "\xff"}', "Invalid encoding in string. at offset: 7"),
        ('{"a": ' + "[" * 100_000 + "}", "The document is nested too deeply."),
    ],
)
def test_malformed_json(caller, body, text):
    for method in ("predict", "classify", "regress"):
        response = caller.post(f"/v1/models/absent:{method}", body)
        assert_error(response, 400, f"JSON Parse error: {text}")


def not_object(shown):
    return f"JSON Value: {shown} Is not object"


PLAIN_LIST = (
    "instances is a plain list, but expecting list of objects as multiple input tensors required "
    "as per tensorinfo_map"
)
FAILED = "Failed to process element: {} of 'instances' list. Error: INVALID_ARGUMENT: {}"


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("1.5", not_object("1.5")),
        ('"é"', not_object('"é"')),
        ("[1, {}]", not_object("[\n    1,\n    {}\n]")),
        (
            {"signature_name": 1},
            'JSON Value: {\n    "signature_name": 1\n} not formatted correctly. '
            "'signature_name' key must be a string value.",
        ),
        ({}, "Missing 'inputs' or 'instances' key"),
        (
            {"signature_name": "absent", "instances": [1]},
            'Serving signature name: "absent" not found in signature def',
        ),
        (
            {"signature_name": "constant", "instances": [1]},
            "Failed to get input map for signature: constant",
        ),
        (
            {"inputs": 1, "instances": []},
            'JSON Value: {\n    "inputs": 1,\n    "instances": []\n} Not formatted correctly '
            "expecting only one of 'inputs' or 'instances' keys to exist ",
        ),
        (
            {"instances": 1},
            "JSON Value: {\n    \"instances\": 1\n} Expecting 'instances' to be an list/array",
        ),
        (
            {"instances": []},
            "JSON Value: {\n    \"instances\": []\n} No values in 'instances' array",
        ),
        ({"instances": [[1, 2], [3]]}, FAILED.format(1, "Expecting tensor size: 2 but got: 1")),
        (
            {"instances": [[[1, 2]], [[3], [4]]]},
            FAILED.format(1, "Expecting shape [1,2] but got: [2,1]"),
        ),
        (
            {"instances": [[1, [2]]]},
            FAILED.format(0, "Encountered list at unexpected level: 1 expected < 1"),
        ),
        (
            {"instances": [[[1, 2], [3]]]},
            FAILED.format(0, "Encountered list at unexpected size: 1 at level: 1 expected size: 2"),
        ),
        (
            {"inputs": [[1], 2]},
            "JSON Value: 2 found at incorrect level: 2 in the JSON DOM. Expected at level: 2",
        ),
        (
            {"instances": [[1], {"x": [1]}]},
            "Expecting value/list but got object at item 1 of input list",
        ),
        ({"instances": [{"x": 1}, 1]}, "Expecting object but got list at item 1 of input list"),
        (
            {"instances": [{"q": 1}]},
            "Failed to process element: 0 key: q of 'instances' list. Error: INVALID_ARGUMENT: "
            "JSON object: does not have named input: q",
        ),
        (
            {"instances": [{"x": 1}, {}]},
            "Failed to process element: 1 of 'instances' list. JSON object: {} keys must be equal "
            "to: x",
        ),
        ({"inputs": {}}, "Missing named input: x in 'inputs' object."),
        ({"signature_name": "two", "instances": [1]}, PLAIN_LIST),
        (
            {"signature_name": "two", "inputs": [1]},
            "inputs is a plain value/list, but expecting an object as multiple input tensors "
            "required as per tensorinfo_map",
        ),
        (
            {"signature_name": "two", "instances": [{"x": 1, "name": "a"}, {"x": 2}]},
            "Failed to process element: 1 of 'instances' list. JSON object: {\n"
            '    "x": 2\n} keys must be equal to: name,x',
        ),
        ({"signature_name": "text", "inputs": {"b64": "!"}}, "Unable to base64 decode"),
        (
            {"signature_name": "text", "inputs": [{"b64": 1}]},
            'JSON Value: {\n    "b64": 1\n} not formatted correctly for base64 data',
        ),
        (
            {"signature_name": "total", "instances": [1]},
            "Tensor name: y has no shape information ",
        ),
        (
            {"signature_name": "ragged", "instances": [1]},
            "Tensor name: z has inconsistent batch size: 3 expecting: 1",
        ),
        (
            {"signature_name": "half_out", "instances": [1]},
            "Failed to write JSON value for tensor type: half",
        ),
        (
            {"inputs": [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]},
            "tensor parsing error: x",
        ),
    ],
)
def test_bodies_that_do_not_fit(caller, body, text):
    assert_error(caller.post(PREDICT, body), 400, text)


def test_a_row_that_is_bytes_is_a_value_of_the_first_input(caller):
    text = (
        "input size does not match signature: 1!=2 len({name}) != len({name,x}). "
        "Sent extra: {}. Missing but required: {x}."
    )
    assert_error(caller.predict("two", instances=[{"b64": "eA=="}]), 400, text)


@pytest.mark.parametrize(
    ("dtype", "value", "shown", "kind", "expected"),
    [
        ("int32", 1.5, "1.5", "Number", "int32"),
        ("int32", 2**31, "2147483648", "Number", "int32"),
        ("int8", "1", '"1"', "String", "int8"),
        ("int64", 2**63, "9223372036854775808", "Number", "int64"),
        ("int64", True, "true", "True", "int64"),
        ("uint8", None, "null", "Null", "uint8"),
        ("uint32", -1, "-1", "Number", "uint32"),
        ("uint64", 2**64, "1.8446744073709552e+19", "Number", "uint64"),
        ("bool", 1, "1", "Number", "bool"),
        ("bool", {"b64": ""}, '{\n    "b64": ""\n}', "Object", "bool"),
    ],
)
def test_values_of_another_type(caller, dtype, value, shown, kind, expected):
    good = {name: [1] for name in ("int8", "int32", "int64", "uint8", "uint32", "uint64")}
    inputs = {**good, "bool": [True], dtype: [value]}
    assert_error(
        caller.predict("whole", inputs=inputs),
        400,
        f"JSON Value: {shown} Type: {kind} is not of expected type: {expected}",
    )


def test_floats_and_strings_of_another_type(caller):
    text = "JSON Value: false Type: False is not of expected type: float"
    assert_error(caller.predict(inputs=[1, False]), 400, text)
    text = "JSON Value: 1 Type: Number is not of expected type: string"
    assert_error(caller.predict("text", inputs=["a", 1]), 400, text)
    text = "JSON Value: null Type: Null is not of expected type: double"
    assert_error(caller.predict("double", inputs=None), 400, text)


def test_a_dtype_without_json_form_is_not_implemented(caller):
    text = "Conversion of JSON Value: 1 to type: half"
    assert_error(caller.predict("half_in", inputs=[1]), 501, text)
    text = FAILED.format(0, text).replace("INVALID_ARGUMENT", "UNIMPLEMENTED")
    assert_error(caller.predict("half_in", instances=[1]), 400, text)


def test_the_graph_refuses_as_over_grpc(caller):
    response = caller.predict(model="decoder", instances=[[1, 2, 3]])
    assert response.status_code == 400
    assert "Matrix size-incompatible: In[0]: [1,3], In[1]: [2,4]" in response.json()["error"]


def nested(depth):
    return 1 if not depth else [nested(depth - 1)]


def test_as_many_dimensions_as_numpy_has_and_no_more(caller):
    assert caller.predict(inputs=nested(32)).json() == {"outputs": nested(32)}
    assert caller.predict(instances=nested(32)).json() == {"predictions": nested(32)}
    for depth in (33, 34, 300):
        text = "tensor parsing error: x"
        assert_error(caller.predict(inputs=nested(depth)), 400, text)
        assert_error(caller.predict(instances=nested(depth)), 400, FAILED.format(0, text))


def test_a_request_that_takes_too_long(caller, monkeypatch):
    monkeypatch.setattr(rest_api, "TIMEOUT_SECONDS", 0.1)
    response = caller.predict("slow", "decoder", inputs=10**9)
    assert_error(response, 504, "Timed out waiting for notification")


def test_a_long_value_is_cut(caller):
    error = caller.post(PREDICT, {"instances": "x" * 100_000}).json()["error"]
    assert len(error) < 1200
    assert "...TRUNCATED Expecting 'instances'" in error


@pytest.mark.parametrize(
    ("path", "code", "text"),
    [
        ("/v1/models/absent:predict", 404, "Servable not found for request: Latest(absent)"),
        (
            "/v1/models/kinds/versions/6:predict",
            404,
            "Servable not found for request: Specific(kinds, 6)",
        ),
        (
            "/v1/models/kinds/versions/9223372036854775808:predict",
            400,
            "Failed to convert version: 9223372036854775808 to numeric.",
        ),
        (
            "/v1/models/kinds/labels/stab%6ce:predict",
            400,
            "Unrecognized servable version label: stable",
        ),
        ("/v1/models/kinds:PREDICT", 400, "Malformed request: POST /v1/models/kinds:PREDICT"),
        ("/v1/models/kinds", 400, "Malformed request: POST /v1/models/kinds"),
        ("/v1/models/kinds:explain", 400, "Malformed request: POST /v1/models/kinds:explain"),
        ("/v1/models/:predict", 400, "Malformed request: POST /v1/models/:predict"),
        ("/v2/models/kinds", 404, "Nothing is at /v2/models/kinds; the API is at /v1/models."),
    ],
)
def test_paths_of_post(caller, path, code, text):
    assert_error(caller.post(path, {"instances": [1]}), code, text)


@pytest.mark.parametrize(
    ("path", "code", "text"),
    [
        ("/v1/models", 400, "Missing model name in request."),
        (
            "/v1/models/metadata/metadata/x",
            400,
            "Malformed request: GET /v1/models/metadata/metadata/x",
        ),
        ("/v1/models/kinds:predict", 400, "Malformed request: GET /v1/models/kinds:predict"),
        ("/v1/models/absent", 404, "Could not find any versions of model absent"),
        ("/v1/models/kinds/versions/6", 404, "Could not find version 6 of model kinds"),
        ("/v1/models/kinds/versions/x", 400, "Malformed request: GET /v1/models/kinds/versions/x"),
        (
            "/v1/models/kinds/versions/6/metadata",
            404,
            "Servable not found for request: Specific(kinds, 6)",
        ),
        ("/v1/models/absent/metadata", 404, "Servable not found for request: Latest(absent)"),
        (
            "/v1/models/%FF/metadata",
            404,
            "Servable not found for request: Latest(\ufffd)",
        ),
        ("/", 404, "Nothing is at /; the API is at /v1/models."),
    ],
)
def test_paths_of_get(caller, path, code, text):
    assert_error(caller.get(path), code, text)


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
def test_other_methods(caller, method):
    response = caller.session.request(method, f"{caller.base}/v1/models/kinds", timeout=10)
    assert_error(response, 400, f"Malformed request: {method} /v1/models/kinds")


def test_cross_origin_requests_are_not_allowed(caller):
    url = f"{caller.base}{PREDICT}"
    assert caller.session.options(url, timeout=10).status_code == 400
    origin = {"Origin": "https://example.org"}
    preflight = caller.session.options(url, headers=origin, timeout=10)
    answer = caller.session.get(f"{caller.base}/v1/models/kinds", headers=origin, timeout=10)
    assert preflight.status_code == answer.status_code == 200
    assert not any("Access-Control" in name for name in {**preflight.headers, **answer.headers})


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (
            {"examples": {}},
            "JSON Value: {\n    \"examples\": {}\n} Expecting 'examples' value to be an list/array",
        ),
        (
            {"examples": []},
            "JSON Value: {\n    \"examples\": []\n} 'examples' value is an empty array",
        ),
        (
            {},
            "JSON Value: {} When method is classify, key 'examples' is expected and was not found",
        ),
        ({"examples": [1]}, "Example must be JSON object but got JSON Number"),
        ({"examples": [{}], "context": []}, "Example must be JSON object but got JSON Array"),
        ({"examples": [{"n": None}]}, "Feature: n has element with unexpected JSON type: Null"),
        ({"examples": [{"n": [[]]}]}, "Feature: n has element with unexpected JSON type: Array"),
        ({"examples": [{"n": {}}]}, "Feature: n has element with unexpected JSON type: Object"),
        (
            {"examples": [{"n": [1, "a"]}]},
            "Unexpected element type in feature: n expecting type: int64",
        ),
        (
            {"examples": [{"n": ["a", True]}]},
            "Unexpected element type in feature: n expecting type: bytes",
        ),
        (
            {"examples": [{"n": [1.5, 1]}]},
            "Unexpected element type in feature: n expecting type: float",
        ),
        (
            {"examples": [{"n": 2**63}]},
            "Feature: n has uint64_t element. Only int64_t is supported.",
        ),
        ({"examples": [{"n": {"b64": "?"}}]}, "Unable to base64 decode"),
        (
            {"examples": [{}], "signature_name": "absent"},
            "No signature was found with the name: absent",
        ),
        ({"examples": [{}], "signature_name": "whole"}, "Expected one input Tensor."),
    ],
)
def test_examples_that_do_not_fit(caller, body, text):
    for method in ("classify", "regress"):
        assert_error(caller.post(f"/v1/models/kinds:{method}", body), 400, text)
