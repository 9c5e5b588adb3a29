"""How a local run reports its steps and their failures, with components of a line each."""

import pytest
from click.testing import CliRunner
from tfx.dsl.component.experimental.annotations import Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.orchestration import pipeline as tfx_pipeline

from pipelines import pipeline as pipeline_module
from pipelines.cli import main
from pipelines.local_runner import StepFailedError, run_locally
from pipelines.metadata import sqlite_config


@component
def Greeting(message: Parameter[str]):
    if message == "fail":
        raise ValueError("the first line\nthe second line")


def make_pipeline(folder, message):
    return tfx_pipeline.Pipeline(
        pipeline_name="greetings",
        pipeline_root=str(folder / "artifacts"),
        components=[Greeting(message=message)],
        metadata_connection_config=sqlite_config(str(folder)),
        enable_cache=True,
    )


def test_steps_are_reported_as_they_start_and_end(tmp_path):
    started, ended = [], []
    steps = run_locally(make_pipeline(tmp_path, "hello"), started.append, ended.append)
    assert started == ["Greeting"]
    assert ended == steps
    assert (steps[0].node_id, steps[0].cached) == ("Greeting", False)
    (again,) = run_locally(make_pipeline(tmp_path, "hello"))
    assert again.cached
    (other,) = run_locally(make_pipeline(tmp_path, "good evening"))
    assert not other.cached


def test_a_failure_names_the_step_and_carries_its_own_error(tmp_path):
    with pytest.raises(StepFailedError, match="Greeting failed after") as info:
        run_locally(make_pipeline(tmp_path, "fail"))
    assert isinstance(info.value.__cause__, ValueError)
    assert str(info.value.__cause__) == "the first line\nthe second line"


def test_an_unforeseen_failure_is_one_line_that_tells_how_to_see_more(tmp_path, monkeypatch):
    data_dir = tmp_path / "tfds"
    data_dir.mkdir()
    monkeypatch.setattr(
        pipeline_module, "create_pipeline", lambda *args, **kwargs: make_pipeline(tmp_path, "fail")
    )
    arguments = ["--data-dir", str(data_dir), "--pipeline-root", str(tmp_path / "root")]
    result = CliRunner().invoke(main, ["run", "--recipe", "digits", *arguments])
    assert result.exit_code == 1
    last = result.output.splitlines()[-1]
    assert last.startswith("Error: Greeting failed after 0 s: ValueError: the first line ")
    assert last.endswith("(--verbose shows where)")
    assert "the second line" not in result.output
