"""TLS, the UNIX socket, and what is wrong with either."""

import datetime
import ipaddress
import os
import socket

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from components.errors import InputError
from serving.server import ModelServer, main
from serving.server_options import ServerOptions
from tests.serving.wire_client import BRIGHT, Client, fails

SPEC = 'name: "decoder"'


@pytest.fixture
def base_path(decoders, push, tmp_path):
    (tmp_path / "decoder").mkdir()
    push(decoders["bright"], tmp_path / "decoder", 3)
    return tmp_path / "decoder"


def self_signed():
    """Returns a key and a certificate for loopback, as PEM texts."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.timezone.utc)
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return private.decode(), certificate.public_bytes(serialization.Encoding.PEM).decode()


def ssl_config(path, **fields):
    lines = [
        f"{name}: {str(value).lower()}"
        if isinstance(value, bool)
        else "{}: {}".format(name, repr(value).replace("'", '"'))
        for name, value in fields.items()
    ]
    path.write_text("\n".join(lines))
    return path


def serve(base_path, **settings):
    return ModelServer("decoder", base_path, options=ServerOptions(**settings))


def test_tls(base_path, tmp_path):
    key, certificate = self_signed()
    file = ssl_config(tmp_path / "ssl.config", server_key=key, server_cert=certificate)
    with serve(base_path, ssl_config_file=file) as server:
        trusting = grpc.ssl_channel_credentials(certificate.encode())
        assert Client(server.target, trusting).predict(SPEC) == (3, BRIGHT)
        assert fails(Client(server.target).predict, SPEC)[0] == "UNAVAILABLE"
        stranger = grpc.ssl_channel_credentials(self_signed()[1].encode())
        assert fails(Client(server.target, stranger).predict, SPEC)[0] == "UNAVAILABLE"


def test_clients_with_certificates_only(base_path, tmp_path):
    key, certificate = self_signed()
    client_key, client_certificate = self_signed()
    file = ssl_config(
        tmp_path / "ssl.config",
        server_key=key,
        server_cert=certificate,
        custom_ca=client_certificate,
        client_verify=True,
    )
    with serve(base_path, ssl_config_file=file) as server:
        known = grpc.ssl_channel_credentials(
            certificate.encode(), client_key.encode(), client_certificate.encode()
        )
        assert Client(server.target, known).predict(SPEC) == (3, BRIGHT)
        nameless = grpc.ssl_channel_credentials(certificate.encode())
        assert fails(Client(server.target, nameless).predict, SPEC)[0] == "UNAVAILABLE"


def test_bad_tls_files(base_path, tmp_path, capsys):
    key, certificate = self_signed()
    other_key = self_signed()[0]
    file = tmp_path / "ssl.config"

    def error(**fields):
        ssl_config(file, **fields)
        arguments = [f"--model_base_path={base_path}", "--port=0", f"--ssl_config_file={file}"]
        assert main(arguments) == 1
        return capsys.readouterr().err

    assert error() == f"Error: {file} has no PEM text as server_key; put it there.\n"
    assert error(server_key=key, server_cert="/a/path.pem") == (
        f"Error: {file} has no PEM text as server_cert; put it there.\n"
    )
    assert "asks for client_verify without a custom_ca; add " in error(
        server_key=key, server_cert=certificate, client_verify=True
    )
    assert f"The key or a certificate in {file} cannot be used; " in error(
        server_key=other_key, server_cert=certificate
    )
    assert "text-format tensorflow.serving.SSLConfig" in error(key=key)


def test_a_port_in_use_is_told_with_tls_too(base_path, tmp_path, monkeypatch):
    key, certificate = self_signed()
    file = ssl_config(tmp_path / "ssl.config", server_key=key, server_cert=certificate)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        server = ModelServer(
            "decoder",
            base_path,
            port=taken.getsockname()[1],
            options=ServerOptions(ssl_config_file=file),
        )
        monkeypatch.setattr(server, "_load_first_versions", lambda *arguments: None)
        with pytest.raises(InputError, match="is in use; stop the program that listens there"):
            server.start()


def test_unix_socket(base_path, tmp_path):
    path = tmp_path / "grpc.sock"
    with serve(base_path, grpc_socket_path=path) as server:
        assert Client(f"unix:{path}").predict(SPEC) == (3, BRIGHT)
        assert Client(server.target).predict(SPEC) == (3, BRIGHT)
        with pytest.raises(InputError, match=f"^{path} is in use; stop the program that listens"):
            serve(base_path, grpc_socket_path=path).start()
        assert Client(f"unix:{path}").predict(SPEC) == (3, BRIGHT)
    assert not path.exists()


def test_a_socket_that_nobody_listens_on_is_replaced(base_path, tmp_path):
    path = tmp_path / "grpc.sock"
    with socket.socket(socket.AF_UNIX) as left_over:
        left_over.bind(str(path))
    with serve(base_path, grpc_socket_path=path):
        assert Client(f"unix:{path}").predict(SPEC) == (3, BRIGHT)


def test_paths_that_cannot_be_sockets(base_path, tmp_path, monkeypatch):
    file = tmp_path / "file"
    file.write_text("precious")
    with pytest.raises(InputError, match="is in use"):
        serve(base_path, grpc_socket_path=file).start()
    assert file.read_text() == "precious"
    with pytest.raises(InputError, match=r"^The folder of .* does not exist; make it, or correct"):
        serve(base_path, grpc_socket_path=tmp_path / "no" / "s").start()
    with pytest.raises(InputError, match="too long for a UNIX socket"):
        serve(base_path, grpc_socket_path=tmp_path / ("s" * 100)).start()
    monkeypatch.chdir(tmp_path)
    with serve(base_path, grpc_socket_path="here.sock"):
        assert os.path.exists("here.sock")
        assert Client("unix:here.sock").predict(SPEC) == (3, BRIGHT)


def test_reflection_is_off_and_loopback_is_the_default(base_path):
    with serve(base_path) as server:
        assert server.target.startswith("127.0.0.1:")
        with grpc.insecure_channel(server.target) as channel:
            method = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
            with pytest.raises(grpc.RpcError) as failure:
                next(channel.stream_stream(method)(iter([b""]), timeout=10))
    assert failure.value.code() is grpc.StatusCode.UNIMPLEMENTED
