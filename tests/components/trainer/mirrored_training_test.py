"""Training on two replicas; in a process of its own, since TensorFlow fixes its devices once."""

import json
import subprocess
import sys

import numpy as np
import pytest

TWO_DEVICES = """
import json
import sys

import numpy as np
import tensorflow as tf

(cpu,) = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
mirrored = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
"""

TRAIN = """
from components.trainer import run_fn
from components.trainer.config import TrainingConfig

run_fn.choose_strategy = lambda: mirrored
examples, folder = sys.argv[1:]
config = TrainingConfig(
    architecture="dense", latent_size=2, epochs=6, batch_size=50, learning_rate=3e-3
)
history = run_fn.train(
    config,
    [f"{examples}/Split-train/*"],
    [f"{examples}/Split-eval/*"],
    f"{folder}/model",
    f"{folder}/model_run/1",
    write=lambda line: None,
)
print(json.dumps(history))
"""

UPDATE = """
import tf_keras

from components.image_binarizer import ImageFormat
from components.trainer.config import TrainingConfig
from components.trainer.run_fn import build_model

class NoNoise:
    normal = staticmethod(tf.zeros)

pixels = np.random.default_rng(0).integers(0, 2, (64, 8, 8, 1), np.uint8)
data = tf.data.Dataset.from_tensor_slices(pixels).batch(64)
config = TrainingConfig(latent_size=3, kl_weight=3.0, architecture="dense")
results = []
for strategy in (tf.distribute.get_strategy(), mirrored):
    tf_keras.utils.set_random_seed(1)
    with strategy.scope():
        model = build_model(config, ImageFormat(8, 8, 1, "threshold"), np.full((8, 8, 1), 0.5))
        model.noise = NoNoise()
        model.compile(tf_keras.optimizers.SGD(0.01))
    before = model.get_weights()
    logs = model.fit(data, verbose=0).history
    moved = [(new - old).ravel().tolist() for new, old in zip(model.get_weights(), before)]
    replicas = strategy.num_replicas_in_sync
    results.append({"logs": logs, "moved": sum(moved, []), "replicas": replicas})
print(json.dumps(results))
"""


def run(program, *arguments):
    command = [sys.executable, "-c", TWO_DEVICES + program, *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(result.stdout.splitlines()[-1])


def test_two_replicas_make_the_update_of_one():
    # Without noise, which each replica draws for itself, nothing but the strategy differs.
    one, two = run(UPDATE)
    assert (one["replicas"], two["replicas"]) == (1, 2)
    moved = np.array(one["moved"])
    assert np.abs(moved).max() > 1e-3
    np.testing.assert_allclose(two["moved"], moved, rtol=1e-4, atol=1e-6)
    for name, (value,) in one["logs"].items():
        assert two["logs"][name][0] == pytest.approx(value, rel=1e-5), name


@pytest.fixture(scope="module")
def mirrored(ready_digits, tmp_path_factory):
    folder = tmp_path_factory.mktemp("mirrored")
    return folder, run(TRAIN, ready_digits.uri, folder)


def test_training_on_two_replicas_learns(mirrored):
    _, history = mirrored
    assert history["elbo"][-1] > history["elbo"][0] + 10


def test_logged_scalars_agree_with_each_other(mirrored):
    _, history = mirrored
    for prefix in ("", "val_"):
        for loss, elbo, rate, distortion in zip(
            *(history[prefix + name] for name in ("loss", "elbo", "rate", "distortion")),
            strict=True,
        ):
            assert elbo == pytest.approx(-(rate + distortion), rel=1e-5)
            assert loss == pytest.approx(-elbo, rel=1e-3)


def test_the_model_of_two_replicas_loads_on_one_device(mirrored):
    import tensorflow as tf

    model = tf.saved_model.load(str(mirrored[0] / "model"))
    assert model.signatures["decode"](z=tf.zeros([3, 2]))["mean"].shape == (3, 28, 28, 1)
