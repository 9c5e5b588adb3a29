"""The table of docs/results.md: what was measured, row by row, and nothing else."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks import results
from benchmarks.rows import ROWS, Row
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
