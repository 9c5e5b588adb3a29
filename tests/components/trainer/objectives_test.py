"""What training minimises: KL weight and its warm-up, free bits, the importance-weighted bound."""

import math

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from components.trainer.vae.objectives import (
    Elbo,
    ImportanceWeighted,
    KlWeight,
    Terms,
    importance_weighted_bound,
)
from components.trainer.vae.posteriors import DiagonalNormal, PointMass
from tests.components.trainer.tiny_models import gradients_of, random_batch, tiny_config, tiny_model


def terms_of(samples=3, count=4, seed=0):
    rng = np.random.default_rng(seed)
    posterior = DiagonalNormal(
        tf.constant(rng.normal(size=(count, 2)), tf.float32),
        tf.constant(rng.uniform(0.3, 1.5, size=(count, 2)), tf.float32),
    )
    distortion = tf.constant(rng.uniform(50, 150, (samples, count)), tf.float32)
    log_ratio = tf.constant(rng.normal(size=(samples, count)), tf.float32)
    return Terms(posterior, distortion, log_ratio, posterior.kl_to_standard_normal())


@settings(deadline=None, max_examples=10)
@given(weight=st.floats(0, 20), seed=st.integers(0, 100))
def test_the_loss_is_distortion_plus_weight_times_rate(weight, seed):
    terms = terms_of(seed=seed)
    expected = terms.distortion.numpy().mean(axis=0) + weight * terms.rate.numpy()
    np.testing.assert_allclose(Elbo().loss(terms, tf.constant(weight)), expected, rtol=1e-5)
    elbo = -terms.distortion.numpy().mean(axis=0) - terms.rate.numpy()
    np.testing.assert_allclose(terms.elbo, elbo, rtol=1e-6)


def test_an_autoencoder_has_the_distortion_alone():
    terms = terms_of()._replace(posterior=PointMass(tf.zeros([4, 2])), rate=tf.fill([4], math.inf))
    expected = terms.distortion.numpy().mean(axis=0)
    np.testing.assert_allclose(Elbo().loss(terms, tf.constant(0.0)), expected, rtol=1e-6)


def test_free_bits_are_a_floor_under_each_dimension_of_each_image():
    scale = np.array([[1.0, 0.5], [0.9, 0.1]])
    posterior = DiagonalNormal(tf.zeros([2, 2]), tf.constant(scale, tf.float32))
    rates = 0.5 * (scale**2 - 1) - np.log(scale)
    terms = Terms(posterior, tf.zeros([1, 2]), tf.zeros([1, 2]), posterior.kl_to_standard_normal())
    loss = Elbo(free_bits=0.3).loss(terms, tf.constant(2.0))
    floored = np.maximum(rates, 0.3)
    assert (floored != rates).sum() == 2
    np.testing.assert_allclose(loss, 2 * floored.sum(axis=1), rtol=1e-5)
    # The ELBO that is logged has no floor.
    np.testing.assert_allclose(terms.elbo, -rates.sum(axis=1), rtol=1e-4)


def test_a_dimension_under_its_free_bits_is_not_pushed():
    mean = tf.constant([[0.1, 2.0]])
    with tf.GradientTape() as tape:
        tape.watch(mean)
        posterior = DiagonalNormal(mean, tf.ones([1, 2]))
        terms = Terms(posterior, tf.zeros([1, 1]), tf.zeros([1, 1]), posterior.kl_per_dimension())
        loss = Elbo(free_bits=0.5).loss(terms, tf.constant(1.0))
    np.testing.assert_allclose(tape.gradient(loss, mean), [[0.0, 2.0]])


@settings(deadline=None, max_examples=15)
@given(samples=st.integers(1, 40), shift=st.floats(-2000, 2000), seed=st.integers(0, 100))
def test_importance_weighted_bound_is_the_log_of_the_mean_weight(samples, shift, seed):
    log_weights = np.random.default_rng(seed).normal(size=(samples, 5)) * 3
    expected = np.log(np.exp(log_weights).mean(axis=0)) + shift
    given = importance_weighted_bound(tf.constant(log_weights + shift, tf.float32))
    np.testing.assert_allclose(given, expected, rtol=1e-5, atol=2e-3)


