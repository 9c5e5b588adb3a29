"""What can be searched, and what is refused before any work."""

import subprocess
import sys

import pytest

from components.errors import InputError
from components.trainer import TrainingConfig
from components.tuner import LogRange, SearchSpace


@pytest.mark.parametrize(
    "search",
    [
        SearchSpace({"latent_size": [2, 5], "kl_weight": [0.5, 1]}),
        SearchSpace({"architecture": ["dense", "conv"]}, seed=3),
        SearchSpace({"learning_rate": LogRange(1e-4, 1e-2), "seed": [0, 1]}, "bayesian", 9),
    ],
)
def test_round_trips_through_json(search):
    assert SearchSpace.from_json(search.to_json()) == search


def test_a_grid_is_every_combination_and_the_rest_is_left_alone():
    search = SearchSpace({"latent_size": [2, 5, 9], "kl_weight": [1, 4]})
    base = TrainingConfig(architecture="dense", epochs=3)
    found = search.configurations(base)
    assert [(config.latent_size, config.kl_weight) for config in found] == [
        (2, 1.0),
        (2, 4.0),
        (5, 1.0),
        (5, 4.0),
        (9, 1.0),
        (9, 4.0),
    ]
    assert search.num_trials == 6
    assert {(config.architecture, config.epochs) for config in found} == {("dense", 3)}
    # One training must not have two names: 1 and 1.0.
    assert all(type(config.kl_weight) is float for config in found)


def test_of_a_range_both_ends_are_checked():
    search = SearchSpace({"ema_momentum": LogRange(0.5, 2.0)}, "random", 4)
    assert search.num_trials == 4
    with pytest.raises(InputError, match=r"ema_momentum must be between 0 and 1, not 2\.0"):
        search.configurations(TrainingConfig())


@pytest.mark.parametrize(
    ("fields", "options", "message"),
    [
        ({}, {}, "at least one field"),
        ({"latent": [2]}, {}, "A training has no field 'latent'; known: formulation, "),
        ({"latent_size": []}, {}, "There is no value of latent_size to try"),
        ({"latent_size": [2, "5"]}, {}, "latent_size must be a whole number, not '5'"),
        ({"latent_size": [2.5]}, {}, "latent_size must be a whole number, not 2.5"),
        ({"latent_size": [True]}, {}, "latent_size must be a whole number, not True"),
        ({"latent_size": [2, 5, 2]}, {}, "latent_size lists 2 twice"),
        ({"kl_weight": [float("inf")]}, {}, "kl_weight must be a number, not inf"),
        ({"hidden_units": [[8], [16]]}, {}, "hidden_units cannot be searched"),
        ({"latent_size": LogRange(2, 8)}, {}, "latent_size cannot be searched over a range"),
        ({"kl_weight": LogRange(1, 2)}, {}, "A grid needs a list of values for kl_weight"),
        ({"latent_size": [2]}, {"max_trials": 3}, "A grid is searched whole"),
        ({"latent_size": [2]}, {"algorithm": "genetic"}, "Unknown algorithm 'genetic'"),
        ({"latent_size": [2]}, {"algorithm": "random"}, "random needs max_trials of at least 1"),
        ({"latent_size": [2]}, {"seed": -1}, "seed must be a whole number of at least 0"),
    ],
)
def test_what_makes_no_sense_is_named(fields, options, message):
    with pytest.raises(InputError, match=message):
        SearchSpace(fields, **options)


@pytest.mark.parametrize(("low", "high"), [(0, 1), (2, 1), (1, 1), (1, float("inf"))])
def test_a_range_that_is_none_is_refused(low, high):
    with pytest.raises(InputError, match="from a positive number to a larger one"):
        LogRange(low, high)


@pytest.mark.parametrize(
    ("fields", "base", "message"),
    [
        ({"latent_size": [2, 0]}, {}, "latent_size must be at least 1, not 0"),
        ({"kl_weight": [1, -1]}, {}, "kl_weight must not be negative, but is -1"),
        ({"prior": ["standard_normal", "vamp"]}, {}, "set rate_estimator to monte_carlo"),
        (
            {"kl_weight": [1, 2]},
            {"objective": "importance_weighted", "training_samples": 5},
            "only at kl_weight 1",
        ),
        ({"latent_size": [2]}, {"posterior": "point", "kl_weight": 0.0}, "an autoencoder .* none"),
    ],
)
def test_combinations_that_are_no_training_are_refused(fields, base, message):
    with pytest.raises(InputError, match=message):
        SearchSpace(fields).configurations(TrainingConfig(**base))


def test_a_search_space_is_made_without_waiting_for_tensorflow():
    code = (
        "import sys; from components.tuner import SearchSpace; SearchSpace({'latent_size': [2]}); "
        "print([name for name in ('tensorflow', 'tfx', 'keras_tuner') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout == "[]\n", result.stderr
