"""Which epoch is kept, and when training ends."""

import json

import numpy as np
import pytest

from components.errors import InputError
from components.trainer.checkpoints import DISTORTION, ELBO, BestWeights
from tests.components.trainer.tiny_models import tiny_config, tiny_model


@pytest.fixture(scope="module")
def model():
    return tiny_model(tiny_config(likelihood="gaussian_analytic_scale"))


def epochs_until_stop(model, folder, values, start=0, **options):
    best = BestWeights(folder, **options)
    best.set_model(model)
    model.stop_training = False
    name = options.get("monitor", ELBO).name
    for epoch, value in enumerate(values, start):
        best.on_epoch_end(epoch, {name: value})
        if model.stop_training:
            return epoch + 1
    return None


@pytest.mark.parametrize(
    ("values", "patience", "count_from", "expected"),
    [
        ([-9, -8, -7, -6, -5], 1, 0, None),
        ([-9, -8, -8, -8, -8], 2, 0, 4),
        ([-9, -10, -8, -9, -9, -9], 3, 0, 6),
        ([-5, -6, -7, -8, -9, -10], 1, 4, 5),
        ([-5, -6, -7, -8, -9, -4, -5, -5], 2, 4, 8),
        ([-5, -6, -7, -8, -9, -10], None, 0, None),
        ([float("nan"), float("-inf"), float("nan")], 3, 0, 3),
    ],
)
def test_training_ends_when_no_better_epoch_comes(
    model, tmp_path, values, patience, count_from, expected
):
    given = epochs_until_stop(model, tmp_path, values, patience=patience, count_from=count_from)
    assert given == expected


def test_patience_survives_a_restart(model, tmp_path):
    assert epochs_until_stop(model, tmp_path, [-9, -8, -9], patience=3) is None
    assert epochs_until_stop(model, tmp_path, [-9, -9, -9], start=3, patience=3) == 5


@pytest.mark.parametrize(
    ("monitor", "values", "epoch"), [(ELBO, [-9, -4, -6], 2), (DISTORTION, [9, 4, 3, 6], 3)]
)
def test_the_best_epoch_is_restored_with_every_part_of_the_model(
    model, tmp_path, monitor, values, epoch
):
    best = BestWeights(tmp_path, monitor=monitor)
    best.set_model(model)
    variables = [
        variable
        for part in (model.encoder, model.decoder, model.likelihood)
        for variable in part.variables
    ]
    # Kernels and biases of two nets of two layers, and the scale and its count.
    assert len(variables) == 4 + 4 + 2
    kept = []
    for index, value in enumerate(values):
        for variable in variables:
            variable.assign_add(np.ones(variable.shape))
        kept.append([variable.numpy() for variable in variables])
        best.on_epoch_end(index, {monitor.name: value})
    BestWeights(tmp_path, monitor=monitor)
    best.restore()
    for variable, value in zip(variables, kept[epoch - 1], strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)
    known = json.loads((tmp_path / "best.json").read_text())
    assert known == {"epoch": epoch, monitor.name: values[epoch - 1]}


def test_no_finite_epoch_is_an_error_with_a_remedy(model, tmp_path):
    best = BestWeights(tmp_path)
    best.set_model(model)
    best.on_epoch_end(0, {"val_elbo": float("nan")})
    with pytest.raises(InputError, match="No epoch had a finite val_elbo; lower learning_rate"):
        best.restore()
