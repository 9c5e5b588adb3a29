"""The loss of the VAE against numbers worked out by hand."""

import math

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from components.image_binarizer import ImageFormat
from components.trainer.vae.architectures import build_networks, log_odds
from components.trainer.vae.likelihood import Bernoulli
from components.trainer.vae.model import VariationalAutoencoder
from components.trainer.vae.posterior import DiagonalNormal, standard_normal_log_prob


def tiny_vae(channels=1, kl_weight=1.0, latent_size=3, binarization="threshold"):
    image_format = ImageFormat(8, 8, channels, binarization)
    mean = np.full(image_format.shape, 0.3)
    encoder, decoder = build_networks(
        "conv", image_format.shape, 2 * latent_size, latent_size, mean
    )
    return VariationalAutoencoder(encoder, decoder, image_format, kl_weight=kl_weight, seed=1)


def random_bits(count, channels=1, seed=0):
    bits = np.random.default_rng(seed).integers(0, 2, (count, 8, 8, channels))
    return tf.constant(bits, tf.uint8)


@pytest.mark.parametrize("channels", [1, 3])
def test_distortion_sums_cross_entropy_over_pixels_and_channels(channels):
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(4, 5, 6, channels)) * 3
    images = rng.integers(0, 2, logits.shape).astype(float)
    probability = 1 / (1 + np.exp(-logits))
    expected = -(images * np.log(probability) + (1 - images) * np.log(1 - probability))
    given = Bernoulli.negative_log_likelihood(
        tf.constant(images, tf.float32), tf.constant(logits, tf.float32)
    )
    np.testing.assert_allclose(given, expected.sum(axis=(1, 2, 3)), rtol=1e-5)


def test_distortion_is_finite_and_exact_for_extreme_logits():
    logits = tf.constant([[[[90.0], [-90.0]]]])
    wrong = Bernoulli.negative_log_likelihood(tf.constant([[[[0.0], [1.0]]]]), logits)
    right = Bernoulli.negative_log_likelihood(tf.constant([[[[1.0], [0.0]]]]), logits)
    np.testing.assert_allclose(wrong, [180.0], rtol=1e-6)
    np.testing.assert_allclose(right, [0.0], atol=1e-6)


def test_rate_is_the_closed_form():
    mean, scale = np.array([[0.0, 1.0, -2.0]]), np.array([[1.0, 0.5, 2.0]])
    posterior = DiagonalNormal(tf.constant(mean, tf.float32), tf.constant(scale, tf.float32))
    expected = 0.5 * (mean**2 + scale**2 - 1 - 2 * np.log(scale))
    np.testing.assert_allclose(posterior.kl_per_dimension(), expected, rtol=1e-5, atol=1e-6)


def test_rate_agrees_with_a_monte_carlo_estimate():
    mean, scale = tf.constant([[0.7, -1.2]]), tf.constant([[0.4, 1.6]])
    posterior = DiagonalNormal(mean, scale)
    z = posterior.sample(tf.random.stateless_normal([100_000, 1, 2], seed=[1, 2]))
    ratios = (posterior.log_prob(z) - standard_normal_log_prob(z)).numpy().ravel()
    error = ratios.std() / math.sqrt(len(ratios))
    assert abs(ratios.mean() - float(tf.reduce_sum(posterior.kl_per_dimension()))) < 4 * error


def test_an_untrained_posterior_has_unit_scale():
    posterior = DiagonalNormal.from_parameters(tf.zeros([2, 6]))
    np.testing.assert_allclose(posterior.mean, np.zeros((2, 3)))
    np.testing.assert_allclose(posterior.scale, np.ones((2, 3)), atol=2e-5)


@pytest.mark.parametrize("raw", [-200.0, 200.0])
def test_scale_stays_finite_and_positive(raw):
    posterior = DiagonalNormal.from_parameters(tf.constant([[0.0, raw]]))
    assert np.isfinite(posterior.kl_per_dimension()).all()
    assert float(posterior.scale[0, 0]) > 0


