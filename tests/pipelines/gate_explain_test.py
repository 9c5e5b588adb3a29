"""`tfx-vae gate explain`: the verdict of the last run, from ML Metadata and `gate.json`."""

import dataclasses
import io

import pytest
from click.testing import CliRunner
from rich.console import Console
from tfx.dsl.component.experimental.annotations import OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.orchestration import pipeline as tfx_pipeline
from tfx.types import standard_artifacts

from components.elbo_evaluator.config import GateConfig
from components.elbo_evaluator.measurements import Comparison, Measurements
from components.elbo_evaluator.results import gate_json, read_gate_result
from components.elbo_evaluator.rules import Rule
from components.image_binarizer import ImageFormat
from pipelines.cli import main
from pipelines.gate_table import print_gate
from pipelines.local_runner import StepFailedError, run_locally
from pipelines.metadata import sqlite_config

RULES = (
    Rule("signatures", "they agree", True),
    Rule("kl weight", "as it says", True, "not asked: its loss was not that of a KL weight"),
    Rule(
        "floor", "high", False, "elbo is low, with [2, 3]", "≥ -50.00", -50, -100.0, None, None, 2.0
    ),
    Rule("champion", "gains", True, "", "> +0.00", 0.0, -100.0, -250.0, 150.0, 1.5),
    Rule("sample classes", "all", False, "its samples hardly show class 3", "≤ 0", 0, 1),
)
DIAGNOSIS = ("KL counted twice: it is.", "Over-regularised: a rate of 2.0 nats.")


def text_of(rules=RULES, diagnosis=DIAGNOSIS, bless_anyway=""):
    measured = Measurements(
        ImageFormat(28, 28, 1, "threshold"),
        overall=Comparison({"elbo": -100.0}, {"elbo": -250.0}),
        champion="registered champion, version 3",
    )
    return gate_json(measured, rules, diagnosis, GateConfig(), bless_anyway)


@component
def ElboEvaluator(
    text: Parameter[str], evaluation: OutputArtifact[standard_artifacts.ModelEvaluation]
):
    import os

    from tfx.utils import io_utils

    if not text:
        raise ValueError("the judge is ill")
    io_utils.write_string_file(os.path.join(evaluation.uri, "gate.json"), text)


def judge(root, text, name="digits"):
    """A run of a pipeline whose only step writes this `gate.json`."""
    root.mkdir(parents=True, exist_ok=True)
    pipeline = tfx_pipeline.Pipeline(
        pipeline_name=name,
        pipeline_root=str(root / "artifacts"),
        components=[ElboEvaluator(text=text)],
        metadata_connection_config=sqlite_config(str(root)),
    )
    run_locally(pipeline)


def explain(*arguments):
    return CliRunner().invoke(main, ["gate", "explain", *map(str, arguments)])


def lines_of(output):
    return [" ".join(line.split()) for line in output.splitlines()]


EXPLAINED = [
    "rule asked candidate champion difference verdict",
    "signatures holds",
    "kl weight not asked",
    "floor ≥ -50.00 -100.00 ± 2.00 fails",
    "champion > +0.00 -100.00 -250.00 +150.00 ± 1.50 holds",
    "sample classes ≤ 0 1 fails",
    "champion: registered champion, version 3",
    "failed floor: elbo is low, with [2, 3]",
    "failed sample classes: its samples hardly show class 3",
    "not asked kl weight: its loss was not that of a KL weight",
    "diagnosis KL counted twice: it is.",
    "diagnosis Over-regularised: a rate of 2.0 nats.",
    "Not blessed.",
]


def test_every_rule_its_verdict_and_what_is_probably_wrong(tmp_path, monkeypatch):
    root = tmp_path / "runs" / "digits"
    judge(root, text_of())
    result = explain("--recipe", "digits", "--pipeline-root", root)
    assert result.exit_code == 0, result.output
    assert lines_of(result.output) == EXPLAINED
    # The usual place, from where the run was started.
    monkeypatch.chdir(tmp_path)
    assert lines_of(explain("--recipe", "digits").output) == EXPLAINED


def test_the_last_of_several_runs_is_explained(tmp_path):
    judge(tmp_path, text_of())
    judge(tmp_path, text_of(rules=RULES[:2], diagnosis=()))
    result = explain("--recipe", "digits", "--pipeline-root", tmp_path)
    assert lines_of(result.output)[-1] == "Blessed: every rule holds."
    assert "fails" not in result.output


@pytest.mark.parametrize("with_root", [True, False])
def test_where_there_is_no_run_one_line_says_so_and_nothing_is_written(
    tmp_path, monkeypatch, with_root
):
    monkeypatch.chdir(tmp_path)
    root = tmp_path / ("nothing" if with_root else "runs/digits")
    arguments = ["--pipeline-root", root] if with_root else []
    result = explain("--recipe", "digits", *arguments)
    assert result.exit_code == 1
    assert result.output == (
        f"Error: {root} holds no run; start one with tfx-vae run, or name another "
        "--pipeline-root.\n"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("recipe", ["mnist", "digits"])
def test_a_run_without_a_verdict_is_named(tmp_path, recipe):
    """Of another recipe, or one whose last judge did not get to its end."""
    judge(tmp_path, text_of())
    with pytest.raises(StepFailedError):
        judge(tmp_path, "")
    result = explain("--recipe", recipe, "--pipeline-root", tmp_path)
    assert result.exit_code == 1
    reason = "has not run yet" if recipe == "mnist" else "did not get to its end"
    assert result.output.startswith(f"Error: ElboEvaluator of pipeline {recipe} {reason}")
    assert len(result.output.splitlines()) == 1


def test_an_unknown_recipe_is_named():
    result = explain("--recipe", "nope")
    assert result.exit_code == 1
    assert result.output.startswith("Error: There is no recipe 'nope'")


@pytest.mark.parametrize("reason", ["for the demo", "on Monday " * 12 + "[/] [bold]here[/bold]"])
def test_a_model_that_was_blessed_anyway_has_its_reason_last(tmp_path, reason):
    (tmp_path / "gate.json").write_text(text_of(bless_anyway=reason))
    file = io.StringIO()
    print_gate(Console(file=file, width=80), read_gate_result(str(tmp_path)))
    lines = lines_of(file.getvalue())
    assert lines[:-1] == EXPLAINED[:-1]
    assert lines[-1] == f"Blessed anyway: {reason}"


def test_numbers_stay_whole_on_a_narrow_terminal(tmp_path):
    rules = (
        Rule("kl weight", "as it says", True, "", "1, within a factor of 1.5", 1.5, 1.05, None),
        Rule("label floor", "high", True, "", "≥ -4347.42", -4347.42, -3187.97, None, None, 32.03),
        Rule("champion", "gains", True, "", "> +0.00", 0.0, -3015.15, -3234.33, 219.17, 9.67),
    )
    (tmp_path / "gate.json").write_text(text_of(rules=rules))
    file = io.StringIO()
    print_gate(Console(file=file, width=80), read_gate_result(str(tmp_path)))
    for number in ("-3187.97 ± 32.03", "-3234.33", "+219.17 ± 9.67"):
        assert number in file.getvalue()


def test_numbers_that_are_not_finite_are_shown(tmp_path):
    rules = (dataclasses.replace(RULES[3], passed=False, candidate=float("nan")),)
    (tmp_path / "gate.json").write_text(text_of(rules=rules))
    file = io.StringIO()
    print_gate(Console(file=file, width=80), read_gate_result(str(tmp_path)))
    assert lines_of(file.getvalue())[1] == "champion > +0.00 NaN -250.00 +150.00 ± 1.50 fails"
