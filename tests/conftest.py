"""Fixtures that several folders of tests share: small real data in each stage of the pipeline."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
# As `components` does: before TensorFlow, which a test may import first.
os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")

import numpy as np
import pytest

from tests.example_files import binarize_examples, png, raw_example, write_examples

SPLITS = {"train": 400, "eval": 100, "test": 100}


@pytest.fixture(scope="session")
def raw_digits(tmp_path_factory):
    """Raw Examples of 600 of scikit-learn's handwritten digits, 8x8 PNG."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = np.round(bunch.images * (255 / 16)).astype(np.uint8)
    order = np.random.default_rng(0).permutation(len(images))
    splits, start = {}, 0
    for split, count in SPLITS.items():
        chosen = order[start : start + count]
        splits[split] = [
            raw_example(png(images[i]), int(bunch.target[i]), f"digit-{i}") for i in chosen
        ]
        start += count
    artifact = write_examples(tmp_path_factory.mktemp("raw_digits"), splits)
    artifact.set_string_custom_property("dataset", "digits")
    return artifact


@pytest.fixture(scope="session")
def ready_digits(raw_digits, tmp_path_factory):
    """Model-ready Examples of `raw_digits`: 28x28, threshold 0.5."""
    from components.image_binarizer.image_format import ImageFormat

    folder = tmp_path_factory.mktemp("ready_digits")
    return binarize_examples(raw_digits, folder, ImageFormat(28, 28, 1, "threshold"))[0]


@pytest.fixture(scope="session")
def trained(ready_digits, tmp_path_factory):
    """A dense VAE trained for four epochs on `ready_digits`: a Model and a ModelRun artifact."""
    from tfx.types import standard_artifacts

    from components.trainer.config import TrainingConfig
    from components.trainer.run_fn import train

    folder = tmp_path_factory.mktemp("trained")
    model, run = standard_artifacts.Model(), standard_artifacts.ModelRun()
    model.uri, run.uri = str(folder / "model" / "1"), str(folder / "model_run" / "1")
    model.id = 41
    config = TrainingConfig(
        architecture="dense", latent_size=4, epochs=4, batch_size=50, learning_rate=2e-3
    )
    train(
        config,
        [f"{ready_digits.uri}/Split-train/*"],
        [f"{ready_digits.uri}/Split-eval/*"],
        f"{model.uri}/Format-Serving",
        run.uri,
        write=lambda line: None,
    )
    return model, run
