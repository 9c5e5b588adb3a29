"""Likelihoods against scipy, integrals, sums over levels, and their own samples."""

import math
from typing import get_args

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from components.trainer.config import Likelihood, TrainingConfig
from components.trainer.vae.likelihoods import (
    Bernoulli,
    ContinuousBernoulli,
    DiscretizedLogistic,
    Gaussian,
    GaussianAnalyticScale,
    GaussianLearnedScale,
    build_likelihood,
    log_odds,
)

NAMES = get_args(Likelihood)
LEVELS = np.arange(256) / 255


def likelihood_of(name, **changes):
    return build_likelihood(TrainingConfig(likelihood=name, **changes))


def sigmoid(value):
    return 1 / (1 + np.exp(-np.asarray(value, np.float64)))


def one_value(likelihood, values, *parameters):
    """Negative log-likelihoods of images of one pixel, for each of many values."""
    values = np.asarray(values, np.float32).reshape(-1, 1, 1, 1)
    parameters = np.broadcast_to(np.float32(parameters), (len(values), 1, 1, len(parameters)))
    return likelihood.negative_log_likelihood(tf.constant(values), tf.constant(parameters)).numpy()


# Bernoulli


@settings(deadline=None, max_examples=15)
@given(channels=st.sampled_from([1, 3]), spread=st.floats(0.1, 8), seed=st.integers(0, 1000))
def test_bernoulli_sums_cross_entropy_over_pixels_and_channels(channels, spread, seed):
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(2, 4, 5, 6, channels)) * spread
    images = rng.integers(0, 2, (4, 5, 6, channels))
    expected = -stats.bernoulli.logpmf(images, sigmoid(logits)).sum(axis=(2, 3, 4))
    given = Bernoulli().negative_log_likelihood(
        tf.constant(images, tf.float32), tf.constant(logits, tf.float32)
    )
    assert given.shape == (2, 4)
    np.testing.assert_allclose(given, expected, rtol=1e-5)


def test_bernoulli_is_finite_and_exact_for_extreme_logits():
    logits = tf.constant([[[[90.0], [-90.0]]]])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        wrong = Bernoulli().negative_log_likelihood(tf.constant([[[[0.0], [1.0]]]]), logits)
    right = Bernoulli().negative_log_likelihood(tf.constant([[[[1.0], [0.0]]]]), logits)
    np.testing.assert_allclose(wrong, [180.0], rtol=1e-6)
    np.testing.assert_allclose(right, [0.0], atol=1e-6)
    np.testing.assert_allclose(tape.gradient(wrong, logits).numpy().ravel(), [1.0, -1.0])


# Gaussians


@pytest.mark.parametrize("scale", [0.05, math.sqrt(0.5)])
def test_gaussian_is_scipys_density_at_a_fixed_scale(scale):
    rng = np.random.default_rng(0)
    images, raw = rng.uniform(size=(4, 5, 6, 3)), rng.normal(size=(2, 4, 5, 6, 3))
    given = Gaussian(scale).negative_log_likelihood(
        tf.constant(images, tf.float32), tf.constant(raw, tf.float32)
    )
    expected = -stats.norm(sigmoid(raw), scale).logpdf(images).sum(axis=(2, 3, 4))
    np.testing.assert_allclose(given, expected, rtol=1e-4)


def test_the_default_gaussian_is_a_sum_of_squares_and_a_constant():
    likelihood = likelihood_of("gaussian")
    worse, best = one_value(likelihood, [0.75, 0.25], log_odds(0.25))
    assert worse - best == pytest.approx(0.25, rel=1e-5)


