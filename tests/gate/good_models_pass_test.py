"""Controls: what must pass."""

import dataclasses

import pytest

from tests.gate.conftest import GATE


def test_a_champion_passes_against_itself_and_on_a_first_run(champion_path, judge):
    assert judge(champion_path) == (set(), "")
    assert judge(champion_path, first=True) == (set(), "")


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_second_training_is_as_good(seed, train_digits, judge):
    path = train_digits(seed=seed)
    assert judge(path)[0] == set()
    assert judge(path, first=True)[0] == set()


def test_a_better_model_passes_and_the_one_that_it_replaces_would_not(
    train_digits, champion_path, judge
):
    weak = train_digits(epochs=8)
    assert judge(weak)[0] >= {"champion"}
    better = dataclasses.replace(GATE, comparison="significantly_better")
    assert "champion" in judge(champion_path, gate=better)[0]


@pytest.mark.slow
def test_a_weighted_model_passes_where_it_says_so(train_digits, judge):
    path = train_digits(kl_weight=0.5)
    assert "kl weight" not in judge(path, first=True)[0]


@pytest.mark.slow
@pytest.mark.parametrize("formulation", ["a", "b", "c", "d", "f"])
def test_other_formulations_pass(formulation, train_digits, judge):
    assert judge(train_digits(formulation=formulation))[0] == set()
