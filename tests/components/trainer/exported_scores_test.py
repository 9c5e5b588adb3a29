"""The exported scores against the parts of the model, for every kind of part."""

import numpy as np
import pytest
import tensorflow as tf
from scipy.special import logsumexp

from components import content_noise
from components.image_binarizer import ImageFormat
from components.image_binarizer.binarize import observe
from components.trainer import export as export_module
from components.trainer.export import ExportedVae, export
from components.trainer.vae.posteriors import DiagonalNormal, FullCovarianceNormal
from tests.components.trainer.tiny_models import (
    COLOUR,
    GREY,
    GREY_LEVELS,
    serialized,
    tiny_config,
    tiny_model,
)

MONTE_CARLO = {"rate_estimator": "monte_carlo"}
KINDS = [
    ({}, GREY),
    ({"posterior": "full_covariance", "kl_weight": 3.0}, COLOUR),
    ({"prior": "mixture", **MONTE_CARLO}, GREY),
    (
        {"prior": "vamp", "posterior": "full_covariance", **MONTE_CARLO},
        ImageFormat(5, 4, 1, "dynamic"),
    ),
    ({"likelihood": "gaussian_analytic_scale", **MONTE_CARLO}, GREY_LEVELS),
]


def examples_of(count, image_format, seed=0):
    top = 2 if image_format.encoding == "bits" else 256
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, top, (count, *image_format.shape)).astype(np.uint8)
    return serialized(pixels, image_format), pixels


