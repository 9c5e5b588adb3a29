"""The pipeline on real digits: pushed, cached, stopped by its gate, and asked over gRPC."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from click.testing import CliRunner
from PIL import Image

from pipelines import pipeline as pipeline_module
from pipelines.cli import main
from pipelines.recipe import load_recipe
from serving.server import ModelServer
from tests.e2e.conftest import ALL_STEPS, QUICK

AFTER_DATA = {
    "Trainer",
    "ChampionResolver",
    "ElboEvaluator",
    "DecoderExporter",
    "ServingValidator",
    "DecoderPusher",
    "ModelReport",
}


def versions(root: Path) -> list[str]:
    return sorted(path.name for path in (root / "serving" / "decoder").glob("*"))


def test_the_first_run_pushes_a_decoder_and_makes_its_model_the_champion(first_run, digits_root):
    assert first_run.exit_code == 0, first_run.output
    assert set(first_run.steps) == ALL_STEPS
    assert not first_run.cached
    assert versions(digits_root) == ["1"]
    decoder = digits_root / "serving" / "decoder" / "1"
    assert set(tf.saved_model.load(str(decoder)).signatures) == {
        "serving_default",
        "decode",
        "generate",
        "interpolate",
    }
    assert (decoder / "assets.extra" / "tf_serving_warmup_requests").is_file()
    champion = digits_root / "champions" / "decoder" / "1"
    assert "evaluate" in tf.saved_model.load(str(champion / "Format-Serving")).signatures
    card = json.loads((decoder / "model_card.json").read_text())
    assert card["recipe"] == "digits"
    recipe = load_recipe("digits").to_dict()
    assert recipe.keys() - {"name"} <= card.keys(), "the whole recipe is stored with the model"
    assert card["splits"] == recipe["splits"]
    assert card["training"].keys() == recipe["training"].keys()
    assert card["image_format"]["binarization"] == "threshold"
    assert card["num_test_images"] == 180


def test_the_summary_tells_scores_verdict_and_what_to_do_next(first_run, digits_root):
    lines = first_run.output.splitlines()
    card = json.loads((digits_root / "serving/decoder/1/model_card.json").read_text())
    candidate = next(line for line in lines if line.startswith("candidate"))
    assert f"{card['elbo']:.2f} ± {card['elbo_standard_error']:.2f}" in candidate
    assert any(line.startswith("champion (independent pixels)") for line in lines)
    assert "on 180 test images, 28x28x1, threshold 0.5" in lines
    assert "Blessed: every rule of the gate holds." in lines
    assert f"Decoder:  {digits_root}/serving/decoder/1" in lines
    assert f"Serve it: tfx-vae serve {digits_root}/serving/decoder" in lines
    assert sum(line.strip().startswith("epoch") for line in lines) == 8


def test_the_candidate_really_beats_independent_pixels(first_run, digits_root):
    card = json.loads((digits_root / "serving/decoder/1/model_card.json").read_text())
    assert -200 < card["elbo"] < -100
    assert card["rate"] > 5
    assert card["elbo"] == pytest.approx(-(card["rate"] + card["distortion"]), abs=1e-3)


def test_the_same_run_again_is_cached_whole(first_run, tfx_vae_run, digits_root):
    again = tfx_vae_run("--recipe", "digits", "--pipeline-root", digits_root, *QUICK)
    assert again.exit_code == 0
    assert again.cached == ALL_STEPS
    assert versions(digits_root) == ["1"]
    # The verdict is that of the first run, champion included.
    assert "champion (independent pixels)" in again.output
    assert "Blessed" in again.output


def test_edited_model_code_runs_training_and_what_follows_again(
    first_run, tfx_vae_run, digits_root, monkeypatch
):
    from components.trainer import component

    monkeypatch.setattr(component, "code_fingerprint", lambda *packages: "edited")
    edited = tfx_vae_run("--recipe", "digits", "--pipeline-root", digits_root, *QUICK)
    assert edited.exit_code == 0
    assert edited.cached == ALL_STEPS - AFTER_DATA
    assert "champion (registered champion, version 1)" in edited.output


def test_a_candidate_that_fails_the_gate_pushes_nothing(tfx_vae_run, first_run, tmp_path):
    run = tfx_vae_run(
        "--recipe", "digits", "--pipeline-root", tmp_path, *QUICK, "--epochs", "1", "--floor", "-50"
    )
    assert run.exit_code == 0
    assert "Not blessed: elbo is -" in run.output
    assert "below its floor of -50.00" in run.output
    assert "Nothing was pushed" in run.output
    assert not (tmp_path / "serving").exists()
    assert not (tmp_path / "champions").exists()


def test_what_failed_is_explained_and_can_be_blessed_anyway(tfx_vae_run, first_run, tmp_path):
    command = ("--recipe", "digits", "--pipeline-root", tmp_path, *QUICK, "--epochs", "1")
    command += ("--floor", "-50")
    tfx_vae_run(*command)
    arguments = ["gate", "explain", "--recipe", "digits", "--pipeline-root", str(tmp_path)]
    explained = CliRunner().invoke(main, arguments).output
    assert "failed floor: elbo is -" in " ".join(explained.split())
    assert explained.splitlines()[-1] == "Not blessed."
    # The very model that was refused; nothing is trained or compared with another champion.
    run = tfx_vae_run(*command, "--bless-anyway", "for the demo")
    assert run.exit_code == 0, run.output
    assert run.cached >= ALL_STEPS - AFTER_DATA | {"Trainer", "ChampionResolver"}
    assert "Blessed anyway: for the demo" in run.output
    assert "although elbo is -" in run.output
    card = json.loads((tmp_path / "serving" / "decoder" / "1" / "model_card.json").read_text())
    assert card["bless_anyway"] == "for the demo"
    assert "below its floor of -50.00" in card["failed_rules"][0]
    explained = CliRunner().invoke(main, arguments).output
    assert explained.splitlines()[-1] == "Blessed anyway: for the demo"


def test_data_that_breaks_its_schema_stops_before_training(
    tfx_vae_run, first_run, tmp_path, monkeypatch
):
    schema = tmp_path / "schema.pbtxt"
    text = Path(pipeline_module.schema_file("digits")).read_text()
    assert "max: 9" in text
    schema.write_text(text.replace("max: 9", "max: 8"))
    monkeypatch.setattr(pipeline_module, "schema_file", lambda name: schema)
    run = tfx_vae_run("--recipe", "digits", "--pipeline-root", tmp_path / "root", *QUICK)
    assert run.exit_code == 1
    assert "ImageBinarizer failed" in run.output
    assert "The data does not fit its schema (train: label:" in run.output
    assert not (tmp_path / "root" / "artifacts" / "Trainer").exists()


def test_generate_asks_the_pushed_decoder_over_grpc(first_run, digits_root, tmp_path):
    with ModelServer("decoder", digits_root / "serving" / "decoder") as server:
        output = tmp_path / "digits.png"
        arguments = ["--server", server.target, "--number", "9", "--output", str(output)]
        result = CliRunner().invoke(main, ["generate", *arguments])
    assert result.exit_code == 0, result.output
    with Image.open(output) as image:
        pixels = np.asarray(image)
    assert pixels.shape == (176, 176)
    # White strokes on black, as the digits are: neither empty nor inverted.
    assert 0.05 < (pixels > 128).mean() < 0.5


@pytest.mark.slow
def test_a_user_sees_no_log_of_any_library(tmp_path, data_dir):
    command = [sys.executable, "-m", "pipelines", "run", "--recipe", "digits", *QUICK]
    command += ["--data-dir", str(data_dir), "--pipeline-root", str(tmp_path)]
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in ("TF_CPP_MIN_LOG_LEVEL", "PYTHONWARNINGS")
    }
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert result.stderr == ""
    assert result.stdout.startswith("digits: 1,438 train, 179 eval, 180 test images")
