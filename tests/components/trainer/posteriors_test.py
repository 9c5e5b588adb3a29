"""Posteriors against TFP, closed forms and samples."""

import math

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorflow_probability.python import distributions as tfd
from tensorflow_probability.python import layers as tfpl

from components.trainer.vae.posteriors import (
    POSTERIORS,
    DiagonalNormal,
    FullCovarianceNormal,
    PointMass,
    standard_normal_log_prob,
)

KINDS = [DiagonalNormal, FullCovarianceNormal]
DRAWS = 100_000


def parameters(kind, latent_size, count=1, seed=0):
    size = kind.num_parameters(latent_size)
    return tf.constant(np.random.default_rng(seed).normal(size=(count, size)), tf.float32)


def tfp_equivalent(posterior):
    if isinstance(posterior, DiagonalNormal):
        return tfd.MultivariateNormalDiag(posterior.mean, posterior.scale)
    return tfd.MultivariateNormalTriL(posterior.mean, posterior.scale_tril)


def draws(posterior, latent_size, seed=3):
    noise = tf.random.stateless_normal([DRAWS, 1, latent_size], seed=[seed, 4])
    return posterior.sample(noise)


def standard_normal(latent_size):
    return tfd.MultivariateNormalTriL(tf.zeros(latent_size), tf.eye(latent_size))


@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None, max_examples=10)
@given(latent_size=st.integers(1, 6), seed=st.integers(0, 1000))
def test_rate_is_tfps_divergence(kind, latent_size, seed):
    posterior = kind.from_parameters(parameters(kind, latent_size, 4, seed))
    as_tril = tfd.MultivariateNormalTriL(
        posterior.mean, tf.linalg.cholesky(tfp_equivalent(posterior).covariance())
    )
    expected = tfd.kl_divergence(as_tril, standard_normal(latent_size))
    np.testing.assert_allclose(posterior.kl_to_standard_normal(), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_rate_agrees_with_the_average_over_codes(kind):
    posterior = kind.from_parameters(parameters(kind, 4))
    z = draws(posterior, 4)
    ratios = (posterior.log_prob(z) - standard_normal_log_prob(z)).numpy().ravel()
    error = ratios.std() / math.sqrt(DRAWS)
    assert error < 0.02
    assert abs(ratios.mean() - float(posterior.kl_to_standard_normal()[0])) < 4 * error


@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None, max_examples=10)
@given(latent_size=st.integers(1, 6), seed=st.integers(0, 1000))
def test_log_prob_is_tfps(kind, latent_size, seed):
    posterior = kind.from_parameters(parameters(kind, latent_size, 4, seed))
    z = tf.random.stateless_normal([5, 4, latent_size], seed=[seed, 1])
    expected = tfp_equivalent(posterior).log_prob(z)
    assert posterior.log_prob(z).shape == (5, 4)
    np.testing.assert_allclose(posterior.log_prob(z), expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None, max_examples=10)
@given(latent_size=st.integers(1, 6), components=st.integers(1, 5), seed=st.integers(0, 1000))
def test_log_prob_of_each_is_log_prob_of_every_one(kind, latent_size, components, seed):
    gaussians = kind.from_parameters(parameters(kind, latent_size, components, seed))
    z = tf.random.stateless_normal([3, 2, latent_size], seed=[seed, 2])
    each = gaussians.log_prob_of_each(z).numpy()
    assert each.shape == (3, 2, components)
    for m in range(components):
        one = kind(*(part[m] for part in gaussians))
        np.testing.assert_allclose(each[..., m], one.log_prob(z), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(5000, 3), (50, 40, 3)])
def test_log_prob_of_each_is_right_for_many_codes(kind, shape):
    # tf.einsum with an ellipsis is not, from about a hundred codes on.
    gaussians = kind.from_parameters(parameters(kind, 3, 4))
    z = tf.random.stateless_normal(shape, seed=[5, 6])
    expected = tfp_equivalent(gaussians).log_prob(z[..., None, :])
    np.testing.assert_allclose(gaussians.log_prob_of_each(z), expected, rtol=1e-3, atol=1e-3)


def test_log_prob_of_each_survives_codes_far_from_narrow_gaussians():
    gaussians = DiagonalNormal(tf.constant([[8.0, -8.0]]), tf.constant([[0.05, 0.05]]))
    z = tf.constant([[8.02, -7.97]])
    expected = gaussians.log_prob(z)
    np.testing.assert_allclose(gaussians.log_prob_of_each(z)[:, 0], expected, atol=0.05)


