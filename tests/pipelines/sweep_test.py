"""A sweep's mistakes, and the table, CSV and plot that it ends with."""

import csv
import io

import pytest
from click.testing import CliRunner
from PIL import Image
from rich.console import Console

from components.tuner.trials import TrialResult
from pipelines.cli import main
from pipelines.recipe import load_recipe
from pipelines.sweep import parse_values
from pipelines.sweep_report import Row, report_sweep

SWEEP = ("sweep", "--recipe", "digits")


def trial(elbo, values, rate=10.0):
    result = TrialResult(12.34, "", 8, 7, elbo, 1.5, rate, -elbo - rate, 2)
    return Row(values, result, f"trials/{abs(elbo):.0f}")


def report(rows, root, width=80):
    text = io.StringIO()
    report_sweep(Console(file=text, width=width), rows, str(root), "9 validation images")
    return text.getvalue()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--latent", ""], "training.latent_size must be a whole number, not ''"),
        (["--latent", "2,,5"], "training.latent_size must be a whole number, not ''"),
        (["--latent", "2,five"], "training.latent_size must be a whole number, not 'five'"),
        (["--latent", "2.5"], "training.latent_size must be a whole number, not '2.5'"),
        (["--latent", "2,0"], "latent_size must be at least 1, not 0"),
        (["--latent", "2,5,2"], "latent_size lists 2 twice"),
        (["--latent", "2", "--kl-weight", "1,-1"], "kl_weight must not be negative"),
        (["--latent", "2", "--kl-weight", "inf"], "kl_weight must be a number, not inf"),
        (["--latent", "2", "--learning-rate", "0"], "learning_rate must be positive, not 0.0"),
        (["--latent", "2", "--set", "training.foo=1"], "no field 'training.foo'"),
        (["--latent", "2", "--set", "epochs"], "--set 'epochs' is not of the form"),
        (["--latent", "2", "--recipe", "nope"], "There is no recipe 'nope'"),
        (["--latent", "2", "--dataset", "./nothing"], "There is no folder ./nothing"),
        (
            [
                "--latent",
                "2",
                "--kl-weight",
                "1,2",
                "--set",
                "training.objective=importance_weighted",
                "--set",
                "training.training_samples=5",
            ],
            "The importance-weighted bound is one only at kl_weight 1",
        ),
        (
            ["--latent", "2", "--set", "training.posterior=point", "--set", "training.kl_weight=0"],
            "an autoencoder (posterior point) has none",
        ),
    ],
)
def test_mistakes_end_with_one_line_and_nothing_written(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, [*SWEEP, *arguments])
    assert result.exit_code == 1
    assert message in result.output
    assert result.output.startswith("Error: ")
    assert len(result.output.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_the_latent_sizes_must_be_given():
    result = CliRunner().invoke(main, SWEEP)
    assert result.exit_code == 2
    assert "Missing option '--latent'" in result.output


def test_help_describes_every_option():
    result = CliRunner().invoke(main, ["sweep", "--help"])
    assert result.exit_code == 0
    for parameter in main.commands["sweep"].params:
        assert parameter.help, parameter.name
        assert parameter.opts[0] in result.output


def test_values_become_what_their_fields_hold():
    recipe = load_recipe("digits")
    values = parse_values(
        recipe, {"latent_size": "2, 5", "kl_weight": "1", "learning_rate": "1e-3"}
    )
    assert values == {"latent_size": [2, 5], "kl_weight": [1.0], "learning_rate": [1e-3]}
    assert type(values["kl_weight"][0]) is float


def test_the_table_has_a_row_a_trial_and_marks_the_best(tmp_path):
    rows = [
        trial(-120.5, {"latent_size": 2}),
        trial(-101.25, {"latent_size": 5}),
        trial(-102.0, {"latent_size": 10}),
    ]
    lines = report(rows, tmp_path).splitlines()
    found = [line.split() for line in lines if "±" in line]
    assert found[0] == ["2", "7/8", "-120.50", "±", "1.50", "10.00", "110.50", "2", "12.3"]
    assert found[1] == ["5", "7/8", "-101.25", "±", "1.50", "10.00", "91.25", "2", "12.3", "*"]
    assert len(found) == 3
    assert "nats per image at KL weight 1, on 9 validation images" in lines
    assert "Best *: latent_size 5" in lines
    assert "Model:  trials/101/model" in lines
    assert f"Plot:   {tmp_path}/sweep.png" in lines
    assert f"Table:  {tmp_path}/sweep.csv" in lines


def test_three_searched_fields_fit_a_narrow_screen(tmp_path):
    values = {"latent_size": 50, "kl_weight": 0.5, "learning_rate": 0.0005}
    text = report([trial(-1234.5, values)], tmp_path)
    row = next(line for line in text.splitlines() if "±" in line)
    assert row.split()[:5] == ["50", "0.5", "0.0005", "7/8", "-1234.50"]
    assert "…" not in text


def test_the_csv_has_the_numbers_in_full(tmp_path):
    rows = [
        trial(-120.123456, {"latent_size": 2, "kl_weight": 0.5}),
        trial(-101.0, {"latent_size": 5, "kl_weight": 0.5}),
    ]
    report(rows, tmp_path)
    with open(tmp_path / "sweep.csv", newline="") as file:
        found = list(csv.DictReader(file))
    assert [row["latent_size"] for row in found] == ["2", "5"]
    assert [row["best"] for row in found] == ["0", "1"]
    assert float(found[0]["elbo"]) == -120.123456
    assert float(found[0]["elbo_standard_error"]) == 1.5
    assert float(found[0]["rate"]) + float(found[0]["distortion"]) == pytest.approx(120.123456)
    assert found[1]["folder"] == "trials/101"


def test_a_failed_trial_is_told_and_leaves_a_gap(tmp_path):
    failed = Row({"latent_size": 5}, TrialResult(1.0, "The loss became nan."), "trials/0")
    rows = [trial(-120.0, {"latent_size": 2}), failed, trial(-110.0, {"latent_size": 9})]
    text = report(rows, tmp_path)
    assert "Failed: latent_size 5: The loss became nan." in text
    assert "Best *: latent_size 9" in text
    with open(tmp_path / "sweep.csv", newline="") as file:
        found = list(csv.DictReader(file))
    assert (found[1]["elbo"], found[1]["failure"]) == ("", "The loss became nan.")
    assert (tmp_path / "sweep.png").is_file()


@pytest.mark.parametrize("weights", [[1.0], [0.5, 1.0, 4.0]])
def test_the_plot_has_a_line_a_weight_over_a_log_axis(tmp_path, monkeypatch, weights):
    from matplotlib.figure import Figure

    drawn = []
    save = Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig", lambda self, *args, **kw: (drawn.append(self), save(self, *args, **kw))
    )
    rows = [
        trial(-120.0 - weight + size, {"latent_size": size, "kl_weight": weight}, rate=5.0 + size)
        for size in (10, 2, 5)
        for weight in weights
    ]
    report(rows, tmp_path)
    (figure,) = drawn
    top, bottom = figure.axes
    assert bottom.get_xscale() == "log"
    assert [tick.get_text() for tick in bottom.get_xticklabels()] == ["2", "5", "10"]
    assert len(top.containers) == len(weights)
    for container, weight in zip(top.containers, weights, strict=True):
        line, _, bars = container.lines
        assert list(line.get_xdata()) == [2, 5, 10]
        assert list(line.get_ydata()) == [-118.0 - weight, -115.0 - weight, -110.0 - weight]
        assert container.get_label() == f"kl_weight {weight:g}"
        (low, high) = bars[0].get_segments()[0][:, 1]
        assert high - low == pytest.approx(3.0)
    assert len(bottom.lines) == 2 * len(weights)
    assert list(bottom.lines[0].get_ydata()) == [7.0, 10.0, 15.0]
    with Image.open(tmp_path / "sweep.png") as image:
        assert image.size == (1050, 975)
