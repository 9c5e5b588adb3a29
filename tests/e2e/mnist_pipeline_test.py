"""Real MNIST end to end; run with `make test-slow` where the original files are at hand."""

import json
from pathlib import Path

import pytest

MNIST = Path(__file__).parents[3] / "shared" / "data" / "mnist"


@pytest.mark.slow
@pytest.mark.skipif(not MNIST.is_dir(), reason=f"the original MNIST files are not in {MNIST}")
@pytest.mark.parametrize(("latent_size", "least_elbo"), [(2, -158.0), (16, -86.0)])
def test_mnist_reaches_its_elbo_and_is_pushed(tfx_vae_run, tmp_path, latent_size, least_elbo):
    run = tfx_vae_run(
        "--recipe",
        "mnist",
        "--manual-dir",
        MNIST,
        "--pipeline-root",
        tmp_path,
        "--latent-size",
        latent_size,
    )
    assert run.exit_code == 0, run.output
    assert "54,000 train, 6,000 eval, 10,000 test images" in run.output
    card = json.loads((tmp_path / "serving" / "decoder" / "1" / "model_card.json").read_text())
    assert card["num_test_images"] == 10_000
    assert card["elbo"] > least_elbo
