"""Arbitrary bodies and paths: never a 500, never a crash, and later answers are unchanged."""

import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serving.rest_server import RestServer
from serving.servable import Servable
from tests.serving.rest_support import Caller, FixedRegistry, save_kinds

SETTINGS = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
KEYS = st.sampled_from(
    ["instances", "inputs", "signature_name", "examples", "context", "b64", "x", "name", "inputs"]
)
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=4)
    | st.sampled_from(["same", "two", "text", "whole", "odd", "eA==", {"b64": "eA=="}])
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)
DOCUMENTS = st.fixed_dictionaries(
    {},
    optional={
        "signature_name": st.sampled_from(
            ["same", "double", "two", "text", "odd", "ragged", "total", "half_in", "classify"]
        ),
        "instances": VALUES,
        "inputs": VALUES,
        "examples": VALUES,
        "context": VALUES,
    },
)


@pytest.fixture(scope="module")
def caller(tmp_path_factory):
    kinds = Servable(save_kinds(tmp_path_factory.mktemp("saved") / "kinds"), 5)
    server = RestServer(FixedRegistry(kinds=[kinds]), "127.0.0.1", 0)
    server.start()
    yield Caller(server.port)
    server.stop(grace=5)


def assert_sane(caller, response):
    # 501: a dtype that JSON cannot hold.
    assert response.status_code in (200, 400, 404, 501), response.text
    body = response.json()
    assert (response.status_code == 200) != ("error" in body)
    again = caller.predict(instances=[1.5, -2])
    assert again.text == '{"predictions":[1.5,-2.0]}'


@SETTINGS
@given(DOCUMENTS | VALUES, st.sampled_from(["predict", "classify", "regress"]))
def test_documents(caller, document, method):
    assert_sane(caller, caller.post(f"/v1/models/kinds:{method}", json.dumps(document)))


@SETTINGS
@given(st.binary(max_size=40) | st.text('{}[]":,0-e.NaInfity\\u', max_size=40).map(str.encode))
def test_bytes(caller, body):
    assert_sane(caller, caller.post("/v1/models/kinds:predict", b'{"inputs":' + body + b"}"))
    assert_sane(caller, caller.post("/v1/models/kinds:predict", body))


@SETTINGS
@given(st.lists(st.sampled_from(["v1", "models", "kinds", "versions", "5", "99999999999999999999",
                                 "labels", "metadata", "%00", "%", ":predict", "é", "."])),
       st.sampled_from(["", ":predict", ":classify", "?a", "/"]))  # fmt: skip
def test_paths(caller, parts, end):
    path = "/v1/" + "/".join(parts) + end
    assert_sane(caller, caller.get(path))
    assert_sane(caller, caller.post(path, {"instances": [1]}))


@SETTINGS
@given(st.data(), st.lists(st.integers(0, 3), max_size=4))
def test_regular_lists_come_back(caller, data, shape):
    size = int(np.prod(shape))
    numbers = st.floats(width=32, allow_subnormal=False)
    values = np.array(data.draw(st.lists(numbers, min_size=size, max_size=size)), np.float32)
    array = values.reshape(shape)
    response = caller.post("/v1/models/kinds:predict", json.dumps({"inputs": array.tolist()}))
    outputs = np.array(response.json()["outputs"], np.float32)
    # A list ends where a dimension is empty; what follows has no form in JSON.
    kept = shape[: shape.index(0) + 1] if 0 in shape else shape
    np.testing.assert_array_equal(outputs, array.reshape(kept))
    if shape and shape[0]:
        response = caller.post(
            "/v1/models/kinds:predict", json.dumps({"instances": array.tolist()})
        )
        rows = np.array(response.json()["predictions"], np.float32)
        np.testing.assert_array_equal(rows, array.reshape(kept))
