"""Six formulations, one loss: equal numbers and equal gradients from equal weights and batches."""

import numpy as np
import pytest
import tensorflow as tf

from components.trainer.vae.formulations.keras_losses import BinaryCrossentropyOnMean
from components.trainer.vae.formulations.tfp_layers import KlOnceRegularizer
from components.trainer.vae.model import VariationalAutoencoder
from tests.components.trainer.tiny_models import (
    COLOUR,
    COLOUR_LEVELS,
    GREY,
    gradients_of,
    random_batch,
    tiny_config,
    tiny_model,
)

COMBINATIONS = [
    # Posterior, rate estimator, format, KL weight and padding.
    ("diagonal", "analytic", GREY, 1.0, 0),
    ("diagonal", "monte_carlo", COLOUR, 3.0, 2),
    ("full_covariance", "analytic", COLOUR, 3.0, 0),
    ("full_covariance", "monte_carlo", GREY, 1.0, 2),
    ("full_covariance", "analytic", COLOUR, 1.0, 2),
]


def config_of(formulation, posterior="diagonal", rate="analytic", kl_weight=1.0, **changes):
    return tiny_config(
        formulation=formulation,
        posterior=posterior,
        rate_estimator=rate,
        kl_weight=kl_weight,
        **changes,
    )


def reference(config, image_format, batch):
    """The loss by the definition, float64 but for the nets, over the images of weight > 0."""
    model = tiny_model(config, image_format)
    real = batch["weight"].numpy() > 0
    encoded = model.encoder(batch["images"]).numpy()[real].astype(np.float64)
    noise = batch["noise"].numpy()[real, 0]
    size = config.latent_size
    mean, raw = encoded[:, :size], encoded[:, size:]
    softplus = lambda value: np.log1p(np.exp(value))  # noqa: E731
    if config.posterior == "diagonal":
        factor = np.stack([np.diag(softplus(row)) for row in raw])
    else:
        # fill_triangular of six numbers, from its documentation.
        places = np.array([[3, -1, -1], [5, 4, -1], [2, 1, 0]])
        factor = np.where(places >= 0, raw[:, places], 0.0)
        diagonal = np.arange(size)
        factor[:, diagonal, diagonal] = softplus(factor[:, diagonal, diagonal]) + 1e-5
    codes = mean + np.einsum("bij,bj->bi", factor, noise)
    log_determinant = np.log(np.einsum("bii->bi", factor)).sum(axis=1)
    if config.rate_estimator == "analytic":
        squares = (mean**2).sum(axis=1) + (factor**2).sum(axis=(1, 2))
        rate = 0.5 * (squares - size) - log_determinant
    else:
        rate = 0.5 * ((codes**2).sum(axis=1) - (noise**2).sum(axis=1)) - log_determinant
    logits = model.decoder(tf.constant(codes, tf.float32)).numpy().astype(np.float64)
    images = batch["images"].numpy()[real]
    distortion = (np.logaddexp(0, logits) - images * logits).sum(axis=(1, 2, 3))
    return distortion.mean(), rate.mean()


def assert_same_gradients(given, expected, tolerance=1e-5):
    largest = max(np.abs(gradient).max() for gradient in expected)
    assert largest > 0.1
    for one, other in zip(given, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance * largest)


@pytest.mark.parametrize(
    ("posterior", "rate", "image_format", "kl_weight", "padding"), COMBINATIONS
)
def test_all_six_have_one_loss_and_one_gradient(posterior, rate, image_format, kl_weight, padding):
    expected = None
    for formulation in "abcdef":
        config = config_of(formulation, posterior, rate, kl_weight)
        batch = random_batch(config, image_format, padding=padding)
        model = tiny_model(config, image_format)
        logs, gradients = gradients_of(model, batch)
        if expected is None:
            distortion_by_hand, rate_by_hand = reference(config, image_format, batch)
            expected = gradients
            assert abs(rate_by_hand) > 0.1
        assert logs["distortion"] == pytest.approx(distortion_by_hand, rel=1e-5), formulation
        assert logs["rate"] == pytest.approx(rate_by_hand, rel=1e-4, abs=1e-4), formulation
        loss = distortion_by_hand + kl_weight * rate_by_hand
        assert logs["loss"] == pytest.approx(loss, rel=1e-5), formulation
        weight = (logs["loss"] - logs["distortion"]) / logs["rate"]
        assert weight == pytest.approx(kl_weight, rel=1e-3), formulation
        if kl_weight == 1:
            assert logs["loss"] == pytest.approx(-logs["elbo"], rel=1e-6), formulation
        if formulation in "bcd":
            # What Keras minimises, not only what is tracked beside it.
            (compiled,) = model.compiled_loss.metrics
            assert float(compiled.result()) == pytest.approx(loss, rel=1e-5), formulation
        assert_same_gradients(gradients, expected)


