"""Real MNIST end to end; run with `make test-slow` where the original files are at hand."""

import json
from pathlib import Path

import pytest

MNIST = Path(__file__).parents[3] / "shared" / "data" / "mnist"


@pytest.mark.slow
@pytest.mark.skipif(not MNIST.is_dir(), reason=f"the original MNIST files are not in {MNIST}")
@pytest.mark.parametrize(
    ("recipe", "least_elbo"), [("cvae_2d", -160.0), ("mnist_2d", -149.0), ("mnist", -79.0)]
)
def test_mnist_reaches_its_elbo_and_is_pushed(tfx_vae_run, tmp_path, recipe, least_elbo):
    run = tfx_vae_run("--recipe", recipe, "--manual-dir", MNIST, "--pipeline-root", tmp_path)
    assert run.exit_code == 0, run.output
    assert "54,000 train, 6,000 eval, 10,000 test images" in run.output
    card = json.loads((tmp_path / "serving" / "decoder" / "1" / "model_card.json").read_text())
    assert card["num_test_images"] == 10_000
    assert card["elbo"] > least_elbo