def test_a_learned_scale_is_scipys_density_and_gets_its_gradient():
    rng = np.random.default_rng(1)
    images = rng.uniform(size=(4, 5, 6, 1)).astype(np.float32)
    raw = rng.normal(size=(1, 4, 5, 6, 1)).astype(np.float32)
    likelihood = GaussianLearnedScale()
    (weight,) = likelihood.trainable_variables
    assert float(tf.exp(likelihood.log_scale())) == pytest.approx(1.0, abs=3e-3)
    weight.assign(-1.3)
    scale = float(tf.exp(likelihood.log_scale()))
    assert scale == pytest.approx(math.exp(math.log1p(math.exp(4.7)) - 6), rel=1e-5)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(likelihood.negative_log_likelihood(images, raw))
    assert float(loss) == pytest.approx(
        -stats.norm(sigmoid(raw), scale).logpdf(images).sum(), rel=1e-5
    )
    by_log_scale = images.size - ((images - sigmoid(raw)) ** 2).sum() / scale**2
    assert abs(by_log_scale) > 10
    expected = by_log_scale * sigmoid(6 - 1.3)
    assert float(tape.gradient(loss, weight)) == pytest.approx(expected, rel=1e-4)
    weight.assign(-1e4)
    assert float(likelihood.log_scale()) == pytest.approx(-6.0)


def weighted_batch():
    rng = np.random.default_rng(2)
    images = rng.uniform(size=(5, 3, 2, 3)).astype(np.float32)
    raw = rng.normal(size=(2, 5, 3, 2, 3)).astype(np.float32)
    weight = np.array([5 / 3, 5 / 3, 5 / 3, 0, 0], np.float32)
    squares = ((images - sigmoid(raw)) ** 2).mean(axis=(2, 3, 4))
    assert abs(squares[:, :3].mean() - squares.mean()) > 0.005
    return images, raw, weight, squares[:, :3].mean()


def test_an_analytic_scale_is_the_root_mean_squared_error_of_the_first_batch():
    images, raw, weight, expected = weighted_batch()
    likelihood = GaussianAnalyticScale()
    assert float(tf.exp(likelihood.log_scale())) == pytest.approx(0.5)
    likelihood.fit(images, raw, weight)
    assert float(tf.exp(likelihood.log_scale())) == pytest.approx(math.sqrt(expected), rel=1e-5)
    assert likelihood.trainable_variables == []


def test_an_analytic_scale_is_a_running_mean_of_later_batches():
    likelihood, expected = GaussianAnalyticScale(), 0.0
    for count, error in enumerate(np.linspace(0.1, 0.9, 200) ** 2):
        images = np.full((1, 1, 1, 1), 0.5 + math.sqrt(error), np.float32)
        likelihood.fit(images, tf.zeros([1, 1, 1, 1, 1]), tf.ones(1))
        expected += max(0.01, 1 / (count + 1)) * (error - expected)
    # A mean of the first hundred, then of about the last hundred.
    assert float(tf.exp(2 * likelihood.log_scale())) == pytest.approx(expected, rel=1e-4)


def test_an_analytic_scale_stays_above_a_thousandth():
    likelihood = GaussianAnalyticScale()
    likelihood.fit(tf.fill([1, 1, 1, 1], 0.5), tf.zeros([1, 1, 1, 1, 1]), tf.ones(1))
    assert float(tf.exp(likelihood.log_scale())) == pytest.approx(1e-3)


def test_the_gradient_at_an_analytic_scale_is_the_profile_likelihoods():
    images, raw, weight, _ = weighted_batch()
    raw, likelihood = tf.constant(raw), GaussianAnalyticScale()
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(raw)
        likelihood.fit(images, raw, weight)
        loss = tf.reduce_mean(weight * likelihood.negative_log_likelihood(images, raw))
        squares = tf.reduce_mean((images - tf.sigmoid(raw)) ** 2, axis=(2, 3, 4))
        # Least over the scale of 18 values: 9 (log MSE + 1 + log 2 pi).
        profile = 9.0 * (tf.math.log(tf.reduce_mean(weight * squares)) + 1 + math.log(2 * math.pi))
    assert float(loss) == pytest.approx(float(profile), rel=1e-5)
    expected = tape.gradient(profile, raw).numpy()
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(tape.gradient(loss, raw), expected, rtol=1e-4, atol=1e-5)


