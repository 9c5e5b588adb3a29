"""Priors against TFP, integrals, samples, and the encoder that a VampPrior is made of."""

import math

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from tensorflow_probability.python import distributions as tfd

from components.trainer.vae.posteriors import POSTERIORS, DiagonalNormal, FullCovarianceNormal
from components.trainer.vae.priors import (
    FixedMixture,
    MixtureOfGaussians,
    StandardNormal,
    VampPrior,
    build_prior,
)

SHAPE = (3, 2, 1)
DRAWS = 100_000


def mixture(latent_size=2, components=5):
    prior = MixtureOfGaussians(latent_size, components, seed=3)
    rng = np.random.default_rng(4)
    prior.rhos.assign_add(0.7 * rng.normal(size=prior.rhos.shape))
    prior.logits.assign(rng.normal(size=components))
    return prior


def tiny_encoder(posterior, latent_size=2):
    tf_keras.utils.set_random_seed(2)
    kind = POSTERIORS[posterior]
    encoder = tf_keras.Sequential(
        [
            tf_keras.layers.InputLayer(SHAPE),
            tf_keras.layers.Flatten(),
            tf_keras.layers.Dense(
                kind.num_parameters(latent_size),
                kernel_initializer=tf_keras.initializers.RandomNormal(stddev=0.7, seed=1),
                bias_initializer=tf_keras.initializers.Constant(kind.initial_bias(latent_size)),
            ),
        ]
    )
    return encoder, lambda images: kind.from_parameters(encoder(images))


def vamp(posterior="diagonal", latent_size=2, components=4):
    _, encode = tiny_encoder(posterior, latent_size)
    return VampPrior(encode, np.full(SHAPE, 0.3), components, seed=6)


PRIORS = {
    "mixture": mixture,
    "vamp_diagonal": vamp,
    "vamp_full_covariance": lambda **kwargs: vamp("full_covariance", **kwargs),
}


def tfp_equivalent(prior):
    gaussians, log_weights = prior.components()
    kind = {
        DiagonalNormal: tfd.MultivariateNormalDiag,
        FullCovarianceNormal: tfd.MultivariateNormalTriL,
    }[type(gaussians)]
    return tfd.MixtureSameFamily(tfd.Categorical(log_weights), kind(*gaussians))


@pytest.fixture(params=PRIORS)
def make_prior(request):
    return PRIORS[request.param]


@pytest.mark.parametrize("latent_size", [1, 2])
def test_density_integrates_to_one(make_prior, latent_size):
    step, reach = {1: (0.002, 20.0), 2: (0.04, 10.0)}[latent_size]
    axis = np.arange(-reach, reach, step, np.float32)
    grid = np.stack(np.meshgrid(*[axis] * latent_size), axis=-1).reshape(-1, latent_size)
    log_density = make_prior(latent_size=latent_size).log_prob(tf.constant(grid))
    total = np.exp(log_density.numpy().astype(np.float64)).sum() * step**latent_size
    assert total == pytest.approx(1.0, abs=2e-3)


def test_density_is_tfps(make_prior):
    prior = make_prior(latent_size=3)
    z = 2 * tf.random.stateless_normal([6, 4, 3], seed=[1, 2])
    assert prior.log_prob(z).shape == (6, 4)
    np.testing.assert_allclose(
        prior.log_prob(z), tfp_equivalent(prior).log_prob(z), rtol=1e-3, atol=1e-3
    )


def test_samples_have_the_mean_and_covariance_of_the_mixture(make_prior):
    prior = make_prior()
    noise = tf.random.stateless_normal([DRAWS, 2], seed=[1, 2])
    uniform = tf.random.stateless_uniform([DRAWS], seed=[3, 4])
    z = prior.sample(noise, uniform).numpy()
    expected = tfp_equivalent(prior)
    covariance = expected.covariance().numpy()
    error = np.sqrt(np.diag(covariance) / DRAWS)
    assert (np.abs(z.mean(axis=0) - expected.mean().numpy()) < 5 * error).all()
    centred = z - z.mean(axis=0)
    products = centred[:, :, None] * centred[:, None, :]
    error = products.std(axis=0) / math.sqrt(DRAWS)
    assert (np.abs(products.mean(axis=0) - covariance) < 5 * error).all()


def test_uniform_noise_chooses_gaussians_by_their_weights():
    prior = MixtureOfGaussians(1, 4, seed=0)
    weights = np.array([1e-60, 0.2, 0.5, 0.3])
    prior.logits.assign(np.log(weights))
    prior.means.assign([[0.0], [1.0], [2.0], [3.0]])
    prior.rhos.assign_sub(tf.fill([4, 1], 30.0))
    uniform = tf.constant([0.0, 0.1999, 0.2001, 0.6999, 0.7001, 0.99999994])
    codes = prior.sample(tf.zeros([6, 1]), uniform).numpy()[:, 0]
    assert codes.tolist() == [1.0, 1.0, 2.0, 2.0, 3.0, 3.0]


