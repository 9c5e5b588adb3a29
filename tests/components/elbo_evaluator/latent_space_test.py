import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from components.elbo_evaluator.statistics import LatentSpace


def _numbers(mean, variance, code=None, rate=None):
    mean, variance = np.asarray(mean, float), np.asarray(variance, float)
    statistic = LatentSpace()
    if rate is None:
        rate = 0.5 * (mean**2 + variance - 1 - np.log(variance)).sum(axis=1)
    scores = {"posterior_mean": mean, "posterior_variance": variance, "rate": rate}
    return statistic.numbers(
        statistic.accumulate({**scores, "code": mean if code is None else np.asarray(code)})
    )


def test_the_rate_of_each_dimension_is_its_kl_divergence():
    mean, variance = [[1.0, 0.0, 0.0], [-1.0, 0.0, 2.0]], [[1.0, 1.0, 0.5], [1.0, 1.0, 0.5]]
    narrow = 0.5 * (0.5 - 1 + math.log(2))
    np.testing.assert_allclose(
        _numbers(mean, variance)["rate_per_dimension"], [0.5, 0.0, 1.0 + narrow], rtol=1e-12
    )


@pytest.mark.parametrize(("mean_variance", "active"), [(0.0099, 0), (0.0101, 1), (0.0, 0)])
def test_a_dimension_is_active_above_a_hundredth(mean_variance, active):
    spread = math.sqrt(mean_variance)
    # Far from zero but alike for all images tells nothing either.
    mean = [[3.0 + spread, 1.0, 5.0], [3.0 - spread, -1.0, 5.0]]
    numbers = _numbers(mean, np.full((2, 3), 0.5))
    assert numbers["active_units"] == 1 + active
    assert numbers["collapsed_share"] == pytest.approx(1 - (1 + active) / 3)


def test_everything_collapsed():
    numbers = _numbers(np.zeros((50, 4)), np.ones((50, 4)))
    assert (numbers["active_units"], numbers["collapsed_share"]) == (0.0, 1.0)
    assert numbers["aggregated_posterior_kl_bound"] == pytest.approx(0.0, abs=1e-12)
    assert numbers["information_bound"] == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("size", [1, 3])
def test_of_a_gaussian_aggregate_the_bound_is_the_kl_divergence(size):
    random = np.random.default_rng(3)
    factor = random.normal(size=(size, size)) + 2 * np.eye(size)
    wanted, centre = factor @ factor.T / size, random.normal(size=size)
    # Means with exactly these moments; the aggregate of infinitely many is then Gaussian.
    spread = np.full(size, 0.5 * np.linalg.eigvalsh(wanted)[0])
    raw = random.normal(size=(400, size))
    raw -= raw.mean(axis=0)
    raw = raw @ np.linalg.inv(np.linalg.cholesky(np.atleast_2d(np.cov(raw.T, ddof=0)))).T
    mean = centre + raw @ np.linalg.cholesky(wanted - np.diag(spread)).T
    numbers = _numbers(mean, np.tile(spread, (400, 1)))
    log_determinant = np.linalg.slogdet(wanted)[1]
    divergence = 0.5 * (np.trace(wanted) + centre @ centre - size - log_determinant)
    assert numbers["aggregated_posterior_kl_bound"] == pytest.approx(divergence, rel=1e-9)


@given(
    mean=st.lists(st.floats(-3, 3), min_size=1, max_size=5),
    deviation=st.lists(st.floats(0.15, 2), min_size=5, max_size=5),
)
@settings(deadline=None, max_examples=60)
def test_of_a_mixture_the_bounds_hold(mean, deviation):
    mean, deviation = np.array(mean), np.array(deviation[: len(mean)])
    grid = np.linspace(-14, 14, 8001)
    densities = stats.norm.pdf(grid[:, None], mean, deviation)
    density = densities.mean(axis=1)
    log_ratio = np.log(np.maximum(density, 1e-300)) - stats.norm.logpdf(grid)
    divergence = integrate.simpson(density * log_ratio, x=grid)
    numbers = _numbers(mean[:, None], deviation[:, None] ** 2)
    assert -1e-9 <= numbers["aggregated_posterior_kl_bound"] <= divergence + 1e-6
    # The index-code mutual information: of each part from the aggregate.
    log_parts = np.log(np.maximum(densities, 1e-300)) - np.log(np.maximum(density, 1e-300))[:, None]
    information = integrate.simpson(densities * log_parts, x=grid, axis=0).mean()
    assert information - 1e-6 <= numbers["information_bound"] <= math.log(len(mean)) + 1e-12


def test_images_that_codes_tell_apart_surely_carry_the_logarithm_of_their_number():
    mean = 100.0 * np.arange(8)[:, None]
    numbers = _numbers(mean, np.full((8, 1), 1e-4))
    assert numbers["information_bound"] == pytest.approx(math.log(8), rel=1e-12)


def test_correlated_dimensions_are_not_counted_twice():
    one = np.random.default_rng(0).normal(size=(300, 1))
    one = (one - one.mean()) / one.std()
    small = np.full((300, 2), 0.01)
    twice = _numbers(np.hstack([one, one]), small)["aggregated_posterior_kl_bound"]
    covariance = np.ones((2, 2)) + 0.01 * np.eye(2)
    expected = 0.5 * (np.trace(covariance) - 2 - np.linalg.slogdet(covariance)[1])
    assert twice == pytest.approx(expected, rel=1e-9)
    assert twice > 1


def test_codes_beyond_three():
    codes = [[3.1, 0.0], [-3.5, 2.9], [2.0, 1.0], [-3.0, 3.0]]
    numbers = _numbers(np.zeros((4, 2)), np.ones((4, 2)), codes)
    assert numbers["share_beyond_three"] == 2 / 8
    normal = np.random.default_rng(0).normal(size=(100_000, 4))
    share = _numbers(np.zeros((100_000, 4)), np.ones((100_000, 4)), normal)["share_beyond_three"]
    assert share == pytest.approx(2 * stats.norm.sf(3), rel=0.1)


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_a_code_that_is_not_a_number_leaves_none():
    mean = np.random.default_rng(0).normal(size=(20, 2))
    mean[4, 0] = math.nan
    numbers = _numbers(mean, np.full((20, 2), 0.5))
    assert math.isnan(numbers["aggregated_posterior_kl_bound"])
    assert math.isnan(numbers["information_bound"])
    assert math.isnan(numbers["rate_per_dimension"][0])
    assert math.isfinite(numbers["rate_per_dimension"][1])
    # What is not known to tell something does not count as telling it.
    assert numbers["active_units"] == 1.0


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_codes_without_a_density_leave_no_bound():
    # An autoencoder's, which lie in a plane.
    mean = np.random.default_rng(0).normal(size=(20, 2)) * [1.0, 0.0]
    numbers = _numbers(mean, np.zeros((20, 2)), rate=np.full(20, math.inf))
    assert math.isnan(numbers["aggregated_posterior_kl_bound"])
    assert math.isnan(numbers["information_bound"])
    assert numbers["collapsed_share"] == 0.5