# Continuous Bernoulli


@pytest.mark.parametrize("logit", [-30.0, -4.0, -1e-2, -1e-3, 0.0, 1e-6, 3e-3, 0.7, 12.0, 30.0])
def test_continuous_bernoulli_integrates_to_one(logit):
    x = np.linspace(0, 1, 20_001)
    density = np.exp(-one_value(ContinuousBernoulli(), x, logit).astype(np.float64))
    assert integrate.simpson(density, x=x) == pytest.approx(1.0, abs=2e-5)
    # The mean that is shown is the mean of that density.
    mean = float(ContinuousBernoulli().mean(tf.constant(logit)))
    assert integrate.simpson(x * density, x=x) == pytest.approx(mean, abs=2e-5)


@pytest.mark.parametrize("logit", [-90.0, -30.0, -1e-4, 0.0, 1e-4, 2e-3, 30.0, 90.0])
def test_continuous_bernoulli_and_its_gradient_are_the_closed_form(logit):
    parameters = tf.fill([1, 1, 1, 1], logit)
    with tf.GradientTape() as tape:
        tape.watch(parameters)
        loss = ContinuousBernoulli().negative_log_likelihood(tf.fill([1, 1, 1, 1], 0.3), parameters)
    # The exponential tilt of a uniform: the integral of e^(l x) is (e^l - 1) / l.
    exact = math.log(math.expm1(abs(logit)) / abs(logit)) if logit else 0.0
    expected = exact - (0.3 if logit >= 0 else 0.7) * abs(logit)
    assert float(loss[0]) == pytest.approx(expected, rel=1e-4, abs=1e-5)
    mean = 1 / -math.expm1(-logit) - 1 / logit if abs(logit) > 1e-3 else 0.5 + logit / 12
    assert float(tape.gradient(loss, parameters)) == pytest.approx(mean - 0.3, abs=1e-4)


# Discretized logistic


def logistic_of(centre, scale):
    """Parameters that put the centre and the scale there."""
    raw = math.log(centre / (1 - centre)) if 0 < centre < 1 else math.copysign(80.0, centre - 0.5)
    return raw, math.log(scale / 0.15)


@pytest.mark.parametrize("scale", [0.00092, 0.004, 0.15, 3.0, 50.0])
@pytest.mark.parametrize("centre", [0.0, 1e-4, 0.31, 0.5, 0.9999, 1.0])
def test_the_256_levels_add_up_to_one(centre, scale):
    logs = -one_value(DiscretizedLogistic(), LEVELS, *logistic_of(centre, scale))
    assert np.exp(logs.astype(np.float64)).sum() == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize("scale", [0.004, 0.15, 3.0])
@pytest.mark.parametrize("centre", [0.02, 0.31, 0.97])
def test_the_mean_of_a_discretized_logistic_is_that_of_its_levels(centre, scale):
    parameters = logistic_of(centre, scale)
    probabilities = np.exp(-one_value(DiscretizedLogistic(), LEVELS, *parameters))
    mean = DiscretizedLogistic().mean(tf.constant([[[parameters]]], tf.float32)).numpy().item()
    # To half of one of 255 steps between levels.
    assert mean == pytest.approx((probabilities * LEVELS).sum(), abs=0.5 / 255)


