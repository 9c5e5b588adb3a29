"""The client over TLS, against a server with real certificates."""

import shutil
import subprocess
from concurrent import futures

import grpc
import pytest
from tensorflow_serving.apis import get_model_status_pb2, model_service_pb2_grpc

from components.errors import InputError
from serving.client import DecoderClient
from serving.client_channel import Tls

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the keys")


class _Status(model_service_pb2_grpc.ModelServiceServicer):
    def GetModelStatus(self, request, context):
        response = get_model_status_pb2.GetModelStatusResponse()
        response.model_version_status.add(version=7, state="AVAILABLE")
        return response


def _openssl(*arguments):
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    """Folder with an authority `ca`, `server` and `client` signed by it, and a `stranger`."""
    folder = tmp_path_factory.mktemp("keys")
    for name in ("ca", "stranger"):
        self_signed = ["-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
        files = ["-keyout", folder / f"{name}.key", "-out", folder / f"{name}.crt"]
        _openssl("req", *self_signed, *files, "-subj", f"/CN={name}")
    (folder / "names").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
    for name in ("server", "client"):
        key, request = folder / f"{name}.key", folder / f"{name}.csr"
        _openssl(
            *("req", "-newkey", "rsa:2048", "-nodes", "-keyout", key),
            *("-out", request, "-subj", f"/CN={name}"),
        )
        _openssl(
            *("x509", "-req", "-in", request, "-out", folder / f"{name}.crt", "-days", "2"),
            *("-CA", folder / "ca.crt", "-CAkey", folder / "ca.key", "-CAcreateserial"),
            *("-extfile", folder / "names"),
        )
    return folder


@pytest.fixture(scope="module")
def targets(keys):
    """Addresses of a server that lets everyone in, and of one that asks for certificates."""
    pair = [((keys / "server.key").read_bytes(), (keys / "server.crt").read_bytes())]
    ca = (keys / "ca.crt").read_bytes()
    servers, addresses = [], {}
    for name, credentials in {
        "open": grpc.ssl_server_credentials(pair),
        "closed": grpc.ssl_server_credentials(pair, ca, require_client_auth=True),
    }.items():
        server = grpc.server(futures.ThreadPoolExecutor(2))
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(_Status(), server)
        addresses[name] = f"127.0.0.1:{server.add_secure_port('127.0.0.1:0', credentials)}"
        server.start()
        servers.append(server)
    yield addresses
    for server in servers:
        server.stop(None)


def test_an_encrypted_call(keys, targets):
    with DecoderClient(targets["open"], tls=Tls(keys / "ca.crt")) as client:
        assert client.status() == [(7, "AVAILABLE")]


def test_a_server_that_asks_who_calls(keys, targets):
    tls = Tls(keys / "ca.crt", keys / "client.key", keys / "client.crt")
    with DecoderClient(targets["closed"], tls=tls) as client:
        assert client.status() == [(7, "AVAILABLE")]
    with (
        DecoderClient(targets["closed"], timeout=1, tls=Tls(keys / "ca.crt")) as client,
        pytest.raises(InputError) as failure,
    ):
        client.status()
    assert "\n" not in str(failure.value)


def test_a_server_whose_certificate_is_not_trusted(keys, targets):
    with (
        DecoderClient(targets["open"], timeout=1, tls=Tls(keys / "stranger.crt")) as client,
        pytest.raises(InputError, match=r"(?i)handshake.*; check that one serves there") as failure,
    ):
        client.status()
    assert "\n" not in str(failure.value)


def test_a_server_that_does_not_encrypt(keys):
    server = grpc.server(futures.ThreadPoolExecutor(2))
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(_Status(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with (
        DecoderClient(f"127.0.0.1:{port}", timeout=1, tls=Tls(keys / "ca.crt")) as client,
        pytest.raises(
            InputError, match=rf"^No model server answers over TLS at 127.0.0.1:{port} \("
        ),
    ):
        client.status()
    server.stop(None)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(InputError, match=r"The TLS file .*/no.pem cannot be read \(No such file"):
        DecoderClient(tls=Tls(tmp_path / "no.pem"))
    with pytest.raises(InputError, match="client_key and client_certificate together, or neither"):
        Tls(tmp_path / "ca.crt", client_key=tmp_path / "client.key")