@pytest.mark.parametrize("kl_weight", [0.0, 1.0, 3.0, 20.0])
def test_loss_is_distortion_plus_weight_times_rate_averaged_over_examples(kl_weight):
    model = tiny_vae(channels=3, kl_weight=kl_weight)
    model.encoder.layers[-1].bias.assign_add([0.5] * 6)
    model(random_bits(5, channels=3))
    (loss,) = model.losses
    rate = float(model.rate_tracker.result())
    distortion = float(model.distortion_tracker.result())
    assert rate > 0.1
    np.testing.assert_allclose(float(loss), distortion + kl_weight * rate, rtol=1e-5)
    np.testing.assert_allclose(float(model.elbo_tracker.result()), -(distortion + rate), rtol=1e-6)


def test_fit_minimises_that_loss_and_nothing_else():
    model = tiny_vae(kl_weight=3.0)
    model.compile(tf_keras.optimizers.SGD(0.0))
    logs = model.evaluate(random_bits(32), batch_size=32, verbose=0, return_dict=True)
    np.testing.assert_allclose(logs["loss"], logs["distortion"] + 3 * logs["rate"], rtol=1e-5)


def test_training_draws_one_noise_vector_per_image():
    model = tiny_vae()
    same = tf.repeat(random_bits(1), 6, axis=0)
    logits = model(same, training=True).numpy()
    assert len({row.tobytes() for row in logits}) == 6


def test_training_noise_differs_from_step_to_step_and_is_seeded():
    first, second = tiny_vae(), tiny_vae()
    second.set_weights(first.get_weights())
    pixels = random_bits(4)
    one, two = first(pixels, training=True), first(pixels, training=True)
    assert not np.allclose(one, two)
    np.testing.assert_array_equal(one, second(pixels, training=True))


def test_validation_repeats_exactly_in_any_batch():
    model = tiny_vae(binarization="dynamic")
    pixels = tf.constant(np.random.default_rng(3).integers(0, 256, (6, 8, 8, 1)), tf.uint8)
    whole = model(pixels).numpy()
    np.testing.assert_array_equal(whole, model(pixels).numpy())
    np.testing.assert_allclose(whole[2:4], model(pixels[2:4]).numpy(), rtol=1e-5, atol=1e-5)


def test_dynamic_binarisation_draws_ones_with_the_intensity():
    model = tiny_vae(binarization="dynamic")
    seen = []
    model.encode = lambda images: (
        seen.append(images),
        DiagonalNormal.from_parameters(model.encoder(images)),
    )[1]
    pixels = tf.fill([200, 8, 8, 1], tf.constant(64, tf.uint8))
    model(pixels, training=True)
    model(pixels, training=True)
    first, second = (images.numpy() for images in seen)
    assert set(np.unique(first)) == {0.0, 1.0}
    count = first.size
    bound = 5 * math.sqrt(0.251 * 0.749 / count)
    assert abs(first.mean() - 64 / 255) < bound
    assert (first != second).any()


@pytest.mark.parametrize("architecture", ["conv", "dense"])
@pytest.mark.parametrize("shape", [(28, 28, 1), (30, 21, 3)])
def test_every_architecture_makes_every_image_size(architecture, shape):
    encoder, decoder = build_networks(architecture, shape, 10, 5, np.full(shape, 0.2))
    assert encoder(tf.zeros([2, *shape])).shape == (2, 10)
    assert decoder(tf.zeros([2, 5])).shape == (2, *shape)


def test_conv_nets_have_the_size_of_the_tutorial():
    # The tutorial has 28,036 and 41,953 parameters with two latent dimensions.
    encoder, decoder = build_networks("conv", (28, 28, 1), 4, 2, np.full((28, 28, 1), 0.1))
    assert encoder.count_params() == 28_036
    assert decoder.count_params() == 41_953


@pytest.mark.parametrize("architecture", ["conv", "dense"])
def test_an_untrained_decoder_gives_the_mean_image(architecture):
    mean = np.full((8, 8, 1), 0.13)
    _, decoder = build_networks(architecture, (8, 8, 1), 4, 2, mean)
    np.testing.assert_allclose(tf.sigmoid(decoder(tf.zeros([1, 2])))[0], mean, atol=1e-5)


def test_log_odds_stays_finite_for_pixels_that_never_change():
    np.testing.assert_allclose(
        log_odds(np.array([0.0, 0.5, 1.0])), [-6.906755, 0.0, 6.906755], atol=1e-5
    )
