import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from components.elbo_evaluator.moments import CoMoments, Moments

# Unlike one another in size, as nats per image are.
_VALUES = st.integers(1, 40).flatmap(
    lambda count: arrays(np.float64, (count, 2), elements=st.floats(-1000.0, 1000.0))
)
_CUTS = st.lists(st.integers(0, 40), max_size=6)


def _merged(kind, values, cuts):
    """Of parts that were cut anywhere; some may be empty."""
    merged = kind.of(values[:0])
    for part in np.split(values, sorted(min(cut, len(values)) for cut in cuts)):
        merged = merged.merge(kind.of(part))
    return merged


@given(values=_VALUES, cuts=_CUTS)
@settings(deadline=None, max_examples=200)
def test_any_split_into_merged_parts_equals_numpy(values, cuts):
    merged = _merged(Moments, values, cuts)
    rounding = 1e-12 * np.abs(values).max()
    assert merged.count == len(values)
    np.testing.assert_allclose(merged.mean, values.mean(axis=0), rtol=1e-12, atol=rounding)
    if len(values) > 1:
        # Equal values have a standard error of zero, but for rounding.
        expected = values.std(axis=0, ddof=1) / np.sqrt(len(values))
        np.testing.assert_allclose(merged.standard_error(), expected, rtol=1e-10, atol=rounding)


@given(values=_VALUES, cuts=_CUTS)
@settings(deadline=None, max_examples=200)
def test_any_split_has_the_covariance_of_numpy(values, cuts):
    merged = _merged(CoMoments, values, cuts)
    assert merged.count == len(values)
    expected = np.cov(values.T, ddof=0)
    rounding = 1e-12 * np.square(values).max()
    np.testing.assert_allclose(merged.covariance, expected, rtol=1e-9, atol=rounding)
    np.testing.assert_allclose(
        merged.mean, values.mean(axis=0), rtol=1e-12, atol=1e-12 * np.abs(values).max()
    )


def test_a_far_mean_does_not_drown_the_spread():
    values = 1e8 + np.random.default_rng(0).normal(0, 1, (1000, 2))
    errors = _merged(Moments, values, [1, 400]).standard_error()
    np.testing.assert_allclose(errors, values.std(axis=0, ddof=1) / np.sqrt(1000), rtol=1e-6)
    covariance = _merged(CoMoments, values, [1, 400]).covariance
    np.testing.assert_allclose(covariance, np.cov(values.T, ddof=0), rtol=1e-6, atol=1e-6)


def test_scores_in_float32_are_summed_in_float64():
    values = np.full((100_000, 1), -100.1, np.float32)
    assert Moments.of(values).mean[0] == pytest.approx(float(values[0, 0]), rel=1e-13)
    assert CoMoments.of(values).mean[0] == pytest.approx(float(values[0, 0]), rel=1e-13)


def test_fewer_than_two_examples_have_no_finite_standard_error():
    assert np.isposinf(Moments.of(np.zeros((0, 2))).standard_error()).all()
    assert np.isposinf(Moments.of(np.ones((1, 2))).standard_error()).all()


@pytest.mark.parametrize("kind", [Moments, CoMoments])
def test_nothing_changes_nothing(kind):
    nothing, something = kind.of(np.zeros((0, 2))), kind.of(np.array([[1.0, 2.0], [3.0, 5.0]]))
    assert nothing.merge(nothing).count == 0
    for merged in (nothing.merge(something), something.merge(nothing)):
        assert merged.count == 2
        np.testing.assert_array_equal(merged.mean, [2.0, 3.5])


_NOT_FINITE = [
    ([math.inf, 1.0, 2.0], math.inf),
    ([1.0, 2.0, -math.inf], -math.inf),
    ([math.inf, math.inf, math.inf], math.inf),
    ([math.inf, 1.0, -math.inf], math.nan),
    ([math.nan, math.inf, 1.0], math.nan),
    ([math.inf, 1.0, math.nan], math.nan),
    ([1.0, math.nan, 2.0], math.nan),
]


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize(("values", "mean"), _NOT_FINITE)
@pytest.mark.parametrize("cut", [0, 1, 2, 3])
def test_an_infinite_value_makes_the_mean_infinite_in_any_order(values, mean, cut):
    values = np.repeat(np.array(values)[:, None], 2, axis=1)
    merged = Moments.of(values[:cut]).merge(Moments.of(values[cut:]))
    np.testing.assert_array_equal(merged.mean, [mean, mean])
    assert np.isnan(merged.standard_error()).all()


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("values", [values for values, _ in _NOT_FINITE])
@pytest.mark.parametrize("cut", [0, 1, 2, 3])
def test_a_value_that_is_not_finite_leaves_no_finite_covariance(values, cut):
    values = np.stack([values, [1.0, 2.0, 3.0]], axis=1)
    merged = CoMoments.of(values[:cut]).merge(CoMoments.of(values[cut:]))
    assert not np.isfinite(merged.mean[0])
    assert not np.isfinite(merged.covariance[0]).any()
    assert merged.mean[1] == 2.0
    assert merged.covariance[1, 1] == pytest.approx(2 / 3)
