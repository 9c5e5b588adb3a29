"""A small VAE on real handwritten digits, 8x8, and the gate's judgement of others like it."""

import shutil

import numpy as np
import pytest
from sklearn.datasets import load_digits

from components.elbo_evaluator import GateConfig
from components.image_binarizer.image_format import ImageFormat
from components.trainer.config import TrainingConfig
from tests.example_files import binarize_examples, png, raw_example, write_examples
from tests.gate.judgement import judge_model, train_vae

# The Frechet distance is larger for few images, and 8x8 pixels leave less between good and bad:
# even real training images have a ratio of 0.2 here.
GATE = GateConfig(importance_samples=4, importance_images=200, max_frechet_ratio=0.7)
_CONFIG = {
    "architecture": "dense",
    "hidden_units": (128, 64),
    "latent_size": 6,
    "epochs": 30,
    "batch_size": 64,
    "learning_rate": 5e-3,
}
_CUTS = {"train": (0, 1300), "eval": (1300, 1500), "test": (1500, 1797)}


@pytest.fixture(scope="session")
def digit_examples(tmp_path_factory):
    """Model-ready Examples by the name of their binarisation: their folders."""
    bunch = load_digits()
    images = np.round(bunch.images * (255 / 16)).astype(np.uint8)
    order = np.random.default_rng(0).permutation(len(images))
    splits = {
        split: [raw_example(png(images[i]), int(bunch.target[i]), f"{i}") for i in order[a:b]]
        for split, (a, b) in _CUTS.items()
    }
    chosen = {
        "": (splits, "threshold"),
        "stochastic": (splits, "stochastic"),
        "only sevens": (
            {**splits, "train": _of_class(bunch, images, order[:1300], 7)},
            "threshold",
        ),
    }
    uris = {}
    for name, (records, binarization) in chosen.items():
        folder = tmp_path_factory.mktemp("examples")
        raw = write_examples(folder / "raw", records)
        uris[name] = binarize_examples(raw, folder, ImageFormat(8, 8, 1, binarization))[0].uri
    # ImageBinarizer refuses an empty split, but the gate must not rely on it.
    empty = tmp_path_factory.mktemp("empty") / "examples"
    shutil.copytree(uris[""], empty)
    for file in (empty / "Split-test").iterdir():
        file.unlink()
    return {**uris, "no test images": str(empty)}


def _of_class(bunch, images, order, label):
    chosen = [i for i in order if bunch.target[i] == label]
    return [raw_example(png(images[i]), label, f"{i}") for i in chosen]


@pytest.fixture(scope="session")
def train_digits(digit_examples, tmp_path_factory):
    """Trains a VAE, with a fault or other settings, and gives its SavedModel's folder."""

    def train(fault=None, examples="", **settings) -> str:
        config = TrainingConfig(**{**_CONFIG, **settings})
        folder = tmp_path_factory.mktemp("trained")
        return train_vae(digit_examples[examples], folder, config, fault)

    return train


@pytest.fixture(scope="session")
def champion_path(train_digits):
    """A VAE as it should be."""
    return train_digits()


@pytest.fixture(scope="session")
def judge(digit_examples, champion_path):
    """Gives the names of the rules that a model breaks, and the diagnosis."""

    def judge(path, first=False, gate=GATE, examples=""):
        champion = None if first else champion_path
        return judge_model(path, champion, digit_examples[examples], gate)

    return judge
