"""What keeps one client from taking the whole server."""

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2

from serving.server import ModelServer
from serving.server_options import ServerOptions
from tests.serving.wire_client import BRIGHT, Client, fails

SPEC = 'name: "decoder"'


@pytest.fixture
def base_path(decoders, push, tmp_path):
    push(decoders["bright"], tmp_path, 3)
    return tmp_path


def request(signature, **inputs):
    message = predict_pb2.PredictRequest()
    message.model_spec.name = "decoder"
    message.model_spec.signature_name = signature
    for name, value in inputs.items():
        message.inputs[name].CopyFrom(tf.make_tensor_proto(value))
    return message


def test_large_requests(base_path):
    options = ServerOptions(max_request_bytes=100_000)
    with ModelServer("decoder", base_path, options=options) as server:
        client = Client(server.target)

        def ask(rows):
            large = request("decode", z=np.zeros([rows, 2], np.float32))
            return client.prediction.Predict(large, timeout=10)

        assert len(ask(10_000).outputs["mean"].float_val) == 40_000
        assert fails(ask, 13_000) == (
            "RESOURCE_EXHAUSTED",
            "SERVER: Received message larger than max (104047 vs. 100000)",
        )
        # The connection survives it.
        assert client.predict(SPEC) == (3, BRIGHT)


def test_compressed_requests_are_refused_unread(base_path):
    """A megabyte of gzip can be a gigabyte of zeros, which gRPC would unpack before it counts."""
    with ModelServer("decoder", base_path) as server:
        client = Client(server.target)
        code, details = fails(
            lambda: client.prediction.Predict(
                request("decode", z=np.zeros([1, 2], np.float32)),
                timeout=10,
                compression=grpc.Compression.Gzip,
            )
        )
        assert (code, details) == (
            "UNIMPLEMENTED",
            "Compression algorithm 'gzip' is disabled.",
        )
        assert client.predict(SPEC) == (3, BRIGHT)


def test_many_requests(base_path, eventually):
    options = ServerOptions(max_requests_in_flight=2, grpc_max_threads=1)
    with ModelServer("decoder", base_path, options=options) as server:
        client = Client(server.target)
        slow = request("slow", iterations=np.int64(100_000))
        # The second waits for the only thread.
        running = client.prediction.Predict.future(slow, timeout=30)
        manager = server.registry.managers["decoder"]
        eventually(lambda: manager._available[3].users == 1)
        waiting = client.prediction.Predict.future(slow, timeout=30)
        eventually(lambda: server._grpc._server._state.active_rpc_count == 2)
        assert manager._available[3].users == 1
        assert fails(client.predict, SPEC) == (
            "RESOURCE_EXHAUSTED",
            "Concurrent RPC limit exceeded!",
        )
        assert not running.done()
        running.result()
        waiting.result()
        assert client.predict(SPEC) == (3, BRIGHT)