def test_importance_weighted_loss_is_the_references():
    terms = terms_of(samples=6)
    log_weights = -terms.distortion.numpy().astype(np.float64) - terms.log_ratio.numpy()
    largest = log_weights.max(axis=0)
    expected = -(np.log(np.exp(log_weights - largest).sum(axis=0)) + largest - math.log(6))
    loss = ImportanceWeighted().loss(terms, tf.constant(1.0))
    np.testing.assert_allclose(loss, expected, rtol=1e-6)
    # Tighter than the mean of the same codes.
    assert (loss.numpy() < -log_weights.mean(axis=0)).all()


def test_importance_weighted_loss_of_one_code_is_the_elbos():
    terms = terms_of(samples=1)
    elbo = Elbo().loss(terms._replace(rate=terms.log_ratio[0]), tf.constant(1.0))
    np.testing.assert_allclose(ImportanceWeighted().loss(terms, tf.constant(1.0)), elbo, rtol=1e-6)


def test_importance_weighted_gradient_weights_codes_by_their_normalised_weights():
    terms = terms_of(samples=5, count=1)
    with tf.GradientTape() as tape:
        tape.watch(terms.distortion)
        loss = ImportanceWeighted().loss(terms, tf.constant(1.0))
    log_weights = -terms.distortion - terms.log_ratio
    expected = tf.nn.softmax(log_weights, axis=0)
    np.testing.assert_allclose(tape.gradient(loss, terms.distortion), expected, rtol=1e-3)


@pytest.mark.parametrize(
    ("step", "expected"), [(0, 0.0), (1, 0.2), (5, 1.0), (9, 1.8), (10, 2.0), (10**6, 2.0)]
)
def test_the_kl_weight_warms_up_linearly_and_stays(step, expected):
    weight = KlWeight(2.0, warmup_steps=10).at(tf.constant(step, tf.int64))
    assert float(weight) == pytest.approx(expected)


def test_without_warm_up_the_kl_weight_is_full_at_once():
    assert float(KlWeight(0.5).at(tf.constant(0, tf.int64))) == 0.5


@pytest.mark.parametrize("formulation", "abe")
def test_the_kl_weight_follows_the_optimizers_steps_inside_one_graph(formulation):
    config = tiny_config(formulation=formulation, kl_weight=2.0, kl_warmup_epochs=0.5)
    model = tiny_model(config, steps_per_epoch=8)
    model.optimizer.learning_rate.assign(1e-3)
    batch = random_batch(config)
    traces = []

    @tf.function(autograph=False)
    def step():
        traces.append(1)
        for metric in model.metrics:
            metric.reset_state()
        return model.train_step(batch)

    weights = []
    for _ in range(6):
        logs = step()
        weights.append(float((logs["loss"] - logs["distortion"]) / logs["rate"]))
    assert weights == pytest.approx([0.0, 0.5, 1.0, 1.5, 2.0, 2.0], abs=2e-4)
    assert len(traces) <= 2
    # Validation has the weight of the step it follows, and its ELBO has none.
    model.optimizer.iterations.assign(1)
    for metric in model.metrics:
        metric.reset_state()
    logs = model.test_step(batch)
    assert float(logs["loss"]) == pytest.approx(float(logs["distortion"] + 0.5 * logs["rate"]))
    assert float(logs["elbo"]) == pytest.approx(-float(logs["distortion"] + logs["rate"]))


def test_warming_up_an_importance_weighted_bound_weights_the_ratio():
    terms = terms_of()
    loss = ImportanceWeighted().loss(terms, tf.constant(0.25))
    expected = -importance_weighted_bound(-terms.distortion - 0.25 * terms.log_ratio)
    np.testing.assert_allclose(loss, expected)


def test_a_weight_of_zero_trains_the_encoder_through_the_code_alone():
    config = tiny_config(kl_weight=0.0)
    model = tiny_model(config)
    batch = random_batch(config)
    _, gradients = gradients_of(model, batch)
    with tf.GradientTape() as tape:
        _, _, parameters = model.propagate(batch)
        distortion = model.likelihood.negative_log_likelihood(batch["images"], parameters)
        loss = tf.reduce_mean(distortion)
    expected = tape.gradient(loss, model.trainable_variables)
    for one, other in zip(gradients, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)