@pytest.mark.parametrize("scale", [0.005, 0.15, 3.0])
@pytest.mark.parametrize("centre", [0.02, 0.31, 0.5, 0.97])
def test_discretized_logistic_is_the_difference_of_distribution_functions(centre, scale):
    logistic = stats.logistic(centre, scale)
    upper = np.where(LEVELS == 1, np.inf, LEVELS + 0.5 / 255)
    lower = np.where(LEVELS == 0, -np.inf, LEVELS - 0.5 / 255)
    # From the nearer tail, where the difference keeps its digits.
    probability = np.where(
        centre > LEVELS,
        logistic.cdf(upper) - logistic.cdf(lower),
        logistic.sf(lower) - logistic.sf(upper),
    )
    given = one_value(DiscretizedLogistic(), LEVELS, *logistic_of(centre, scale))
    assert given.max() > (90 if scale < 0.01 else 3)
    np.testing.assert_allclose(given, -np.log(probability), rtol=1e-4, atol=1e-3)


def test_discretized_logistic_has_two_parameters_for_each_of_three_channels():
    rng = np.random.default_rng(3)
    images = rng.integers(0, 256, (4, 5, 3, 3)) / 255
    centres, raw_scales = rng.normal(size=(4, 5, 3, 3)), rng.normal(size=(4, 5, 3, 3))
    parameters = np.concatenate([centres, raw_scales], axis=-1)
    expected = np.zeros(4)
    for index in np.ndindex(4, 5, 3, 3):
        args = [images[index]], centres[index], raw_scales[index]
        expected[index[0]] += one_value(DiscretizedLogistic(), *args)[0]
    given = DiscretizedLogistic().negative_log_likelihood(
        tf.constant(images, tf.float32), tf.constant(parameters, tf.float32)
    )
    np.testing.assert_allclose(given, expected, rtol=1e-4)


