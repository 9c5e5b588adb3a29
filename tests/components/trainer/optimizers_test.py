"""Learning rates at given steps, and averages of weights."""

import math

import numpy as np
import pytest
import tf_keras

from components.trainer.config import TrainingConfig
from components.trainer.optimizers import AveragedWeights, build_optimizer
from tests.components.trainer.tiny_models import random_batch, tiny_config, tiny_model


def rates(steps, **changes):
    config = TrainingConfig(learning_rate=0.02, epochs=10, **changes)
    optimizer = build_optimizer(config, steps_per_epoch=8)
    given = []
    for step in steps:
        optimizer.iterations.assign(step)
        schedule = optimizer._learning_rate
        rate = schedule(step) if callable(schedule) else optimizer.learning_rate
        given.append(float(rate))
    return given


def test_a_cosine_falls_to_a_hundredth_after_its_warm_up():
    # Four steps of warm-up, then 76 of the cosine.
    cosine = [0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * share)) for share in (0, 0.25, 0.5, 1)]
    expected = [0.0, 0.005, 0.01, *(0.02 * share for share in cosine)]
    assert rates([0, 1, 2, 4, 23, 42, 80], warmup_epochs=0.5) == pytest.approx(expected, rel=1e-5)


def test_a_cosine_without_warm_up_starts_at_its_peak():
    given = rates([0, 40, 80, 500], warmup_epochs=0.0)
    assert given == pytest.approx([0.02, 0.0101, 0.0002, 0.0002], rel=1e-5)


def test_a_constant_rate_stays_after_its_warm_up():
    given = rates([0, 1, 2, 4, 79, 1000], schedule="constant", warmup_epochs=0.5)
    assert given == pytest.approx([0.005, 0.00875, 0.0125, 0.02, 0.02, 0.02], rel=1e-5)
    assert rates([0, 50], schedule="constant", warmup_epochs=0.0) == pytest.approx([0.02, 0.02])


def test_a_warm_up_of_a_whole_training_is_no_cosine():
    assert rates([0, 40, 80], warmup_epochs=10.0) == pytest.approx([0.0, 0.01, 0.02])


@pytest.mark.parametrize(
    ("name", "kind"),
    [("adam", "Adam"), ("adamax", "Adamax"), ("rmsprop", "RMSprop"), ("sgd", "SGD")],
)
def test_each_name_builds_its_optimizer(name, kind):
    optimizer = build_optimizer(TrainingConfig(optimizer=name, gradient_clip_norm=3.0), 8)
    assert type(optimizer).__name__ == kind
    assert optimizer.global_clipnorm == 3.0
    assert not optimizer.use_ema


def test_half_precision_scales_its_loss():
    config = TrainingConfig(precision="mixed_float16", ema_momentum=0.9)
    optimizer = build_optimizer(config, 8)
    assert isinstance(optimizer, tf_keras.mixed_precision.LossScaleOptimizer)
    assert optimizer.inner_optimizer.use_ema
    bfloat = build_optimizer(TrainingConfig(precision="mixed_bfloat16"), 8)
    assert type(bfloat).__name__ == "Adam"


class Keeper(tf_keras.callbacks.Callback):
    """Notes the weights that it is shown."""

    def on_epoch_end(self, epoch, logs=None):
        self.seen = epoch, logs, [variable.numpy() for variable in self.model.trainable_variables]


@pytest.mark.parametrize("precision", ["float32", "mixed_float16"])
def test_the_keeper_sees_the_running_average_and_training_goes_on_without_it(precision):
    config = tiny_config(
        formulation="a", optimizer="sgd", ema_momentum=0.7, precision=precision, schedule="constant"
    )
    model = tiny_model(config)
    model.compile(optimizer=build_optimizer(config, 8))
    keeper = Keeper()
    averaged = AveragedWeights(keeper)
    averaged.set_model(model)
    batch = random_batch(config)
    average = [variable.numpy() for variable in model.trainable_variables]
    for _ in range(3):
        model.train_step(batch)
        trained = [variable.numpy() for variable in model.trainable_variables]
        average = [0.7 * old + 0.3 * new for old, new in zip(average, trained, strict=True)]
    averaged.on_test_begin()
    validated = [variable.numpy() for variable in model.trainable_variables]
    averaged.on_epoch_end(4, {"val_elbo": 1.0})
    assert keeper.seen[:2] == (4, {"val_elbo": 1.0})
    assert max(np.abs(a - t).max() for a, t in zip(average, trained, strict=True)) > 1e-3
    for index, variable in enumerate(model.trainable_variables):
        np.testing.assert_allclose(validated[index], average[index], rtol=1e-4, atol=1e-6)
        np.testing.assert_array_equal(keeper.seen[2][index], validated[index])
        np.testing.assert_array_equal(variable.numpy(), trained[index])
