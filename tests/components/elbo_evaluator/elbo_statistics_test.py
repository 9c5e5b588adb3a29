import functools
import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.elbo_evaluator.statistics import STATISTICS, merge
from tests.components.elbo_evaluator.made_up import random_scores

_SETTINGS = {"ElboTerms": {"num_pixels": 784}}


def _numbers(name, scores, cuts=()):
    """The numbers of a statistic, from images in parts; parts may be empty."""
    statistic = STATISTICS[name](**_SETTINGS.get(name, {}))
    count = len(next(iter(scores.values())))
    bounds = [0, *sorted(min(cut, count) for cut in cuts), count]
    parts = [
        statistic.accumulate({key: values[start:end] for key, values in scores.items()})
        for start, end in itertools.pairwise(bounds)
    ]
    numbers = statistic.numbers(functools.reduce(merge, parts, None))
    assert tuple(numbers) == statistic.names
    return numbers


def _standard_error(values):
    return np.std(values, ddof=1, dtype=np.float64) / np.sqrt(len(values))


@pytest.mark.parametrize("name", list(STATISTICS))
@given(
    count=st.integers(2, 30),
    seed=st.integers(0, 100),
    cuts=st.lists(st.integers(0, 30), max_size=5),
)
@settings(deadline=None, max_examples=40)
def test_any_split_of_the_images_gives_the_same_numbers(name, count, seed, cuts):
    scores = random_scores(count, seed)
    whole, split = _numbers(name, scores), _numbers(name, scores, cuts)
    for key, value in whole.items():
        np.testing.assert_allclose(split[key], value, rtol=1e-9, atol=1e-11, err_msg=key)


@pytest.mark.parametrize("name", list(STATISTICS))
def test_scores_that_say_nothing_of_a_statistic_are_left_out(name):
    statistic = STATISTICS[name](**_SETTINGS.get(name, {}))
    assert statistic.accumulate({}) is None
    scores = random_scores(5)
    costly = {"importance_weighted_bound", "distortion_slope", "rate_slope"}
    cheap = {key: values for key, values in scores.items() if key not in costly}
    of_costly = statistic.accumulate({key: scores[key] for key in costly})
    # The costly scores of some images must not be counted as images again.
    assert (of_costly is None) != (statistic.accumulate(cheap) is None)


def test_merging_with_nothing_changes_nothing():
    accumulator = STATISTICS["NonFinite"]().accumulate(random_scores(5))
    assert merge(None, accumulator) is accumulator
    assert merge(accumulator, None) is accumulator
    assert merge(None, None) is None


def test_elbo_terms_are_means_with_standard_errors():
    scores = random_scores(200)
    numbers = _numbers("ElboTerms", scores)
    assert numbers["example_count"] == 200
    for name in ("elbo", "rate", "distortion"):
        values = scores[name].astype(float)
        assert numbers[name] == pytest.approx(values.mean(), rel=1e-12)
        error = numbers[f"{name}_standard_error"]
        assert error == pytest.approx(_standard_error(values), rel=1e-12)
    bits = -scores["elbo"].astype(float).mean() / 784 / math.log(2)
    assert numbers["bits_per_dimension"] == pytest.approx(bits, rel=1e-12)


def test_a_fair_coin_costs_one_bit_a_pixel():
    scores = random_scores(5)
    scores["elbo"] = np.full(5, -784 * math.log(2))
    assert _numbers("ElboTerms", scores)["bits_per_dimension"] == pytest.approx(1.0, rel=1e-12)


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_an_elbo_that_is_not_finite_is_not_a_number(value):
    scores = random_scores(20)
    scores["elbo"][7] = value
    numbers = _numbers("ElboTerms", scores, cuts=[7, 8])
    for name in ("elbo", "elbo_standard_error", "bits_per_dimension"):
        assert math.isnan(numbers[name])
    assert numbers["rate"] == pytest.approx(scores["rate"].astype(float).mean())


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_the_rate_of_an_autoencoder_stays_infinite():
    scores = random_scores(20)
    scores["rate"][:], scores["elbo"][:] = math.inf, -math.inf
    scores["posterior_variance"][:] = 0.0
    numbers = _numbers("ElboTerms", scores, cuts=[7])
    assert numbers["rate"] == math.inf
    assert math.isnan(numbers["elbo"])
    assert numbers["distortion"] == pytest.approx(scores["distortion"].astype(float).mean())
    assert _numbers("NonFinite", scores, cuts=[7]) == {"non_finite_share": 1.0}
    # An infinite rate bounds nothing, but the number of images still does.
    information = _numbers("LatentSpace", scores, cuts=[7])["information_bound"]
    assert information == pytest.approx(math.log(20))


