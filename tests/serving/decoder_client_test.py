"""The client: what it returns, and the one line it gives for everything that can go wrong."""

import socket
import threading
import time
from concurrent import futures

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from components.errors import InputError
from serving import client_channel
from serving.client import DecoderClient, TensorSpec
from serving.server import ModelServer


@pytest.fixture(scope="module")
def server(decoders, push, tmp_path_factory):
    base_path = tmp_path_factory.mktemp("base")
    push(decoders["bright"], base_path, 3)
    with ModelServer("decoder", base_path) as server:
        yield server


@pytest.fixture
def client(server):
    with DecoderClient(server.target) as client:
        yield client


@pytest.fixture
def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_generate(client):
    images = client.generate(5, seed=1)
    assert (images.shape, images.dtype) == ((5, 2, 2, 1), np.float32)
    np.testing.assert_array_equal(images, client.generate(5, seed=1))
    assert not np.array_equal(images, client.generate(5, seed=2))


@pytest.mark.parametrize(("kind", "of_mean"), [("mode", np.round), ("sample", np.floor)])
def test_generate_other_kinds(client, kind, of_mean):
    mean = client.generate(4, seed=3)
    np.testing.assert_array_equal(client.generate(4, seed=3, kind=kind), of_mean(mean))


def test_decode_converts_to_float32(client):
    images = client.decode([[0, 0], [100, 100]])
    assert images.dtype == np.float32
    np.testing.assert_allclose(images[0], np.full([2, 2, 1], 1 / (1 + np.exp(-1))), rtol=1e-6)
    assert client.decode(np.zeros([2, 2]), kind="sample").max() == 0


def test_decode_gives_back_the_latents_of_generate(client):
    outputs = client.predict("generate", {"number": np.int64(3), "seed": np.int64(4)})
    assert sorted(outputs) == ["mean", "mode", "sample", "z"]
    np.testing.assert_allclose(client.decode(outputs["z"]), outputs["mean"], rtol=1e-6)


def test_predict_returns_only_what_was_asked_for(client):
    assert list(client.predict("decode", {"z": np.zeros([1, 2], np.float32)}, ["mode"])) == ["mode"]


def test_predict_strings(client):
    outputs = client.predict("echo", {"text": np.array(["é", ""])}, ["text", "length"])
    assert outputs["text"].tolist() == ["é".encode(), b""]
    assert outputs["length"].tolist() == [2, 0]


def test_status(client):
    assert client.status() == [(3, "AVAILABLE")]


def test_metadata(client):
    signatures = client.metadata()
    assert sorted(signatures) == ["decode", "echo", "generate", "serving_default", "slow"]
    assert signatures["generate"].inputs == {
        "number": TensorSpec("int64", ()),
        "seed": TensorSpec("int64", ()),
    }
    assert signatures["decode"].inputs == {"z": TensorSpec("float32", (None, 2))}
    assert signatures["decode"].outputs["mean"] == TensorSpec("float32", (None, 2, 2, 1))


def test_nobody_answers(free_port):
    start = time.monotonic()
    with (
        DecoderClient(f"127.0.0.1:{free_port}", timeout=0.5) as client,
        pytest.raises(InputError) as failure,
    ):
        client.status()
    assert str(failure.value) == (
        f"No model server answers at 127.0.0.1:{free_port}; start one with: tfx-vae serve"
    )
    assert time.monotonic() - start < 2


def test_a_server_that_comes_later_is_waited_for(decoders, push, tmp_path, free_port):
    push(decoders["dark"], tmp_path, 1)
    server = ModelServer("decoder", tmp_path, port=free_port)
    starter = threading.Timer(0.5, server.start)
    starter.start()
    try:
        with DecoderClient(f"127.0.0.1:{free_port}") as client:
            assert client.generate(1).shape == (1, 2, 2, 1)
    finally:
        starter.join()
        server.stop()


