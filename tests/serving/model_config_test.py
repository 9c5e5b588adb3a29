"""What a configuration may say: TF Serving's checks and texts, and files in text format."""

import re
from pathlib import Path

import grpc
import pytest
from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from components.errors import InputError
from serving.config_messages import MonitoringConfig, SSLConfig
from serving.model_config import model_settings, one_model
from serving.server import ModelServer, main
from serving.server_options import ServerOptions
from serving.status import StatusError
from serving.text_proto import read_text_proto


def parse(text):
    return text_format.Parse(text, model_server_config_pb2.ModelServerConfig())


def test_what_is_read():
    models = model_settings(
        parse(
            """
            model_config_list {
              config {
                name: "a" base_path: "/models/a" model_platform: "tensorflow"
                model_version_policy { specific { versions: 3 versions: 4 } }
                version_labels { key: "stable" value: 3 }
              }
              config { name: "b" base_path: "/models/a" model_type: TENSORFLOW }
            }
            """
        )
    )
    assert list(models) == ["a", "b"]
    assert models["a"].base_path == models["b"].base_path == Path("/models/a")
    assert models["a"].policy.specific.versions == [3, 4]
    assert models["a"].labels == {"stable": 3}
    assert models["b"].policy.WhichOneof("policy_choice") is None
    assert models["b"].labels == {}


def test_one_model_is_a_valid_configuration():
    models = model_settings(one_model("m", Path("/models/m")))
    assert [(model.name, model.base_path) for model in models.values()] == [
        ("m", Path("/models/m"))
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "",
            "ServerModelConfig type not supported by HandleReloadConfigRequest. "
            "Only ModelConfigList is currently supported",
        ),
        (
            "custom_model_config {}",
            "ServerModelConfig type not supported by HandleReloadConfigRequest. "
            "Only ModelConfigList is currently supported",
        ),
        (
            'model_config_list { config { name: "m" base_path: "/m" } '
            'config { name: "m" base_path: "/n" } }',
            "Illegal to list model m multiple times in config list",
        ),
        (
            'model_config_list { config { name: "m" base_path: "models/m" } }',
            "Expected model m to have an absolute path or URI; got base_path()=models/m",
        ),
        (
            'model_config_list { config { name: "m" base_path: "/m" } }',
            "Illegal setting neither ModelServerConfig::model_type (deprecated) nor "
            "ModelServerConfig::model_platform, model name is m",
        ),
        (
            'model_config_list { config { name: "m" base_path: "/m" model_type: TENSORFLOW '
            'model_platform: "tensorflow" } }',
            "Illegal setting both ModelServerConfig::model_type (deprecated) and "
            "ModelServerConfig::model_platform, model name is m",
        ),
        (
            'model_config_list { config { name: "m" base_path: "/m" model_type: OTHER } }',
            "ModelServerConfig::model_type choice 2 not supported.",
        ),
        (
            'model_config_list { config { name: "m" base_path: "/m" model_platform: "torch" } }',
            "Model m requests unsupported platform torch",
        ),
        (
            'model_config_list { config { name: "old" base_path: "/m" model_platform: "torch" } }',
            "Illegal to change a model's platform. For model old platform was tensorflow and new "
            "platform requested is torch",
        ),
        (
            'model_config_list { config { base_path: "/m" model_platform: "tensorflow" } }',
            "A model of the config list has no name.",
        ),
    ],
)
def test_what_is_refused(text, message):
    with pytest.raises(StatusError) as failure:
        model_settings(parse(text), ["old"])
    assert (failure.value.code, failure.value.message) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        message,
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "Cannot read {path} (No such file or directory); correct the path or the file."),
        (b"\xff", "Cannot read {path} (not UTF-8); correct the path or the file."),
        (
            b"models: 3",
            "Error parsing text-format tensorflow.serving.ModelServerConfig: {path}:1:1 : Message "
            'type "tensorflow.serving.ModelServerConfig" has no field named "models".; '
            "correct the file.",
        ),
        (b"", "{path} has no model_config_list; add one."),
        (
            b'model_config_list { config { name: "m" base_path: "/m" model_platform: "x" } }',
            "Model m requests unsupported platform x; correct {path}.",
        ),
        (
            b'model_config_list { config { name: "m" base_path: "/no" model_type: TENSORFLOW } }',
            "The base path /no of model m is not a directory; push a model there first, or "
            "correct {path}.",
        ),
    ],
)
def test_bad_files(tmp_path, capsys, content, message):
    path = tmp_path / "models.config"
    if content is not None:
        path.write_bytes(content)
    assert main(["--model_config_file", str(path), "--port", "0"]) == 1
    assert capsys.readouterr().err == f"Error: {message.format(path=path)}\n"


@pytest.mark.parametrize("flag", ["--model_name=m", "--model_base_path=/m"])
def test_a_file_and_one_model_exclude_each_other(capsys, flag):
    assert main(["--model_config_file=models.config", flag]) == 1
    assert "leave out --model_name and --model_base_path, or the file." in capsys.readouterr().err


def test_a_label_cannot_be_given_before_anything_is_loaded(tmp_path):
    path = tmp_path / "models.config"
    path.write_text(
        f'model_config_list {{ config {{ name: "m" base_path: "{tmp_path}" '
        'model_platform: "tensorflow" version_labels { key: "stable" value: 1 } } }'
    )
    with pytest.raises(InputError) as failure:
        ModelServer(options=ServerOptions(model_config_file=path)).start()
    assert str(failure.value) == (
        "Request to assign label to version 1 of model m, which is not currently available for "
        "inference; start with --allow_version_labels_for_unavailable_models, or assign the label "
        "when the version is loaded."
    )


def test_messages_that_the_stubs_leave_out(tmp_path):
    path = tmp_path / "file"
    path.write_text('prometheus_config { enable: true path: "/metrics" }')
    monitoring = read_text_proto(path, MonitoringConfig)
    assert monitoring.prometheus_config.enable is True
    assert monitoring.prometheus_config.path == "/metrics"
    path.write_text('server_key: "k" server_cert: "c" custom_ca: "a" client_verify: true')
    tls = read_text_proto(path, SSLConfig)
    assert (tls.server_key, tls.server_cert, tls.custom_ca, tls.client_verify) == (
        "k",
        "c",
        "a",
        True,
    )
    with pytest.raises(
        InputError, match=re.escape("text-format tensorflow.serving.MonitoringConfig")
    ):
        read_text_proto(path, MonitoringConfig)