def test_reconstructions():
    scores = {"squared_error": np.array([0.02, 0.0, 0.01]), "rounded_accuracy": [0.5, 1.0, 0.75]}
    scores["rounded_accuracy"] = np.array(scores["rounded_accuracy"])
    numbers = _numbers("Reconstruction", scores)
    # An mse of 0.01 is 20 dB.
    assert numbers == pytest.approx({"mse": 0.01, "psnr": 20.0, "rounded_accuracy": 0.75})


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_reconstructions_without_an_error():
    scores = {"squared_error": np.zeros(3), "rounded_accuracy": np.ones(3)}
    assert _numbers("Reconstruction", scores)["psnr"] == math.inf


def test_the_importance_weighted_bound_counts_its_own_images():
    values = np.random.default_rng(0).normal(-90, 5, 64).astype(np.float32)
    numbers = _numbers("ImportanceWeightedBound", {"importance_weighted_bound": values}, [10])
    assert numbers == pytest.approx(
        {
            "importance_weighted_bound": values.astype(float).mean(),
            "importance_weighted_bound_standard_error": _standard_error(values),
            "importance_weighted_count": 64,
        }
    )


@pytest.mark.parametrize("weight", [0.01, 1.0, 2.0, 784.0])
def test_slopes_in_a_fixed_proportion_are_the_weight_itself(weight):
    rate = np.random.default_rng(1).normal(-20.0, 6.0, 50)
    numbers = _numbers("ImpliedKlWeight", {"rate_slope": rate, "distortion_slope": -weight * rate})
    assert numbers["implied_kl_weight"] == pytest.approx(weight, rel=1e-12)
    assert numbers["implied_kl_weight_standard_error"] == pytest.approx(0.0, abs=1e-6 * weight)


def test_the_standard_error_of_the_weight_is_the_spread_over_data_sets():
    random = np.random.default_rng(2)
    weights, errors = [], []
    for _ in range(2000):
        rate = random.normal(-20.0, 6.0, 100)
        distortion = 30.0 - 0.4 * (rate + 20.0) + random.normal(0.0, 8.0, 100)
        numbers = _numbers("ImpliedKlWeight", {"rate_slope": rate, "distortion_slope": distortion})
        weights.append(numbers["implied_kl_weight"])
        errors.append(numbers["implied_kl_weight_standard_error"])
    assert np.mean(weights) == pytest.approx(1.5, abs=0.01)
    # 2,000 data sets tell a spread to within 1.6 %.
    assert np.mean(errors) == pytest.approx(np.std(weights), rel=0.06)


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize(("slope", "is_nan"), [(0.0, True), (3.0, False)])
def test_a_rate_that_does_not_change_has_no_weight(slope, is_nan):
    scores = {"rate_slope": np.zeros(4), "distortion_slope": np.full(4, slope)}
    numbers = _numbers("ImpliedKlWeight", scores)
    assert not math.isfinite(numbers["implied_kl_weight"])
    assert math.isnan(numbers["implied_kl_weight"]) == is_nan


@pytest.mark.parametrize("name", ["elbo", "distortion", "rate", "code", "posterior_variance"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_an_image_with_any_value_that_is_not_finite_counts_once(name, value):
    scores = random_scores(40)
    scores[name].reshape(40, -1)[3] = value
    scores["squared_error"][3] = value
    scores[name].reshape(40, -1)[11, -1] = value
    assert _numbers("NonFinite", scores, cuts=[5]) == {"non_finite_share": 2 / 40}
