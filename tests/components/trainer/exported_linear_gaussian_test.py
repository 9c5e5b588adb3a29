"""The exported scores of a linear-Gaussian VAE, where all is known in closed form."""

import numpy as np
import pytest
import tensorflow as tf
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

from components import content_noise
from components.image_binarizer import ImageFormat
from components.trainer.export import ExportedVae
from tests.components.trainer.tiny_models import linear_vae, serialized, tiny_config

FORMAT = ImageFormat(3, 2, 1, "none")
LATENT, SCALE, COUNT = 2, 0.06, 1500
RNG = np.random.default_rng(2)
W, B = 0.1 * RNG.normal(size=(6, LATENT)), np.full(6, 0.5)
LEVELS = np.clip(
    np.round(
        255 * (RNG.normal(size=(COUNT, LATENT)) @ W.T + B + SCALE * RNG.normal(size=(COUNT, 6)))
    ),
    0,
    255,
).astype(np.uint8)
X = LEVELS / 255
LOG_P = multivariate_normal(B, W @ W.T + SCALE**2 * np.eye(6)).logpdf(X)
EXAMPLES = serialized(LEVELS.reshape(-1, *FORMAT.shape), FORMAT)


def optimum(kl_weight):
    """Kernel, bias and covariance of the posterior that minimises distortion + weight * rate."""
    covariance = np.linalg.inv(np.eye(LATENT) + W.T @ W / (kl_weight * SCALE**2))
    kernel = W @ covariance / (kl_weight * SCALE**2)
    return kernel, -B @ kernel, covariance


def exported(kl_weight=1.0, shift=0.0, widen=1.0):
    """A VAE with that posterior, but for a shifted mean and a widened factor."""
    config = tiny_config(posterior="full_covariance", latent_size=LATENT, kl_weight=kl_weight)
    kernel, bias, covariance = optimum(kl_weight)
    encoder = (kernel, bias + shift, widen * np.linalg.cholesky(covariance))
    model = linear_vae(config, FORMAT.shape, (W.T, B), encoder, SCALE)
    return ExportedVae(model, config, FORMAT)


def bound_of(module, number, examples=EXAMPLES):
    outputs = module.importance_weighted_bound(examples, tf.constant(number, tf.int64))
    return outputs["importance_weighted_bound"].numpy()


def slopes_of(module):
    # A bound tf.function does not keep its module alive; the argument does.
    slopes = module.kl_weight_slopes(EXAMPLES)
    return slopes["distortion_slope"].numpy(), slopes["rate_slope"].numpy()


def standard_error(values):
    return values.std() / np.sqrt(values.size)


def gap(shift, widen):
    """KL(q || p(z|x)) of the altered posterior."""
    shift, precision = np.full(LATENT, shift), np.linalg.inv(optimum(1.0)[2])
    return 0.5 * (
        LATENT * widen**2 - LATENT - 2 * LATENT * np.log(widen) + shift @ precision @ shift
    )


@pytest.fixture(scope="module")
def altered():
    return exported(shift=0.25, widen=1.3)


def test_the_bound_of_the_exact_posterior_is_log_p_for_every_number_of_codes():
    module = exported()
    for number in (1, 7, 50, 64, 120):
        np.testing.assert_allclose(bound_of(module, number), LOG_P, atol=3e-3)


@pytest.mark.parametrize("number", [1, 7, 50, 64, 120])
def test_the_bound_is_that_of_the_same_codes_by_hand(altered, number):
    count = 40
    keys = content_noise.content_key(LEVELS[:count].reshape(-1, *FORMAT.shape))
    noise = np.concatenate(
        [content_noise.content_normal(keys, [50, LATENT], 1, part) for part in range(3)], axis=1
    )[:, :number].astype(float)
    kernel, bias, covariance = optimum(1.0)
    factor = 1.3 * np.linalg.cholesky(covariance)
    mean = X[:count] @ kernel + bias + 0.25
    z = mean[:, None] + noise @ factor.T
    residuals = (X[:count, None] - z @ W.T - B) / SCALE
    log_p = -0.5 * (residuals**2 + np.log(2 * np.pi * SCALE**2)).sum(axis=-1)
    log_prior = -0.5 * (z**2 + np.log(2 * np.pi)).sum(axis=-1)
    log_q = -0.5 * (noise**2 + np.log(2 * np.pi)).sum(axis=-1) - np.log(np.diag(factor)).sum()
    expected = logsumexp(log_p + log_prior - log_q, axis=1) - np.log(number)
    np.testing.assert_allclose(bound_of(altered, number, EXAMPLES[:count]), expected, atol=3e-3)


def test_the_bound_rises_with_the_number_of_codes_to_log_p(altered):
    gaps = {}
    for number in (1, 7, 50, 120, 1000):
        below = LOG_P - bound_of(altered, number)
        gaps[number] = below.mean()
        assert below.mean() > -5 * standard_error(below)
    assert list(gaps.values()) == sorted(gaps.values(), reverse=True)
    error = standard_error(LOG_P - bound_of(altered, 1))
    assert gaps[1] == pytest.approx(gap(0.25, 1.3), abs=5 * error)
    assert gaps[1] > 3 * gaps[7] > 9 * gaps[50]
    assert abs(gaps[1000]) < 0.01


def test_the_elbo_is_log_p_less_the_divergence_from_the_exact_posterior(altered):
    for module, divergence in ((exported(), 0.0), (altered, gap(0.25, 1.3))):
        below = LOG_P - module.evaluate(EXAMPLES)["elbo"].numpy()
        assert below.mean() == pytest.approx(divergence, abs=5 * standard_error(below))


def test_slopes_are_the_gradients_along_the_code(altered):
    scores, slopes = altered.evaluate(EXAMPLES), altered.kl_weight_slopes(EXAMPLES)
    z = scores["code"].numpy().astype(float)
    spread = z - scores["posterior_mean"].numpy()
    gradient = (z @ W.T + B - X) @ W / SCALE**2
    np.testing.assert_allclose(
        slopes["distortion_slope"], (spread * gradient).sum(axis=1), rtol=1e-3, atol=3e-3
    )
    np.testing.assert_allclose(
        slopes["rate_slope"], (spread * z).sum(axis=1) - LATENT, rtol=1e-3, atol=1e-3
    )


@pytest.mark.parametrize("kl_weight", [0.1, 1.0, 2.0, 8.0])
def test_slopes_tell_the_kl_weight_that_a_posterior_is_best_at(kl_weight):
    distortion, rate = slopes_of(exported(kl_weight))
    covariance = optimum(kl_weight)[2]
    # By closed form, tr(S) - D and tr(W^T W S) / s^2, of which the first is -1/w of the second.
    assert abs(rate.mean() - np.trace(covariance) + LATENT) < 5 * standard_error(rate)
    expected = np.trace(W.T @ W @ covariance) / SCALE**2
    assert abs(distortion.mean() - expected) < 5 * standard_error(distortion)
    for weight, holds in ((kl_weight, True), (2 * kl_weight, False), (0.5 * kl_weight, False)):
        balance = distortion + weight * rate
        assert (abs(balance.mean()) < 5 * standard_error(balance)) == holds, weight


def test_a_wider_posterior_than_the_best_looks_like_a_greater_weight():
    weights = []
    for widen in (0.7, 1.0, 1.4):
        distortion, rate = slopes_of(exported(widen=widen))
        weights.append(-distortion.mean() / rate.mean())
    assert weights == sorted(weights)
    assert weights[0] < 0.8 < 1.25 < weights[2]
