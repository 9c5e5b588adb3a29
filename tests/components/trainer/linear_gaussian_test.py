"""A linear-Gaussian VAE, whose log p(x) is known: p(x) = N(b, W W^T + s^2 I)."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from scipy.stats import multivariate_normal

from tests.components.trainer.tiny_models import linear_vae, tiny_config

SHAPE, LATENT, SCALE, COUNT = (3, 2, 1), 2, 0.6, 200
RNG = np.random.default_rng(1)
W, B = RNG.normal(size=(6, LATENT)), RNG.normal(size=6)
X = RNG.normal(size=(COUNT, LATENT)) @ W.T + B + SCALE * RNG.normal(size=(COUNT, 6))
LOG_P = multivariate_normal(B, W @ W.T + SCALE**2 * np.eye(6)).logpdf(X)
COVARIANCE = np.linalg.inv(np.eye(LATENT) + W.T @ W / SCALE**2)


def gaussian_vae(rate="monte_carlo", objective="elbo", samples=1, shift=0.0, widen=1.0):
    """Its posterior is the exact one, but for a shifted mean and a widened factor."""
    config = tiny_config(
        posterior="full_covariance",
        latent_size=LATENT,
        rate_estimator=rate,
        objective=objective,
        training_samples=samples,
    )
    regression = W @ COVARIANCE / SCALE**2
    factor = widen * np.linalg.cholesky(COVARIANCE)
    encoder = (regression, shift - B @ regression, factor)
    model = linear_vae(config, SHAPE, (W.T, B), encoder, SCALE)
    model.compile(tf_keras.optimizers.SGD(1.0))
    return model


def batch(samples, seed=0):
    noise = np.random.default_rng(seed).normal(size=(COUNT, samples, LATENT))
    return {
        "images": tf.constant(X.reshape(-1, *SHAPE), tf.float32),
        "noise": tf.constant(noise, tf.float32),
        "weight": tf.ones(COUNT),
    }


def gap(shift, widen):
    """KL(q || p(z|x)) of the altered posterior."""
    return 0.5 * (
        LATENT * widen**2
        - LATENT
        - 2 * LATENT * np.log(widen)
        + np.full(LATENT, shift) @ np.linalg.inv(COVARIANCE) @ np.full(LATENT, shift)
    )


def standard_error(values):
    return values.std() / np.sqrt(values.size)


def test_elbo_of_the_exact_posterior_is_log_p_whatever_the_code():
    terms = gaussian_vae(samples=3).terms(batch(3))
    for k in range(3):
        np.testing.assert_allclose(-terms.distortion[k] - terms.log_ratio[k], LOG_P, atol=1e-3)
    np.testing.assert_allclose(terms.elbo, LOG_P, atol=1e-3)


def test_elbo_of_the_exact_posterior_with_the_closed_form_is_log_p_on_average():
    terms = gaussian_vae(rate="analytic", samples=200).terms(batch(200))
    errors = (-terms.distortion - terms.rate).numpy() - LOG_P
    assert standard_error(errors) < 0.01
    assert abs(errors.mean()) < 5 * standard_error(errors)


@pytest.mark.parametrize("rate", ["analytic", "monte_carlo"])
@pytest.mark.parametrize(("shift", "widen"), [(0.2, 1.0), (0.0, 1.5), (-0.1, 0.6)])
def test_elbo_of_another_posterior_is_below_by_its_divergence(rate, shift, widen):
    model = gaussian_vae(rate=rate, samples=200, shift=shift, widen=widen)
    elbo = model.terms(batch(200)).elbo.numpy()
    assert elbo.mean() < LOG_P.mean()
    error = standard_error(elbo - LOG_P)
    assert (LOG_P - elbo).mean() == pytest.approx(gap(shift, widen), abs=5 * error + 1e-3)


def test_importance_weighted_bound_rises_with_k_to_log_p():
    model = gaussian_vae(objective="importance_weighted", samples=2, shift=0.25, widen=1.3)
    drawn = batch(1024)
    gaps, previous = {}, np.full(COUNT, -np.inf)
    for samples in (1, 4, 32, 256, 1024):
        # The same codes, split into groups of K.
        bounds = []
        for start in range(0, 1024, max(samples, 64)):
            noise = drawn["noise"][:, start : start + max(samples, 64)]
            terms = model.terms({**drawn, "noise": noise})
            for first in range(0, noise.shape[1], samples):
                part = terms._replace(
                    distortion=terms.distortion[first : first + samples],
                    log_ratio=terms.log_ratio[first : first + samples],
                )
                bounds.append(-model.objective.loss(part, tf.constant(1.0)).numpy())
        bound = np.mean(bounds, axis=0)
        assert (bound > previous - 1e-3).all()
        previous = bound
        gaps[samples] = (LOG_P - bound).mean()
        assert gaps[samples] > -5 * standard_error(bound - LOG_P) - 1e-3
    assert gaps[1] == pytest.approx(gap(0.25, 1.3), abs=0.02)
    assert gaps[1] > 1.5 * gaps[4] > 3 * gaps[32]
    assert abs(gaps[1024]) < 0.005


def test_importance_weighted_bound_of_the_exact_posterior_is_log_p():
    model = gaussian_vae(objective="importance_weighted", samples=5)
    loss = model.objective.loss(model.terms(batch(5)), tf.constant(1.0))
    np.testing.assert_allclose(-loss, LOG_P, atol=1e-3)