def test_temperature_is_sent_only_when_it_is_not_one(client, monkeypatch):
    sent = []
    monkeypatch.setattr(
        client,
        "_predict",
        lambda name, signature, inputs, outputs: sent.append(inputs) or {outputs[0]: None},
    )
    client.generate(2, seed=3)
    client.generate(2, seed=3, temperature=0.25)
    client.draw_codes(1, temperature=0)
    assert sent == [
        {"number": 2, "seed": 3},
        {"number": 2, "seed": 3, "temperature": np.float32(0.25)},
        {"number": 1, "seed": 0, "temperature": np.float32(0)},
    ]
    assert sent[1]["temperature"].dtype == np.float32


@pytest.mark.parametrize("temperature", [-0.1, float("nan"), float("inf")])
def test_a_temperature_that_makes_no_sense(client, temperature):
    with pytest.raises(InputError, match=f"^The temperature {temperature} is no factor; give 0 or"):
        client.generate(1, temperature=temperature)


def test_interpolation_needs_both_ends(client):
    with pytest.raises(InputError, match=r"^1 steps leave out an end; ask for at least 2\.$"):
        client.interpolate(np.zeros(2), np.ones(2), 1)


def test_latent_size(client):
    assert client.latent_size() == 2


class Coder(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Serves an encoder, whose mean is what it was sent, and a decoder, which gives its code."""

    def __init__(self):
        self.requests = []

    def Predict(self, request, context):
        inputs = {name: tf.make_ndarray(proto) for name, proto in request.inputs.items()}
        self.requests.append((request.model_spec.name, request.model_spec.signature_name, inputs))
        response = predict_pb2.PredictResponse()
        for name in request.output_filter:
            value = inputs.get("z", np.array([[len(name), 0.5]], np.float32))
            response.outputs[name].CopyFrom(tf.make_tensor_proto(value))
        return response


FILES = [b"\x89PNG\0\0", b"GIF"]


@pytest.mark.parametrize(
    "images", [FILES, np.array(FILES, object), np.zeros([2, 3, 3, 1], np.uint8)]
)
def test_reconstruct_asks_the_encoder_and_then_the_decoder(script, images):
    coder = Coder()
    with DecoderClient(script(coder), "the decoder", encoder_name="the encoder") as client:
        reconstructed = client.reconstruct(images, kind="sample")
        posterior = client.encode(images)
    encoded, decoded, again = coder.requests
    (value,) = encoded[2].values()
    if isinstance(images, np.ndarray) and images.dtype == np.uint8:
        assert encoded[:2] == ("the encoder", "encode_pixels")
        np.testing.assert_array_equal(value, images)
    else:
        assert encoded[:2] == ("the encoder", "encode")
        assert value.tolist() == FILES
    assert decoded[:2] == ("the decoder", "decode")
    np.testing.assert_array_equal(decoded[2]["z"], [[4, 0.5]])
    np.testing.assert_array_equal(reconstructed, [[4, 0.5]])
    assert again[0] == "the encoder"
    assert [part[0, 0] for part in posterior] == [4, 12, 4]
    assert posterior.log_variance[0, 0] == len("log_variance")


@pytest.mark.parametrize(
    ("name", "images", "message"),
    [
        (None, FILES, "This client knows no encoder; give DecoderClient its encoder_name."),
        ("e", np.zeros([2, 3, 3, 1]), r"Pixels of type float64 and shape \[2, 3, 3, 1\] are no im"),
        ("e", np.zeros([3, 3], np.uint8), r"Pixels of type uint8 and shape \[3, 3\] are no images"),
    ],
)
def test_images_that_cannot_be_encoded(name, images, message):
    with (
        DecoderClient("127.0.0.1:1", encoder_name=name) as client,
        pytest.raises(InputError, match=f"^{message}"),
    ):
        client.encode(images)


class Scripted(prediction_service_pb2_grpc.PredictionServiceServicer):
    """A server that fails with the given codes, one a request, and then answers."""

    def __init__(self, failures, pause=0.0):
        self.failures = list(failures)
        self.requests = 0
        self.pause = pause

    def Predict(self, request, context):
        self.requests += 1
        time.sleep(self.pause)
        if self.failures:
            context.abort(*self.failures.pop(0))
        response = predict_pb2.PredictResponse()
        response.outputs["mean"].dtype = 1
        response.outputs["mean"].float_val.append(1.5)
        return response


@pytest.fixture
def script():
    servers = []

    def start(service, address="127.0.0.1:0"):
        server = grpc.server(futures.ThreadPoolExecutor(4))
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(service, server)
        port = server.add_insecure_port(address)
        server.start()
        servers.append(server)
        return f"127.0.0.1:{port}"

    yield start
    for server in servers:
        server.stop(None)


BUSY = (grpc.StatusCode.UNAVAILABLE, "The batch scheduling queue ... is full")


def test_unavailable_is_tried_again(script):
    service = Scripted([BUSY, BUSY])
    with DecoderClient(script(service)) as client:
        assert client.predict("decode", {})["mean"] == 1.5
    assert service.requests == 3


def test_pauses_double_and_vary(script, monkeypatch):
    pauses = []
    monkeypatch.setattr(client_channel.time, "sleep", pauses.append)
    # The server pauses by the same function.
    service = Scripted([BUSY] * 6, pause=-1.0)
    with DecoderClient(script(service), timeout=60) as client:
        client.predict("decode", {})
    pauses = [pause for pause in pauses if pause != -1.0]
    for pause, longest in zip(pauses, [0.1, 0.2, 0.4, 0.8, 1.0, 1.0], strict=True):
        assert longest / 2 <= pause <= longest
    assert len({round(pause, 9) for pause in pauses}) == 6
    assert pauses != [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]


def test_a_socket_is_a_target_too(script, tmp_path):
    service = Scripted([])
    script(service, f"unix:{tmp_path}/socket")
    with DecoderClient(f"unix:{tmp_path}/socket") as client:
        assert client.predict("decode", {})["mean"] == 1.5
    with (
        DecoderClient(f"unix:{tmp_path}/nothing", timeout=0.3) as client,
        pytest.raises(InputError, match=f"No model server answers at unix:{tmp_path}/nothing; "),
    ):
        client.status()


def test_a_server_that_stays_busy_is_quoted(script):
    service = Scripted([BUSY] * 100)
    target = script(service)
    with DecoderClient(target, timeout=0.5) as client, pytest.raises(InputError) as failure:
        client.predict("decode", {})
    assert str(failure.value) == (
        f"The model server at {target} answered UNAVAILABLE: The batch scheduling queue ... is full"
    )
    assert 2 <= service.requests <= 5


def test_other_errors_are_not_tried_again(script):
    service = Scripted([(grpc.StatusCode.INTERNAL, "first line\n\t second line")])
    target = script(service)
    with DecoderClient(target) as client, pytest.raises(InputError) as failure:
        client.predict("decode", {})
    assert service.requests == 1
    assert str(failure.value) == (
        f"The model server at {target} answered INTERNAL: first line second line"
    )


def test_a_slow_server(script):
    target = script(Scripted([], pause=1.0))
    with DecoderClient(target, timeout=0.3) as client, pytest.raises(InputError) as failure:
        client.predict("decode", {})
    assert str(failure.value) == f"The model server at {target} did not answer within 0.3 s."


def test_the_servers_text_is_passed_on(client, server):
    with pytest.raises(InputError) as failure:
        client.predict("decode", {"z": np.zeros([1, 2], bool)})
    assert str(failure.value) == (
        f"The model server at {server.target} answered INVALID_ARGUMENT: "
        "Expects arg[0] to be float but bool is provided"
    )


def test_an_error_of_the_graph_is_one_line(client):
    with pytest.raises(InputError, match="Matrix size-incompatible") as failure:
        client.decode(np.zeros([1, 3]))
    assert "\n" not in str(failure.value)


def test_unknown_model(server):
    with (
        DecoderClient(server.target, "other") as client,
        pytest.raises(InputError, match=r"NOT_FOUND: Servable not found for request: Latest"),
    ):
        client.generate(1)


@pytest.mark.parametrize("number", [0, -1])
def test_a_number_of_images_that_makes_no_sense(client, number):
    with pytest.raises(InputError, match=f"^{number} images were asked for; ask for at least 1.$"):
        client.generate(number)


def test_unknown_kind(client):
    with pytest.raises(InputError, match="'median' does not exist; use mean, mode or sample"):
        client.decode(np.zeros([1, 2]), kind="median")
