"""The REST API and the Prometheus page of a server that also speaks gRPC."""

import json
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from components.errors import InputError
from serving.server import ModelServer
from serving.server_options import ServerOptions
from tests.serving.wire_client import BRIGHT, Client

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def base_path(decoders, push, tmp_path):
    (tmp_path / "decoder").mkdir()
    push(decoders["bright"], tmp_path / "decoder", 3)
    return tmp_path / "decoder"


def get(target, path):
    with urllib.request.urlopen(f"http://{target}{path}", timeout=10) as response:
        return response.read().decode()


def test_one_server_two_protocols(base_path, tmp_path):
    monitoring = tmp_path / "monitoring.config"
    monitoring.write_text("prometheus_config { enable: true }")
    options = ServerOptions(rest_api_port=0, monitoring_config_file=monitoring)
    with ModelServer("decoder", base_path, options=options) as server:
        assert Client(server.target).predict('name: "decoder"') == (3, BRIGHT)
        status = json.loads(get(server.rest_target, "/v1/models/decoder"))
        assert status["model_version_status"][0]["version"] == "3"
        page = get(server.rest_target, "/monitoring/prometheus/metrics")
    # Of gRPC, REST and the loading of the model.
    assert 'request_latency_count{model_name="decoder",API="Predict",entrypoint="GRPC"} 1' in page
    assert 'entrypoint="REST"} 1' in page
    assert f'load_attempt_count{{model_path="{base_path / "3"}",status="success"}} 1' in page
    with pytest.raises(urllib.error.URLError):
        get(server.rest_target, "/v1/models/decoder")


def test_the_page_is_off_unless_enabled(base_path, tmp_path):
    monitoring = tmp_path / "monitoring.config"
    monitoring.write_text('prometheus_config { path: "/metrics" }')
    options = ServerOptions(rest_api_port=0, monitoring_config_file=monitoring)
    with (
        ModelServer("decoder", base_path, options=options) as server,
        pytest.raises(urllib.error.HTTPError),
    ):
        get(server.rest_target, "/metrics")
    monitoring.write_text('prometheus_config { enable: true path: "metrics" }')
    with pytest.raises(InputError, match="is not absolute; begin it with a slash"):
        ModelServer("decoder", base_path, options=options).start()


def test_no_rest_unless_asked_for(base_path):
    with ModelServer("decoder", base_path) as server:
        assert server.rest_target is None


def test_rest_port_in_use(base_path, monkeypatch):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        options = ServerOptions(rest_api_port=port)
        with pytest.raises(InputError, match=r"in use; .* or give another --rest_api_port"):
            ModelServer("decoder", base_path, options=options).start()
        # Taken while the model was loading: the gRPC port is closed again.
        monkeypatch.setattr("serving.server.check_can_listen", lambda *arguments: None)
        server = ModelServer("decoder", base_path, options=options)
        with pytest.raises(InputError, match="for REST"):
            server.start()
    assert server.version is None
    with socket.socket() as connection:
        assert connection.connect_ex(("127.0.0.1", server.port)) != 0


def test_command(base_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "serving.server", "--port=0", f"--rest_api_port={port}"]
    process = subprocess.Popen(
        [*command, f"--model_base_path={base_path}"],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        line = process.stdout.readline()
        assert line.startswith("Serving default version 3 on 127.0.0.1:")
        assert line.endswith(f" (gRPC), http://127.0.0.1:{port} (REST)\n")
        assert "AVAILABLE" in get(f"127.0.0.1:{port}", "/v1/models/default")
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 0
    finally:
        process.kill()
        process.communicate()
