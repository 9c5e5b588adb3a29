"""TF Serving's own configuration files, and the one for docker compose."""

import functools
import http.server
import re
import subprocess
import threading
from pathlib import Path

import pytest
import yaml
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format
from tensorflow_serving.config import model_server_config_pb2

_DEPLOY = Path(__file__).parents[2] / "serving" / "deploy"


def _monitoring_config():
    """MonitoringConfig of TF Serving 2.16.1, which its package for Python leaves out."""
    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="m.proto", package="deploy", syntax="proto3")
    inner = file.message_type.add(name="PrometheusConfig")
    inner.field.add(name="enable", number=1, label=1, type=field.TYPE_BOOL)
    inner.field.add(name="path", number=2, label=1, type=field.TYPE_STRING)
    outer = file.message_type.add(name="MonitoringConfig")
    outer.field.add(
        name="prometheus_config",
        number=1,
        label=1,
        type=field.TYPE_MESSAGE,
        type_name=".deploy.PrometheusConfig",
    )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    kind = pool.FindMessageTypeByName("deploy.MonitoringConfig")
    return message_factory.MessageFactory(pool).GetPrototype(kind)()


def test_models_config():
    text = (_DEPLOY / "config" / "models.config").read_text()
    config = text_format.Parse(text, model_server_config_pb2.ModelServerConfig())
    (model,) = config.model_config_list.config
    assert (model.name, model.base_path) == ("decoder", "/models/decoder")
    assert model.model_platform == "tensorflow"
    assert model.model_version_policy.latest.num_versions == 1


def test_monitoring_config():
    text = (_DEPLOY / "config" / "monitoring.config").read_text()
    config = text_format.Parse(text, _monitoring_config()).prometheus_config
    assert config.enable
    assert config.path == "/monitoring/prometheus/metrics"


@pytest.fixture
def compose():
    return yaml.safe_load((_DEPLOY / "docker-compose.yml").read_text())["services"]["decoder"]


def test_compose_mounts_what_the_flags_name(compose):
    mounts = {}
    for volume in compose["volumes"]:
        source, target, mode = re.fullmatch(r"(.+?):(/[^:]+):(\w+)", volume).groups()
        assert mode == "ro"
        mounts[target] = source
    assert "/models/decoder" in mounts
    config = _DEPLOY / mounts["/etc/tensorflow-serving"]
    flags = dict(flag[2:].split("=", 1) for flag in compose["command"])
    for name in ("model_config_file", "monitoring_config_file"):
        folder, _, file = flags[name].rpartition("/")
        assert folder == "/etc/tensorflow-serving"
        assert (config / file).is_file()
    (default,) = re.fullmatch(r"\$\{SERVING_DIR:-(.+)\}", mounts["/models/decoder"]).groups()
    # Where `tfx-vae run --recipe digits` pushes to, from the top of the repository.
    assert (_DEPLOY / default).resolve() == _DEPLOY.parents[1] / "runs/digits/serving/decoder"


def test_compose_is_restricted_and_on_this_machine_alone(compose):
    assert compose["read_only"]
    assert compose["cap_drop"] == ["ALL"]
    assert compose["security_opt"] == ["no-new-privileges:true"]
    assert not compose["user"].startswith("0")
    assert set(compose["deploy"]["resources"]["limits"]) == {"cpus", "memory"}
    ports = {port.rpartition(":")[2] for port in compose["ports"]}
    assert ports == {"8500", "8501"}
    assert all(port.startswith("127.0.0.1:") for port in compose["ports"])
    assert re.fullmatch(r"tensorflow/serving:\d+\.\d+\.\d+", compose["image"])


class _Answer(http.server.BaseHTTPRequestHandler):
    """Answers as the REST port does while a version serves (200) or none does (404)."""

    def __init__(self, status, *args):
        self._status = status
        super().__init__(*args)

    def do_GET(self):
        self.send_response(self._status if self.path == "/v1/models/decoder/metadata" else 500)
        self.end_headers()

    def log_message(self, *args):
        pass


@pytest.mark.parametrize(("status", "healthy"), [(200, True), (404, False), (None, False)])
def test_the_health_check_knows_whether_a_version_serves(compose, status, healthy):
    kind, *command = compose["healthcheck"]["test"]
    assert kind == "CMD"
    handler = functools.partial(_Answer, status)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        port = server.server_address[1]
        command[-1] = command[-1].replace("/8501", f"/{port}")
        if status is None:
            server.server_close()
        else:
            threading.Thread(target=server.serve_forever, daemon=True).start()
        result = subprocess.run(command, capture_output=True, timeout=20)
        if status is not None:
            server.shutdown()
    assert (result.returncode == 0) == healthy, result.stderr
