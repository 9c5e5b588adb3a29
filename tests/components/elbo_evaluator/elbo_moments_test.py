import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from components.elbo_evaluator.metrics import Moments

# Unlike one another in size, as nats per image are.
_VALUES = st.integers(1, 40).flatmap(
    lambda count: arrays(np.float64, (count, 2), elements=st.floats(-1000.0, -1.0))
)


def _of(values):
    moments = Moments.empty(2)
    for value in values:
        moments = moments.add(value)
    return moments


@given(values=_VALUES, cuts=st.lists(st.integers(0, 40), max_size=6))
@settings(deadline=None, max_examples=300)
def test_any_split_into_merged_parts_equals_numpy(values, cuts):
    merged = Moments.empty(2)
    for part in np.split(values, sorted(min(cut, len(values)) for cut in cuts)):
        merged = merged.merge(_of(part))
    assert merged.count == len(values)
    np.testing.assert_allclose(merged.mean, values.mean(axis=0), rtol=1e-12)
    if len(values) > 1:
        # Equal values have a standard error of zero, but for rounding.
        rounding = 1e-12 * np.abs(values).max()
        expected = values.std(axis=0, ddof=1) / np.sqrt(len(values))
        np.testing.assert_allclose(merged.standard_error(), expected, rtol=1e-12, atol=rounding)


def test_a_far_mean_does_not_drown_the_spread():
    values = 1e8 + np.random.default_rng(0).normal(0, 1, (1000, 1))
    parts = np.split(values, [1, 400])
    merged = Moments.empty(1)
    for part in parts:
        moments = Moments.empty(1)
        for value in part:
            moments = moments.add(value)
        merged = merged.merge(moments)
    expected = values.std(axis=0, ddof=1) / np.sqrt(1000)
    np.testing.assert_allclose(merged.standard_error(), expected, rtol=1e-6)


def test_fewer_than_two_examples_have_no_finite_standard_error():
    assert np.isposinf(Moments.empty(2).standard_error()).all()
    assert np.isposinf(Moments.empty(2).add(np.ones(2)).standard_error()).all()


def test_nothing_and_nothing_is_nothing():
    assert Moments.empty(2).merge(Moments.empty(2)).count == 0


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize(
    ("values", "mean"),
    [
        ([math.inf, 1.0, 2.0], math.inf),
        ([1.0, 2.0, -math.inf], -math.inf),
        ([math.inf, math.inf, math.inf], math.inf),
        ([math.inf, 1.0, -math.inf], math.nan),
        ([math.nan, math.inf, 1.0], math.nan),
        ([math.inf, 1.0, math.nan], math.nan),
    ],
)
@pytest.mark.parametrize("cut", [0, 1, 2, 3])
def test_an_infinite_value_makes_the_mean_infinite_in_any_order(values, mean, cut):
    values = np.repeat(np.array(values)[:, None], 2, axis=1)
    merged = _of(values[:cut]).merge(_of(values[cut:]))
    np.testing.assert_array_equal(merged.mean, [mean, mean])
    assert np.isnan(merged.standard_error()).all()
