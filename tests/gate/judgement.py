"""Trains a VAE with a fault, and lets the gate judge a model."""

import functools
from collections.abc import Callable
from pathlib import Path
from unittest import mock

from components.champion_resolver.independent_pixels import IndependentPixels
from components.elbo_evaluator import GateConfig
from components.elbo_evaluator.diagnosis import diagnose
from components.elbo_evaluator.measure import Champion
from components.elbo_evaluator.rules import decide
from components.image_binarizer.image_format import ImageFormat, read_pixel_moments
from components.trainer import run_fn
from components.trainer.config import TrainingConfig
from tests.gate.direct_scoring import measure_directly


def train_vae(
    examples_uri: str, folder: Path, config: TrainingConfig, fault: Callable | None = None
) -> str:
    """Trains as the Trainer does, with a fault in the model; gives the SavedModel's folder."""
    build_model = run_fn.build_model

    def build(*arguments):
        model = build_model(*arguments)
        if fault:
            fault(model)
        return model

    with mock.patch.object(run_fn, "build_model", build):
        run_fn.train(
            config,
            [f"{examples_uri}/Split-train/*"],
            [f"{examples_uri}/Split-eval/*"],
            str(folder / "model"),
            str(folder / "run" / "1"),
            write=lambda line: None,
        )
    return str(folder / "model")


def judge_model(
    path: str, champion_path: str | None, examples_uri: str, gate: GateConfig
) -> tuple[set[str], str]:
    """The names of the rules that a model breaks, and the diagnosis.

    Without a champion, it is judged as on a first run.
    """
    champion = Champion(
        champion_path or _independent_pixels(examples_uri),
        "a champion",
        is_first=champion_path is None,
    )
    measured = measure_directly(path, champion, examples_uri, gate)
    rules = decide(measured, gate)
    broken = {rule.name for rule in rules if not rule.passed}
    return broken, " ".join(diagnose(measured, rules))


@functools.cache
def _independent_pixels(examples_uri: str) -> str:
    path = f"{examples_uri}-independent-pixels"
    moments = read_pixel_moments(examples_uri, "train")
    IndependentPixels(moments, ImageFormat.read(examples_uri), "bernoulli", 0.5).save(path)
    return path
