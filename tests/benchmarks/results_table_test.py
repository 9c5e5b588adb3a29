"""The table of docs/results.md: what was measured, row by row, and nothing else."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks import results
from benchmarks.rows import ROWS, Row
from components.elbo_evaluator.measurements import Comparison
from components.elbo_evaluator.results import GateResult
from pipelines import summary
from pipelines.recipe import load_recipe, recipe_names

RESULT = results.Result(
    images="10,000, 28x28x1, none",
    elbo=-1234.567,
    elbo_error=0.251,
    bound=-1230.0,
    bound_error=0.3,
    samples=5000,
    rate=20.0,
    distortion=1214.567,
    bits=2.27,
    seconds=75.4,
)


def test_every_recipe_has_a_row_and_every_row_a_recipe_that_makes_sense():
    assert {row.recipe for row in ROWS.values()} == set(recipe_names())
    for row in ROWS.values():
        load_recipe(row.recipe).override(dict(text.split("=", 1) for text in row.settings))


def test_the_page_is_made_of_the_measurements():
    before = results._PAGE.read_text(encoding="utf-8")
    done = CliRunner().invoke(results.main, [])
    after = results._PAGE.read_text(encoding="utf-8")
    results._PAGE.write_text(before, encoding="utf-8")
    assert done.exit_code == 0, done.output
    assert after == before, "run python -m benchmarks.results"


def test_measurements_are_of_rows_that_exist():
    measured = json.loads((Path(results.__file__).parent / "results.json").read_text())
    assert measured
    assert measured.keys() <= ROWS.keys()
    for name, values in measured.items():
        results.table_line(name, ROWS[name], results.Result(**values))


def test_a_row_names_error_samples_bits_and_options():
    line = results.table_line("mine", Row("mnist", "−80", ("training.epochs=3",)), RESULT)
    assert line == (
        "| `mine` | 10,000, 28x28x1, none | −80 | −1,234.57 ± 0.25 (2.27 bits/dim) | "
        "−1,230.00 ± 0.30, K = 5,000 | 75 | `--set training.epochs=3` |"
    )


def test_a_bound_of_some_of_the_images_says_of_how_many():
    some = results.Result(**{**vars(RESULT), "samples": 64, "bound_images": 1000})
    line = results.table_line("mine", Row("mnist"), some)
    assert "| −1,230.00 ± 0.30, K = 64, 1,000 images |" in line


def test_a_row_that_is_held_against_a_bound_computes_that_bound():
    for row in ROWS.values():
        gate = load_recipe(row.recipe).override(dict(s.split("=", 1) for s in row.settings)).gate
        if "IW-5000" in row.published:
            assert (gate.importance_samples, gate.importance_images) == (5000, None)


@pytest.mark.parametrize(
    ("settings", "count", "samples", "bound_images"),
    [
        ((), 1000.0, 64, 1000),
        (("gate.importance_samples=500", "gate.importance_images=null"), 10_000.0, 500, None),
    ],
)
def test_a_result_is_what_the_gate_measured(monkeypatch, settings, count, samples, bound_images):
    scores = {
        "example_count": 10_000.0,
        "importance_weighted_count": count,
        **{
            f"{name}{suffix}": value
            for name, value in (("elbo", -80.0), ("rate", 20.0), ("distortion", 60.0))
            for suffix, value in (("", value), ("_standard_error", 0.25))
        },
        "importance_weighted_bound": -78.0,
        "importance_weighted_bound_standard_error": 0.5,
    }
    gate = GateResult(True, "", (), (), "", Comparison(scores), {}, {})
    outcome = summary.Outcome(gate, "", None, None, "", 0, "", "")
    monkeypatch.setattr(summary, "read_outcome", lambda *args: outcome)
    assert results.read_result(Row("mnist", "", settings), "root", 75.4) == results.Result(
        images="10,000, 28x28x1, threshold 0.5",
        elbo=-80.0,
        elbo_error=0.25,
        bound=-78.0,
        bound_error=0.5,
        samples=samples,
        rate=20.0,
        distortion=60.0,
        bits=None,
        seconds=75.4,
        bound_images=bound_images,
    )


def test_an_autoencoder_has_a_distortion_in_place_of_an_elbo():
    autoencoder = results.Result(
        **{**vars(RESULT), "elbo": None, "elbo_error": None, "bound": None, "bits": None}
    )
    line = results.table_line("mine", Row("mnist"), autoencoder)
    assert "| none (distortion 1,214.57) |  |" in line


def test_an_unknown_row_lists_those_that_exist():
    done = CliRunner().invoke(results.main, ["nope"])
    assert done.exit_code == 1
    assert "There is no row 'nope'; known: digits, mnist," in done.output


@pytest.mark.parametrize("name", ["mnist", "six_ways, weight 20"])
def test_options_are_those_of_tfx_vae_run(name):
    settings = ROWS[name].settings
    assert list(ROWS[name].options) == [word for text in settings for word in ("--set", text)]