def drawn_codes(model, pixels, images, number=1, at_once=1):
    """Posterior, and codes [K, B, D], so many of which are drawn at once."""
    posterior, keys = model.encode(images), content_noise.content_key(pixels)
    noise = [
        content_noise.content_normal(
            keys, [at_once, model.latent_size], content_noise.LATENT_STREAM, part
        )
        for part in range(-(-number // at_once))
    ]
    noise = tf.concat(noise, axis=1)[:, :number]
    return posterior, posterior.sample(tf.transpose(noise, [1, 0, 2]))


def direct_scores(model, config, image_format, pixels):
    """The definition of `evaluate`."""
    images = observe(tf.constant(pixels), image_format)
    posterior, codes = drawn_codes(model, pixels, images)
    parameters = model.decode(codes)
    distortion = model.likelihood.negative_log_likelihood(images, parameters)[0]
    # The closed form wherever there is one, whatever the training took.
    rate = (
        posterior.kl_to_standard_normal()
        if config.prior == "standard_normal"
        else (posterior.log_prob(codes) - model.prior.log_prob(codes))[0]
    )
    mean = model.likelihood.mean(parameters)[0].numpy()
    return {
        "elbo": -distortion - rate,
        "distortion": distortion,
        "rate": rate,
        "squared_error": np.square(mean - images).mean(axis=(1, 2, 3)),
        "rounded_accuracy": (np.round(mean) == np.round(images)).mean(axis=(1, 2, 3)),
        "code": codes[0],
        "posterior_mean": posterior.mean,
        "posterior_variance": posterior.variance,
    }


def direct_bound(model, image_format, pixels, number):
    """log 1/K sum_k p(x|z_k) p(z_k) / q(z_k|x), summed in float64."""
    images = observe(tf.constant(pixels), image_format)
    posterior, codes = drawn_codes(model, pixels, images, number, at_once=50)
    log_weights = (
        model.prior.log_prob(codes).numpy().astype(float)
        - posterior.log_prob(codes).numpy()
        - model.likelihood.negative_log_likelihood(images, model.decode(codes)).numpy()
    )
    assert log_weights.shape == (number, len(pixels))
    return logsumexp(log_weights, axis=0) - np.log(number)


def bound_of(module, examples, number):
    outputs = module.importance_weighted_bound(examples, tf.constant(number, tf.int64))
    return outputs["importance_weighted_bound"].numpy()


def assert_close(given, expected):
    assert set(given) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(given[name], value, rtol=1e-4, atol=1e-4, err_msg=name)


def in_threes(monkeypatch, image_format, codes=1):
    """Makes every group one of three images, of seven the last being filled up."""
    limit = 3 * codes * image_format.num_pixels
    monkeypatch.setattr(export_module, "_MAX_DECODED_VALUES", limit)


@pytest.mark.parametrize(("changes", "image_format"), KINDS)
def test_scores_are_the_definition_in_groups_of_any_size(monkeypatch, changes, image_format):
    config = tiny_config(**changes)
    model = tiny_model(config, image_format)
    examples, pixels = examples_of(7, image_format)
    expected = direct_scores(model, config, image_format, pixels)
    module = ExportedVae(model, config, image_format)
    assert_close(module.evaluate(examples), expected)
    in_threes(monkeypatch, image_format)
    module = ExportedVae(model, config, image_format)
    assert_close(module.evaluate(examples), expected)
    reordered = module.evaluate(examples[::-1][:5])
    assert_close(reordered, {name: value[::-1][:5] for name, value in expected.items()})


@pytest.mark.parametrize(("changes", "image_format"), KINDS)
def test_the_bound_is_its_definition_for_any_number_of_codes(monkeypatch, changes, image_format):
    config = tiny_config(**changes)
    model = tiny_model(config, image_format)
    examples, pixels = examples_of(7, image_format)
    whole = ExportedVae(model, config, image_format)
    in_threes(monkeypatch, image_format, codes=50)
    split = ExportedVae(model, config, image_format)
    for number in (1, 7, 50, 64, 120):
        expected = direct_bound(model, image_format, pixels, number)
        bound = bound_of(whole, examples, number)
        np.testing.assert_allclose(bound, expected, rtol=1e-4, atol=1e-4, err_msg=number)
        for order in (np.arange(7), np.array([6, 2, 0, 3]), np.array([5])):
            bound = bound_of(split, tf.gather(examples, order), number)
            np.testing.assert_allclose(bound, expected[order], rtol=1e-4, atol=1e-4)


def test_a_bound_is_tighter_the_more_codes_it_has():
    examples, _ = examples_of(60, GREY)
    config = tiny_config()
    module = ExportedVae(tiny_model(config), config, GREY)
    means = [bound_of(module, examples, number).mean() for number in (1, 7, 50, 500)]
    assert means == sorted(means)
    assert means[0] < means[-1] - 0.1


def scaled(posterior, t):
    """The posterior with its spread times e^t."""
    factor = tf.exp(tf.constant(t, tf.float32))
    return type(posterior)(posterior.mean, factor * posterior[1])


@pytest.mark.parametrize(("changes", "image_format"), KINDS)
def test_slopes_are_those_of_distortion_and_rate_by_the_posteriors_scale(
    monkeypatch, changes, image_format
):
    config = tiny_config(**changes)
    model = tiny_model(config, image_format)
    examples, pixels = examples_of(7, image_format)
    images = observe(tf.constant(pixels), image_format)
    posterior, codes = drawn_codes(model, pixels, images)
    assert isinstance(posterior, DiagonalNormal | FullCovarianceNormal)

    def terms(t):
        code = posterior.mean + np.exp(t) * (codes - posterior.mean)
        log_ratio = scaled(posterior, t).log_prob(code) - model.prior.log_prob(code)
        distortion = model.likelihood.negative_log_likelihood(images, model.decode(code))
        return np.stack([distortion[0], log_ratio[0]]).astype(float)

    step = 0.02
    expected = (terms(step) - terms(-step)) / (2 * step)
    assert (np.abs(expected) > 0.05).mean() > 0.7, "all flat"
    module = ExportedVae(model, config, image_format)
    in_threes(monkeypatch, image_format)
    for each in (module, ExportedVae(model, config, image_format)):
        slopes = each.kl_weight_slopes(examples)
        assert set(slopes) == {"distortion_slope", "rate_slope"}
        given = np.stack([slopes["distortion_slope"], slopes["rate_slope"]])
        np.testing.assert_allclose(given, expected, rtol=5e-3, atol=5e-3)
    few = module.kl_weight_slopes(examples[::-1][:2])
    np.testing.assert_allclose(few["distortion_slope"], given[0, ::-1][:2], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(few["rate_slope"], given[1, ::-1][:2], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("changes", "image_format"), KINDS)
def test_the_signatures_agree(changes, image_format):
    config = tiny_config(**changes)
    module = ExportedVae(tiny_model(config, image_format), config, image_format)
    examples, pixels = examples_of(7, image_format)
    images = observe(tf.constant(pixels), image_format)
    scores = module.evaluate(examples)
    posterior = module.encode(images)
    for name in ("mean", "variance"):
        np.testing.assert_allclose(scores[f"posterior_{name}"], posterior[name], rtol=1e-4)
    decoded = module.decode(scores["code"])["mean"].numpy()
    errors = np.square(decoded - images).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(scores["squared_error"], errors, rtol=1e-4)
    same = (np.round(decoded) == np.round(images)).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(scores["rounded_accuracy"], same, atol=1e-6)


def test_no_example_has_no_score():
    config = tiny_config()
    module = ExportedVae(tiny_model(config), config, GREY)
    scores = module.evaluate(tf.zeros([0], tf.string))
    assert scores["elbo"].shape == (0,)
    assert scores["posterior_mean"].shape == scores["code"].shape == (0, 3)
    assert bound_of(module, tf.zeros([0], tf.string), 64).shape == (0,)
    slopes = module.kl_weight_slopes(tf.zeros([0], tf.string))
    assert slopes["rate_slope"].shape == (0,)


def test_an_autoencoder_has_a_distortion_and_no_elbo():
    config = tiny_config(posterior="point", kl_weight=0.0)
    model = tiny_model(config)
    examples, pixels = examples_of(4, GREY)
    module = ExportedVae(model, config, GREY)
    scores = module.evaluate(examples)
    images = tf.constant(pixels, tf.float32)
    decoded = model.decoder(model.encoder(images))
    expected = model.likelihood.negative_log_likelihood(images, decoded)
    np.testing.assert_allclose(scores["distortion"], expected, rtol=1e-5)
    assert np.isneginf(scores["elbo"]).all()
    assert np.isposinf(scores["rate"]).all()
    np.testing.assert_array_equal(scores["posterior_variance"], np.zeros((4, 3)))
    np.testing.assert_array_equal(scores["code"], scores["posterior_mean"])
    assert np.isneginf(bound_of(module, examples, 64)).all()
    # A spread of nothing scales to nothing.
    slopes = module.kl_weight_slopes(examples)
    np.testing.assert_array_equal(slopes["distortion_slope"], np.zeros(4))


@pytest.mark.parametrize("kind", ["mixture", "vamp"])
def test_a_learned_prior_is_saved_loaded_and_generated_from(kind, tmp_path):
    config = tiny_config(prior=kind, **MONTE_CARLO)
    model = tiny_model(config)
    examples, pixels = examples_of(4, GREY)
    expected = direct_scores(model, config, GREY, pixels)
    bound = direct_bound(model, GREY, pixels, 64)
    module = ExportedVae(model, config, GREY)
    count, seed = tf.constant(500, tf.int64), tf.constant(3, tf.int64)
    generated = module.generate(count, seed)
    z = generated["z"].numpy()
    gaussians, log_weights = model.prior.components()
    mean = np.exp(log_weights) @ gaussians.mean.numpy()
    error = z.std(axis=0) / np.sqrt(len(z))
    assert (np.abs(z.mean(axis=0) - mean) < 5 * error).all()
    assert (np.abs(mean) > 5 * error).any(), "a standard normal would do as well"
    np.testing.assert_allclose(
        model.likelihood.mean(model.decoder(z)), generated["mean"], rtol=1e-4, atol=1e-6
    )
    export(model, config, GREY, str(tmp_path / "model"))
    for variable in model.variables:
        variable.assign(tf.zeros_like(variable))
    loaded = tf.saved_model.load(str(tmp_path / "model"))
    assert_close(loaded.signatures["evaluate"](examples=examples), expected)
    number = tf.constant(64, tf.int64)
    given = loaded.signatures["importance_weighted_bound"](examples=examples, number=number)
    assert_close(given, {"importance_weighted_bound": bound})
    again = loaded.signatures["generate"](number=count, seed=seed)
    np.testing.assert_allclose(again["z"], z, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", ["standard_normal", "mixture", "vamp"])
def test_a_decoder_needs_no_weights_of_the_encoder(kind):
    config = tiny_config(prior=kind, **MONTE_CARLO)
    model = tiny_model(config)
    module = ExportedVae(model, config, GREY)
    signatures = module.signatures()
    decoder = {id(variable) for variable in model.decoder.variables}
    encoder = {id(variable) for variable in model.encoder.variables}
    encoder |= {id(variable) for variable in model.prior.variables}
    for name, fixed in (("decode", 0), ("generate", 0 if kind == "standard_normal" else 3)):
        used = {id(variable) for variable in signatures[name].variables}
        assert decoder <= used
        assert not used & encoder, name
        assert len(used - decoder) == fixed
    assert encoder & {id(variable) for variable in signatures["encode"].variables}
