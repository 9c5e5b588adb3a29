"""The command line: help, recipes, and one clear line for every mistake."""

import socket

import click
import pytest
from click.testing import CliRunner

from pipelines.cli import main
from pipelines.recipe import recipe_names


def invoke(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.mark.parametrize(
    "name",
    [
        "run",
        "rollback",
        "serve",
        "generate",
        "interpolate",
        "manifold",
        "recipes",
        "gate",
        "gate explain",
    ],
)
def test_help_describes_every_option(name):
    result = invoke(*name.split(), "--help")
    assert result.exit_code == 0
    command = main
    for part in name.split():
        command = command.commands[part]
    assert command.help
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, parameter.name
            assert parameter.opts[0] in result.output


def test_recipes_are_listed_with_their_descriptions():
    result = invoke("recipes")
    assert result.exit_code == 0
    lines = {line.split()[0]: line for line in result.output.splitlines()}
    assert list(lines) == recipe_names()
    assert "no download" in lines["digits"]


def test_recipes_show_prints_every_field():
    result = invoke("recipes", "show", "mnist")
    assert result.exit_code == 0
    for text in ("dataset: mnist", "latent_size: 16", "floor: -180", "binarization: threshold"):
        assert text in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "--recipe", "nope"], "There is no recipe 'nope'; choose one of cifar10"),
        (["run", "--recipe", "digits", "--dataset", "mnits"], "did you mean mnist"),
        (["run", "--recipe", "digits", "--dataset", "./nothing"], "There is no folder ./nothing"),
        (["run", "--recipe", "digits", "--epochs", "0"], "epochs must be at least 1, not 0"),
        (["run", "--recipe", "digits", "--set", "epochs"], "--set 'epochs' is not of the form"),
        (["run", "--recipe", "digits", "--split", "=x"], "--split '=x' is not of the form"),
        (["run", "--recipe", "digits", "--set", "foo=1"], "A recipe has no field 'foo'"),
        (["run", "--recipe", "mnist", "--data-dir", "./nothing"], "data_dir ./nothing does not"),
        (["run", "--recipe", "mnist", "--manual-dir", "./nothing"], "manual_dir ./nothing does"),
        (["recipes", "show", "nope"], "There is no recipe 'nope'"),
        (["generate", "--output", "nothing/a.png"], "nothing is not a folder; make it"),
        (["generate", "--temperature", "-1"], "The temperature -1.0 is no factor; give 0 or more."),
        (["generate", "--temperature", "nan"], "The temperature nan is no factor"),
        (["manifold", "--output", "nothing/a.png"], "nothing is not a folder; make it"),
        (["manifold", "--dimensions", "0;1"], "--dimensions '0;1' is not of the form A,B"),
    ],
)
def test_mistakes_end_with_one_line_and_nothing_written(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = invoke(*arguments)
    assert result.exit_code == 1
    assert message in result.output
    assert result.output.startswith("Error: ")
    assert len(result.output.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_pipeline_root_that_cannot_be_written_is_named(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    result = invoke("run", "--recipe", "digits", "--pipeline-root", blocked / "root")
    assert result.exit_code == 1
    assert f"Cannot write to the pipeline root {blocked}/root" in result.output
    assert "--pipeline-root" in result.output


@pytest.mark.parametrize(
    ("split", "message"),
    [
        ("test=train[100%:]", "Split 'train[100%:]' is empty"),
        ("test=validation", "Unknown split 'validation'. Should be one of ['train']"),
        ("test=train[:3%]", "The test split has 54 images, but the gate asks for 100"),
    ],
)
def test_splits_that_cannot_be_used_are_named_before_any_step(split, message, tmp_path):
    data_dir = tmp_path / "tfds"
    data_dir.mkdir()
    arguments = ["--data-dir", data_dir, "--pipeline-root", tmp_path / "root", "--split", split]
    result = invoke("run", "--recipe", "digits", *arguments)
    assert result.exit_code == 1
    assert message in result.output
    assert list((tmp_path / "root").iterdir()) == []


def test_serving_a_port_in_use_names_it(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        (tmp_path / "1").mkdir()
        result = invoke("serve", tmp_path, "--port", port)
    assert result.exit_code == 1
    assert f"Port {port} on 127.0.0.1 is in use" in result.output


def test_serving_a_folder_that_is_missing_names_it(tmp_path):
    result = invoke("serve", tmp_path / "nothing")
    assert result.exit_code == 1
    assert f"{tmp_path}/nothing is not a directory" in result.output


def test_generating_without_a_server_says_how_to_start_one(tmp_path):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        target = f"127.0.0.1:{unused.getsockname()[1]}"
        result = invoke("generate", "--server", target, "--output", tmp_path / "a.png")
    assert result.exit_code == 1
    assert f"No model server answers at {target}" in result.output
    assert "tfx-vae serve" in result.output
    assert list(tmp_path.iterdir()) == []
