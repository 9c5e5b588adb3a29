"""The same update on 1, 2 and 4 replicas; in a process of its own, whose only CPU is made four.

Run as a program, this file trains all cases and prints what became of them.
"""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[3]
# Three batches of 9, 9 and 5 images: neither 2 nor 4 divides any of them.
IMAGES, BATCH, STEPS = 23, 9, 3
# Of 6 and 1 images: of the latter, one replica alone has anything to do.
VALIDATION_IMAGES, VALIDATION_BATCH = 7, 6

BINARY, GREY, REDRAWN = "threshold", "none", "dynamic"
# Each formulation with other features that have a state or a share in the update.
CASES = {
    "a: mixture prior, Adam, clip": (
        BINARY,
        {
            "formulation": "a",
            "prior": "mixture",
            "prior_components": 3,
            "rate_estimator": "monte_carlo",
            "optimizer": "adam",
            "gradient_clip_norm": 0.5,
        },
    ),
    "b: full covariance, RMSprop": (
        BINARY,
        {"formulation": "b", "posterior": "full_covariance", "optimizer": "rmsprop"},
    ),
    "c: running variance": (GREY, {"formulation": "c", "likelihood": "gaussian_analytic_scale"}),
    "d: KL weight, SGD": (BINARY, {"formulation": "d", "kl_weight": 3.0}),
    "e: averaged weights, pixels drawn anew": (
        REDRAWN,
        {"formulation": "e", "ema_momentum": 0.5, "optimizer": "adam", "gradient_clip_norm": 0.5},
    ),
    "f: importance weights, running variance": (
        GREY,
        {
            "formulation": "f",
            "likelihood": "gaussian_analytic_scale",
            "objective": "importance_weighted",
            "training_samples": 3,
        },
    ),
}
SMALL = {
    "architecture": "dense",
    "hidden_units": [8],
    "latent_size": 3,
    "batch_size": BATCH,
    "epochs": 1,
    "warmup_epochs": 0.0,
    "optimizer": "sgd",
    # Large, so that the rounding of a weight is small beside its update.
    "learning_rate": 1e-2,
    "gradient_clip_norm": None,
}


def train(strategy, binarization, options):
    """Trains an epoch; returns how far every number moved, averages, and the logs."""
    from components.image_binarizer import ImageFormat
    from components.trainer.config import TrainingConfig
    from components.trainer.input import evaluation_batches, training_batches
    from components.trainer.optimizers import AveragedWeights, build_optimizer
    from components.trainer.vae.build import build_model

    config = TrainingConfig(**{**SMALL, **options})
    image_format = ImageFormat(5, 4, 1, binarization)
    random = np.random.default_rng(0)
    size = (IMAGES + VALIDATION_IMAGES, image_format.record_bytes)
    records = random.integers(0, 256, size, np.uint8)
    noise_shape = (config.training_samples, config.latent_size)
    replicas = strategy.num_replicas_in_sync
    kept = []
    with strategy.scope():
        model = build_model(config, image_format, random.uniform(0.2, 0.8, (5, 4, 1)), STEPS)
        model.compile(build_optimizer(config, STEPS))
    # Untrained outputs that are all alike would hide images that took each other's place.
    start = [
        random.normal(scale=0.3, size=weight.shape).astype(np.float32)
        for weight in model.trainable_weights
    ]
    for weight, value in zip(model.trainable_weights, start, strict=True):
        weight.assign(value)
    history = model.fit(
        training_batches(
            records[:IMAGES], image_format, BATCH, noise_shape, seed=1, num_replicas=replicas
        ),
        steps_per_epoch=STEPS,
        validation_data=evaluation_batches(
            records[IMAGES:], image_format, VALIDATION_BATCH, noise_shape, replicas
        ),
        verbose=0,
        callbacks=[AveragedWeights(keeper(kept))] if config.ema_momentum else [],
    ).history
    moved = [
        (weight.numpy() - value).ravel()
        for weight, value in zip(model.trainable_weights, start, strict=True)
    ]
    return {
        "replicas": replicas,
        "moved": np.concatenate(moved).tolist(),
        "likelihood": [weight.tolist() for weight in model.likelihood.get_weights()],
        "averages": [number for weight in kept for number in weight],
        "logs": {name: value for name, (value,) in history.items()},
    }


def keeper(kept):
    """A callback that keeps the averaged weights."""
    import tf_keras

    class Keeper(tf_keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            kept.extend(weight.numpy().ravel().tolist() for weight in self.model.trainable_weights)

    return Keeper()


def main():
    import tensorflow as tf

    (cpu,) = tf.config.list_physical_devices("CPU")
    four = [tf.config.LogicalDeviceConfiguration()] * 4
    tf.config.set_logical_device_configuration(cpu, four)
    strategies = [
        tf.distribute.get_strategy(),
        # Collectives of two sizes cannot be in one process, so these two have none.
        tf.distribute.MirroredStrategy(
            ["CPU:0", "CPU:1"], cross_device_ops=tf.distribute.ReductionToOneDevice()
        ),
        tf.distribute.MirroredStrategy([f"CPU:{i}" for i in range(4)]),
    ]
    results = {
        name: [train(strategy, *case) for strategy in strategies] for name, case in CASES.items()
    }
    print(json.dumps(results))


@pytest.fixture(scope="module")
def trained():
    program = [sys.executable, "-m", "tests.components.trainer.mirrored_training_test"]
    result = subprocess.run(
        program, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return json.loads(result.stdout.splitlines()[-1])


@pytest.mark.parametrize("case", CASES)
def test_any_number_of_replicas_makes_the_same_update(trained, case):
    one, *others = trained[case]
    assert [result["replicas"] for result in trained[case]] == [1, 2, 4]
    assert bool(one["averages"]) is ("averaged" in case)
    assert len(one["likelihood"]) == (2 if "running" in case else 0)
    moved = np.linalg.norm(one["moved"])
    assert moved > 1e-3
    for other in others:
        for name in ("moved", "averages"):
            assert np.linalg.norm(np.subtract(other[name], one[name])) <= 1e-5 * moved
        assert other["likelihood"] == pytest.approx(one["likelihood"], rel=1e-6)


@pytest.mark.parametrize("case", CASES)
def test_any_number_of_replicas_logs_the_same_numbers(trained, case):
    one, *others = (result["logs"] for result in trained[case])
    names = {"loss", "elbo", "rate", "distortion"}
    assert set(one) == names | {f"val_{name}" for name in names} | {"val_rounded_accuracy"}
    for other in others:
        assert other == pytest.approx(one, rel=1e-5, abs=1e-5)


if __name__ == "__main__":
    main()