def test_full_covariance_has_the_parameters_of_tfpl():
    raw = parameters(FullCovarianceNormal, 5, count=3)
    theirs = tfpl.MultivariateNormalTriL(5)(raw)
    ours = FullCovarianceNormal.from_parameters(raw)
    np.testing.assert_allclose(ours.mean, theirs.mean(), rtol=1e-6)
    covariance = tf.linalg.matmul(ours.scale_tril, ours.scale_tril, transpose_b=True)
    np.testing.assert_allclose(covariance, theirs.covariance(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(ours.variance, theirs.variance(), rtol=1e-5)
    assert FullCovarianceNormal.num_parameters(5) == tfpl.MultivariateNormalTriL.params_size(5)


def test_diagonal_has_the_parameters_of_tfpl():
    raw = parameters(DiagonalNormal, 5, count=3)
    theirs = tfpl.IndependentNormal(5)(raw)
    ours = DiagonalNormal.from_parameters(raw)
    np.testing.assert_allclose(ours.mean, theirs.mean(), rtol=1e-6)
    np.testing.assert_allclose(ours.scale, theirs.stddev(), rtol=1e-5)
    assert DiagonalNormal.num_parameters(5) == tfpl.IndependentNormal.params_size(5)


@pytest.mark.parametrize("kind", KINDS)
def test_samples_have_the_posteriors_mean_and_covariance(kind):
    posterior = kind.from_parameters(parameters(kind, 3, seed=1))
    z = draws(posterior, 3).numpy()[:, 0]
    expected = tfp_equivalent(posterior).covariance()[0].numpy()
    deviations = np.sqrt(np.diag(expected))
    np.testing.assert_allclose(posterior.variance[0], np.diag(expected), rtol=1e-5)
    error = deviations / math.sqrt(DRAWS)
    assert (np.abs(z.mean(axis=0) - posterior.mean[0].numpy()) < 5 * error).all()
    scale = np.outer(deviations, deviations)
    error = np.sqrt((scale**2 + expected**2) / DRAWS)
    assert (np.abs(np.cov(z.T) - expected) < 5 * error).all()
    if kind is FullCovarianceNormal:
        assert np.abs(expected[np.triu_indices(3, 1)]).max() > 0.3


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("latent_size", [1, 2, 5])
def test_an_untrained_posterior_is_the_prior(kind, latent_size):
    bias = kind.initial_bias(latent_size)
    assert bias.shape == (kind.num_parameters(latent_size),)
    posterior = kind.from_parameters(tf.constant(bias[None], tf.float32))
    equivalent = tfp_equivalent(posterior)
    np.testing.assert_allclose(posterior.mean, np.zeros((1, latent_size)))
    np.testing.assert_allclose(equivalent.covariance()[0], np.eye(latent_size), atol=5e-5)
    np.testing.assert_allclose(posterior.kl_to_standard_normal(), [0.0], atol=1e-4)


def test_kl_per_dimension_is_the_closed_form():
    mean, scale = np.array([[0.0, 1.0, -2.0]]), np.array([[1.0, 0.5, 2.0]])
    posterior = DiagonalNormal(tf.constant(mean, tf.float32), tf.constant(scale, tf.float32))
    expected = 0.5 * (mean**2 + scale**2 - 1 - 2 * np.log(scale))
    np.testing.assert_allclose(posterior.kl_per_dimension(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("raw", [-80.0, 80.0])
@pytest.mark.parametrize("kind", KINDS)
def test_rate_and_its_gradient_stay_finite(kind, raw):
    bias = tf.constant(kind.initial_bias(2)[None], tf.float32)
    outputs = tf.where(bias > 0, raw, 0.0)
    with tf.GradientTape() as tape:
        tape.watch(outputs)
        rate = kind.from_parameters(outputs).kl_to_standard_normal()
    assert np.isfinite(rate).all()
    assert np.isfinite(tape.gradient(rate, outputs)).all()


def test_a_point_is_where_the_encoder_says():
    raw = tf.constant([[1.0, -2.0]])
    point = PointMass.from_parameters(raw)
    np.testing.assert_array_equal(point.sample(tf.ones([3, 1, 2])), np.tile(raw, (3, 1, 1)))
    np.testing.assert_array_equal(point.variance, [[0.0, 0.0]])
    assert point.kl_to_standard_normal().numpy().tolist() == [math.inf]
    assert point.log_prob(tf.zeros([3, 1, 2])).shape == (3, 1)
    assert PointMass.num_parameters(2) == len(PointMass.initial_bias(2)) == 2


def test_standard_normal_log_prob_is_tfps():
    z = tf.random.stateless_normal([4, 3], seed=[1, 2])
    expected = standard_normal(3).log_prob(z)
    np.testing.assert_allclose(standard_normal_log_prob(z), expected, rtol=1e-5)


def test_every_posterior_of_the_configuration_exists():
    assert set(POSTERIORS) == {"diagonal", "full_covariance", "point"}
