"""`tfx-vae serve`: which flags reach the model server."""

import pytest
from click.testing import CliRunner

from pipelines.cli import main


@pytest.fixture
def served(monkeypatch):
    """Runs the command, and returns the arguments of the server."""

    def run(*arguments):
        seen = []
        monkeypatch.setattr("serving.server.main", lambda given: seen.extend(given) or 0)
        result = CliRunner().invoke(main, ["serve", *arguments])
        assert result.exit_code == 0, result.output
        return seen

    return run


def test_one_model(served):
    assert served("models/decoder", "--port", "0", "--rest-api-port", "8501") == [
        "--port=0",
        "--host=127.0.0.1",
        "--rest_api_port=8501",
        "--model_name=decoder",
        "--model_base_path=models/decoder",
    ]


def test_several_models_and_other_flags(served):
    arguments = ["--model-config-file", "models.config"]
    flags = ["--server-flag", "grpc_max_threads=3", "--server-flag", "--grpc_socket_path=s"]
    assert served(*arguments, *flags) == [
        "--port=8500",
        "--host=127.0.0.1",
        "--model_config_file=models.config",
        "--grpc_max_threads=3",
        "--grpc_socket_path=s",
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Give either SERVING_DIR or a --model-config-file."),
        (["folder", "--model-config-file", "f"], "Give either SERVING_DIR or a"),
        (["--model-name", "m", "--model-config-file", "f"], "leave out --model_name and"),
    ],
)
def test_what_does_not_fit_together(arguments, message):
    result = CliRunner().invoke(main, ["serve", *arguments])
    assert result.exit_code == 1
    assert message in result.output
