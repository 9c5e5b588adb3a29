"""Likelihoods of grey pixels, and an autoencoder, through the whole pipeline."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from tests.e2e.conftest import ALL_STEPS

_SMALL = ("--recipe", "digits", "--epochs", "2", "--architecture", "dense", "--latent-size", "4")


def _report(run) -> str:
    (path,) = re.findall(r"^Report: +(\S+)$", run.output, re.MULTILINE)
    return " ".join(Path(path).read_text(encoding="utf-8").split())


def test_levels_of_grey_are_judged_in_bits_and_not_compared_with_densities(tfx_vae_run, tmp_path):
    grey = ("--pipeline-root", tmp_path, "--set", "image_format.binarization=none")
    run = tfx_vae_run(*_SMALL, *grey, "--set", "training.likelihood=discretized_logistic")
    assert run.exit_code == 0, run.output
    assert set(run.steps) == ALL_STEPS
    assert "champion (independent pixels)" in run.output
    assert "Blessed: every rule of the gate holds." in run.output
    card = json.loads((tmp_path / "serving/decoder/1/model_card.json").read_text())
    assert card["training"]["likelihood"] == "discretized_logistic"
    # Better than all 256 levels alike.
    assert -784 * np.log(256) < card["elbo"] < -1000
    bits = re.search(r"bits per dimension: candidate (\d\.\d\d), champion \d\.\d\d", run.output)
    assert float(bits[1]) == pytest.approx(-card["elbo"] / 784 / np.log(2), abs=0.005)
    assert f"<td>{bits[1]}</td>" in _report(run)

    other = tfx_vae_run(*_SMALL, *grey, "--set", "training.likelihood=continuous_bernoulli")
    assert other.exit_code == 1
    assert "Nothing was trained: the champion is a model of " in other.output
    assert "likelihood discretized_logistic, but this is one of digits, 28x28x1, none, " in (
        other.output
    )
    assert "--new-line" in other.output
    assert "--serving-name" in other.output
    assert "epoch" not in other.output


def test_an_autoencoder_runs_to_the_end_and_is_not_blessed(tfx_vae_run, tmp_path):
    point = ("--set", "training.posterior=point", "--set", "training.kl_weight=0")
    run = tfx_vae_run(*_SMALL, *point, "--pipeline-root", tmp_path)
    assert run.exit_code == 0, run.output
    assert set(run.steps) == ALL_STEPS
    reason = (
        "the rate is infinite, as that of a point posterior (an autoencoder) always is, so there "
        "is no ELBO"
    )
    assert f"Not blessed: {reason}." in run.output
    assert not (tmp_path / "serving").exists()
    page = _report(run)
    assert f"<li>{reason}</li>" in page
    assert "the best by validation distortion" in page
