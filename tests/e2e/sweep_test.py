"""A sweep over the latent size on real digits, as `tfx-vae sweep` runs it."""

import csv
import json
import re
import shutil

import pytest
from click.testing import CliRunner

from pipelines.cli import main

DATA_STEPS = {
    "TfdsExampleGen",
    "StatisticsGen",
    "ImportSchemaGen",
    "ExampleValidator",
    "ImageBinarizer",
}


def sweep(root, data_dir, latent="2,4"):
    command = ["sweep", "--recipe", "digits", "--latent", latent, "--epochs", "1"]
    command += ["--architecture", "dense", "--set", "training.hidden_units=32"]
    command += ["--pipeline-root", str(root), "--data-dir", str(data_dir)]
    result = CliRunner().invoke(main, command)
    steps = dict(re.findall(r"^  ([A-Z]\w+) +(cached|[\d.]+ s)$", result.output, re.MULTILINE))
    return result, steps


def rows(output):
    return [line.split() for line in output.splitlines() if re.match(r" *\d+ +1/1 ", line)]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("sweep_root")


@pytest.fixture(scope="module")
def first(root, data_dir):
    return sweep(root, data_dir)


def test_a_sweep_trains_each_size_and_compares_them(first, root):
    result, steps = first
    assert result.exit_code == 0, result.output
    assert set(steps) == DATA_STEPS | {"Tuner"}
    assert "cached" not in steps.values()
    assert result.output.startswith("digits: 1,438 train, 179 eval, 180 test images")
    assert [row[0] for row in rows(result.output)] == ["2", "4"]
    assert sum(row[-1] == "*" for row in rows(result.output)) == 1
    assert "on 179 validation images, 28x28x1, threshold 0.5" in result.output
    with open(root / "sweep.csv", newline="") as file:
        trials = list(csv.DictReader(file))
    for trial, row in zip(trials, rows(result.output), strict=True):
        assert row[2] == f"{float(trial['elbo']):.2f}"
        assert -400 < float(trial["elbo"]) < -150
    assert (root / "sweep.png").read_bytes().startswith(b"\x89PNG")


def test_the_tuner_leaves_the_artifacts_of_any_tuner(first, root):
    with open(root / "sweep.csv", newline="") as file:
        scores = {int(row["latent_size"]): float(row["elbo"]) for row in csv.DictReader(file)}
    (results,) = (root / "artifacts" / "Tuner" / "tuner_results").glob("*/tuner_results.json")
    assert {row["latent_size"]: row["score"] for row in json.loads(results.read_text())} == scores
    (best,) = (root / "artifacts" / "Tuner" / "best_hyperparameters").glob("*/*.txt")
    chosen = json.loads(best.read_text())["values"]
    assert chosen == {"latent_size": max(scores, key=scores.get)}


def test_the_same_sweep_again_is_cached_whole(first, root, data_dir):
    again, steps = sweep(root, data_dir)
    assert again.exit_code == 0, again.output
    assert set(steps) == DATA_STEPS | {"Tuner"}
    assert set(steps.values()) == {"cached"}
    assert "epoch 1/1" not in again.output
    assert rows(again.output) == rows(first[0].output)


def test_a_wider_sweep_trains_what_is_new(first, root, data_dir):
    wider, steps = sweep(root, data_dir, "2,3,4")
    assert wider.exit_code == 0, wider.output
    assert {step for step, state in steps.items() if state == "cached"} == DATA_STEPS
    assert wider.output.count("done before: ") == 2
    assert wider.output.count("epoch 1/1") == 1
    assert [row[0] for row in rows(wider.output)] == ["2", "3", "4"]


def test_trials_that_were_deleted_are_missed(first, root, data_dir, tmp_path):
    moved = shutil.move(root / "trials", tmp_path / "trials")
    result, _ = sweep(root, data_dir)
    shutil.move(moved, root / "trials")
    assert result.exit_code == 1
    assert f"no longer in {root}/trials; run it again with --no-cache" in result.output