@pytest.mark.parametrize("raw", [(-50.0, -50.0), (50.0, -50.0), (0.0, -50.0), (0.0, 20.0)])
def test_discretized_logistic_and_its_gradient_are_finite_anywhere(raw):
    parameters = tf.tile(tf.constant(raw)[None, None, None], [256, 1, 1, 1])
    images = tf.constant(LEVELS.reshape(-1, 1, 1, 1), tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(parameters)
        losses = DiscretizedLogistic().negative_log_likelihood(images, parameters)
    assert np.isfinite(losses).all()
    assert np.isfinite(tape.gradient(losses, parameters)).all()


# All of them


def draws_of(likelihood, *raw, count=100_000):
    parameters = tf.tile(tf.constant(raw)[None, None, None], [count, 1, 1, 1])
    uniform = tf.random.stateless_uniform([count, 1, 1, 1], seed=[1, 2])
    return likelihood.sample(parameters, uniform).numpy().ravel(), parameters[:1]


@pytest.mark.parametrize("raw", [-1.5, 0.0, 0.8])
@pytest.mark.parametrize("name", NAMES)
def test_samples_have_the_mean(name, raw):
    likelihood = likelihood_of(name)
    # Narrow, so that the tails that the ends take do not move the logistic's mean.
    extra = (-2.0,) * (likelihood.parameters_per_value - 1)
    draws, parameters = draws_of(likelihood, raw, *extra)
    error = draws.std() / math.sqrt(draws.size)
    assert error > 0
    assert abs(draws.mean() - float(likelihood.mean(parameters))) < 5 * error + 1e-4


@pytest.mark.parametrize("centre", [0.05, 0.5, 0.9])
def test_discretized_samples_are_levels_with_their_probabilities(centre):
    likelihood = DiscretizedLogistic()
    raw = logistic_of(centre, 0.02)
    draws, _ = draws_of(likelihood, *raw)
    levels = np.round(draws * 255)
    np.testing.assert_allclose(draws * 255, levels, atol=1e-4)
    expected = np.exp(-one_value(likelihood, LEVELS, *raw))
    frequency = np.bincount(levels.astype(int), minlength=256) / draws.size
    error = np.sqrt(expected * (1 - expected) / draws.size)
    assert (np.abs(frequency - expected) < 5 * error + 2e-4).all()


@pytest.mark.parametrize("name", ["gaussian", "gaussian_learned_scale", "gaussian_analytic_scale"])
def test_gaussian_samples_have_the_scale(name):
    likelihood = likelihood_of(name, gaussian_scale=0.2)
    draws, _ = draws_of(likelihood, 0.3)
    expected = float(tf.exp(likelihood.log_scale()))
    assert draws.std() == pytest.approx(expected, rel=5 / math.sqrt(2 * draws.size))


@pytest.mark.parametrize("logit", [-20.0, -1.0, 0.0, 5.0])
def test_continuous_samples_have_the_distribution(logit):
    draws, _ = draws_of(ContinuousBernoulli(), logit, count=20_000)
    x = np.linspace(0, 1, 4001)
    density = np.exp(-one_value(ContinuousBernoulli(), x, logit).astype(np.float64))
    cumulated = integrate.cumulative_trapezoid(density, x, initial=0)
    result = stats.kstest(draws, lambda value: np.interp(value, x, cumulated))
    assert result.pvalue > 1e-4


@pytest.mark.parametrize("uniform", [0.0, 0.5, 1 - 2**-24])
@pytest.mark.parametrize("name", NAMES)
def test_the_ends_of_uniform_noise_give_finite_samples(name, uniform):
    likelihood = likelihood_of(name)
    count = likelihood.parameters_per_value
    for raw in (-30.0, 0.0, 30.0):
        parameters = tf.fill([1, 1, 1, count], raw)
        sample = likelihood.sample(parameters, tf.fill([1, 1, 1, 1], uniform)).numpy()
        assert np.isfinite(sample).all()
        if not name.startswith("gaussian"):
            assert 0 <= sample.min() <= sample.max() <= 1


@pytest.mark.parametrize(
    ("name", "modes"),
    [
        ("bernoulli", [0.0, 0.0, 1.0]),
        ("gaussian", [sigmoid(-2.0), 0.5, sigmoid(1.0)]),
        ("continuous_bernoulli", [0.0, 0.0, 1.0]),
    ],
)
def test_modes(name, modes):
    given = likelihood_of(name).mode(tf.constant([-2.0, 0.0, 1.0]))
    np.testing.assert_allclose(given, modes, rtol=1e-6)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("raw", [-3.0, -1.2, 1.0, 2.5])
def test_no_value_is_likelier_than_the_mode(name, raw):
    likelihood = likelihood_of(name)
    extra = (-2.0,) * (likelihood.parameters_per_value - 1)
    values = [0.0, 1.0] if name == "bernoulli" else LEVELS
    best = one_value(likelihood, values, raw, *extra).min()
    mode = likelihood.mode(tf.constant([[[[raw, *extra]]]])).numpy().ravel()
    # Between two levels there may be a little more.
    assert one_value(likelihood, mode, raw, *extra)[0] <= best + 0.02


@pytest.mark.parametrize("name", NAMES)
def test_the_initial_bias_gives_the_mean_image(name):
    likelihood = likelihood_of(name)
    mean = np.random.default_rng(0).uniform(0.2, 0.8, (5, 4, 3))
    bias = likelihood.initial_bias(mean)
    assert bias.shape == (5, 4, 3 * likelihood.parameters_per_value)
    given = likelihood.mean(tf.constant(bias, tf.float32)).numpy()
    # A logistic's centre is at the mean; its ends are cut off, which moves its own mean a little.
    tolerance = 0.05 if name == "discretized_logistic" else 1e-5
    np.testing.assert_allclose(given, mean, atol=tolerance)
    assert np.corrcoef(given.ravel(), mean.ravel())[0, 1] > 0.99


def test_log_odds_stays_finite_for_pixels_that_never_change():
    np.testing.assert_allclose(
        log_odds(np.array([0.0, 0.5, 1.0])), [-6.906755, 0.0, 6.906755], atol=1e-5
    )


@pytest.mark.parametrize("name", NAMES)
def test_each_name_builds_its_likelihood(name):
    assert type(likelihood_of(name)).__name__.lower() == name.replace("_", "")