def test_cumulated_weights_that_end_under_one_choose_the_last_gaussian():
    prior = MixtureOfGaussians(1, 300, seed=0)
    prior.means.assign(np.arange(300.0)[:, None])
    assert prior.sample(tf.zeros([1, 1]), tf.constant([0.99999994])).numpy() == [[299.0]]


def test_an_untrained_mixture_has_unit_scales_and_equal_weights():
    gaussians, log_weights = MixtureOfGaussians(3, 5, seed=1).components()
    np.testing.assert_allclose(gaussians.scale, np.ones((5, 3)), rtol=1e-5)
    np.testing.assert_allclose(log_weights, np.full(5, -math.log(5)), rtol=1e-6)
    means = gaussians.mean.numpy()
    assert len({row.tobytes() for row in means}) == 5
    np.testing.assert_array_equal(means, MixtureOfGaussians(3, 5, seed=1).components()[0].mean)
    assert (means != MixtureOfGaussians(3, 5, seed=2).components()[0].mean.numpy()).all()


@pytest.mark.parametrize("posterior", ["diagonal", "full_covariance"])
def test_vamp_is_the_mean_of_the_posteriors_of_its_pseudo_images(posterior):
    prior = vamp(posterior)
    _, encode = tiny_encoder(posterior)
    z = tf.random.stateless_normal([5, 2], seed=[1, 2])
    images = 1 / (1 + np.exp(-prior.pseudo_logits.numpy()))
    assert images.shape == (4, *SHAPE)
    densities = [
        np.exp(encode(tf.constant(image[None], tf.float32)).log_prob(z)) for image in images
    ]
    np.testing.assert_allclose(np.exp(prior.log_prob(z)), np.mean(densities, axis=0), rtol=1e-3)


def test_vamp_starts_at_noisy_copies_of_the_mean_image():
    _, encode = tiny_encoder("diagonal")
    mean = np.linspace(0.2, 0.8, 6).reshape(SHAPE)
    logits = VampPrior(encode, mean, 4000, seed=6).pseudo_logits.numpy()
    expected = np.log(mean / (1 - mean))
    np.testing.assert_allclose(logits.mean(axis=0), expected, atol=5 / math.sqrt(4000))
    np.testing.assert_allclose(logits.std(axis=0), np.ones(SHAPE), atol=0.1)


def test_vamp_teaches_its_pseudo_images_and_the_encoder():
    encoder, encode = tiny_encoder("diagonal")
    prior = VampPrior(encode, np.full(SHAPE, 0.3), 4, seed=6)
    with tf.GradientTape() as tape:
        value = tf.reduce_sum(prior.log_prob(tf.constant([[0.5, -1.0], [1.0, 1.0]])))
    for gradient in tape.gradient(value, [prior.pseudo_logits, *encoder.trainable_variables]):
        assert np.abs(gradient.numpy()).max() > 1e-2
    # The encoder is the model's own, and not twice among its weights.
    assert [tuple(variable.shape) for variable in prior.trainable_variables] == [(4, *SHAPE)]


def test_a_fixed_mixture_is_the_prior_it_was_made_of_and_stays_it(make_prior):
    prior = make_prior()
    fixed = FixedMixture(prior)
    z = tf.random.stateless_normal([20, 2], seed=[1, 2])
    uniform = tf.random.stateless_uniform([20], seed=[3, 4])
    expected = prior.log_prob(z).numpy(), prior.sample(z, uniform).numpy()
    for variable in prior.trainable_variables:
        variable.assign_add(tf.ones_like(variable))
    np.testing.assert_allclose(fixed.log_prob(z), expected[0], rtol=1e-6)
    np.testing.assert_allclose(fixed.sample(z, uniform), expected[1], rtol=1e-6)
    assert not np.allclose(prior.log_prob(z), expected[0], rtol=1e-3)
    assert fixed.trainable_variables == []
    assert len(fixed.variables) == 3


def test_the_standard_normal_passes_its_noise_on():
    noise = tf.random.stateless_normal([3, 2], seed=[1, 2])
    prior = build_prior("standard_normal", 2, 1, None, None, 0)
    assert isinstance(prior, StandardNormal)
    np.testing.assert_array_equal(prior.sample(noise, tf.zeros(3)), noise)
    expected = tfd.MultivariateNormalDiag(tf.zeros(2)).log_prob(noise)
    np.testing.assert_allclose(prior.log_prob(noise), expected, rtol=1e-6)
    assert prior.variables == []