@pytest.mark.parametrize("formulation", "abcdef")
def test_padding_changes_neither_loss_nor_gradient(formulation):
    config = config_of(formulation, posterior="full_covariance", kl_weight=2.0)
    model = tiny_model(config)
    whole_logs, whole = gradients_of(model, random_batch(config))
    padded_logs, padded = gradients_of(model, random_batch(config, padding=3))
    for name, value in whole_logs.items():
        assert padded_logs[name] == pytest.approx(value, rel=1e-6), name
    assert_same_gradients(padded, whole)


@pytest.mark.parametrize(
    "likelihood",
    ["gaussian_learned_scale", "gaussian_analytic_scale", "discretized_logistic"],
)
def test_three_can_express_other_likelihoods(likelihood):
    def step(formulation):
        config = config_of(formulation, likelihood=likelihood)
        batch = random_batch(config, COLOUR_LEVELS)
        return gradients_of(tiny_model(config, COLOUR_LEVELS), batch)

    expected_logs, expected = step("a")
    for formulation in "ce":
        logs, gradients = step(formulation)
        assert logs["loss"] == pytest.approx(expected_logs["loss"], rel=1e-5), formulation
        assert_same_gradients(gradients, expected)


@pytest.mark.parametrize(
    "changes",
    [
        {"prior": "vamp", "rate_estimator": "monte_carlo", "training_samples": 2},
        {"objective": "importance_weighted", "training_samples": 4},
        {"free_bits": 0.4},
        {"posterior": "point", "kl_weight": 0.0},
    ],
)
def test_two_can_express_other_objectives(changes):
    def step(formulation):
        config = tiny_config(formulation=formulation, **changes)
        return gradients_of(tiny_model(config), random_batch(config))

    (expected_logs, expected), (logs, gradients) = step("a"), step("e")
    assert logs["loss"] == pytest.approx(expected_logs["loss"], rel=1e-5)
    assert_same_gradients(gradients, expected)


@pytest.mark.parametrize("formulation", "abcdef")
def test_keras_fits_that_loss_in_a_graph(formulation):
    config = config_of(formulation, kl_weight=2.0)
    batch = random_batch(config, padding=2)
    model = tiny_model(config)
    eager_logs, expected = gradients_of(model, batch)
    before = [variable.numpy() for variable in model.trainable_variables]
    history = model.fit(tf.data.Dataset.from_tensors(batch), verbose=0).history
    moved = [
        old - variable.numpy()
        for old, variable in zip(before, model.trainable_variables, strict=True)
    ]
    assert history["loss"][0] == pytest.approx(eager_logs["loss"], rel=1e-5)
    assert_same_gradients(moved, expected)


def double_rate(monkeypatch):
    """tfpl.KLDivergenceRegularizer: once for the distribution, once for its value."""
    once = KlOnceRegularizer.__call__
    monkeypatch.setattr(
        KlOnceRegularizer, "__call__", lambda self, output: 2.0 * once(self, output)
    )


def average_channels(monkeypatch):
    """Keras's mean over the last axis, summed over the others."""
    summed = BinaryCrossentropyOnMean.image_loss
    monkeypatch.setattr(
        BinaryCrossentropyOnMean,
        "image_loss",
        lambda self, images, output: summed(self, images, output) / images.shape[-1],
    )


def share_noise(monkeypatch):
    """One noise vector for all images of a batch."""
    monkeypatch.setattr(
        KlOnceRegularizer,
        "reparameterize",
        lambda self, posterior: posterior.mean() + posterior.stddev() * self.batch["noise"][0, 0],
    )


@pytest.mark.parametrize("mistake", [double_rate, average_channels, share_noise])
def test_the_comparison_sees_the_classic_mistakes(monkeypatch, mistake):
    config = config_of("a")
    batch = random_batch(config, COLOUR)
    _, expected = gradients_of(tiny_model(config, COLOUR), batch)
    mistake(monkeypatch)
    model = tiny_model(config_of("d"), COLOUR)
    _, wrong = gradients_of(model, batch)
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        # Far outside what is allowed above.
        assert_same_gradients(wrong, expected, tolerance=1e-2)


def test_the_noise_of_one_image_moves_its_code_alone():
    config = tiny_config()
    model: VariationalAutoencoder = tiny_model(config)
    batch = random_batch(config)
    _, codes, _ = model.propagate(batch)
    noise = batch["noise"].numpy()
    noise[2] += 1.0
    _, moved, _ = model.propagate({**batch, "noise": tf.constant(noise)})
    changed = np.abs(moved.numpy() - codes.numpy())[0].max(axis=1) > 1e-3
    assert changed.tolist() == [False, False, True, False, False, False, False]
