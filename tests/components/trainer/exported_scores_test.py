"""The exported `evaluate` against the parts of the model, for every kind of part."""

import numpy as np
import pytest
import tensorflow as tf

from components import content_noise
from components.image_binarizer import ImageFormat
from components.image_binarizer.binarize import observe, pack
from components.trainer import export as export_module
from components.trainer.export import ExportedVae, export
from components.trainer.vae.objectives import importance_weighted_bound
from tests.components.trainer.tiny_models import COLOUR, GREY, GREY_LEVELS, tiny_config, tiny_model

MONTE_CARLO = {"rate_estimator": "monte_carlo"}


def examples_of(count, image_format, seed=0):
    top = 2 if image_format.encoding == "bits" else 256
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, top, (count, *image_format.shape)).astype(np.uint8)
    examples = [
        tf.train.Example(
            features=tf.train.Features(
                feature={"image": tf.train.Feature(bytes_list=tf.train.BytesList(value=[stored]))}
            )
        ).SerializeToString()
        for stored in pack(pixels, image_format)
    ]
    return tf.constant(examples), pixels


def direct_scores(model, config, image_format, pixels):
    """The definition, all codes at once."""
    images, keys = observe(tf.constant(pixels), image_format), content_noise.content_key(pixels)
    posterior = model.encode(images)
    whole, left = divmod(config.importance_samples, 50)
    noise = tf.concat(
        [
            content_noise.content_normal(
                keys, [size, config.latent_size], content_noise.LATENT_STREAM, part
            )
            for part, size in enumerate([50] * whole + [left] * (left > 0))
        ],
        axis=1,
    )
    codes = posterior.sample(tf.transpose(noise, [1, 0, 2]))
    distortion = model.likelihood.negative_log_likelihood(images, model.decode(codes))
    log_ratio = posterior.log_prob(codes) - model.prior.log_prob(codes)
    mean_distortion = tf.reduce_mean(distortion, axis=0)
    rate = (
        posterior.kl_to_standard_normal()
        if config.rate_estimator == "analytic"
        else tf.reduce_mean(log_ratio, axis=0)
    )
    return {
        "elbo": -mean_distortion - rate,
        "distortion": mean_distortion,
        "rate": rate,
        "importance_weighted_bound": importance_weighted_bound(-distortion - log_ratio),
        "posterior_mean": posterior.mean,
        "posterior_variance": posterior.variance,
    }


def assert_close(given, expected):
    assert set(given) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(given[name], value, rtol=1e-4, atol=1e-4, err_msg=name)


@pytest.mark.parametrize(
    ("changes", "image_format"),
    [
        ({"importance_samples": 5}, GREY),
        ({"importance_samples": 120, "posterior": "full_covariance", "kl_weight": 3.0}, COLOUR),
        ({"importance_samples": 50, "prior": "mixture", **MONTE_CARLO}, GREY),
        (
            {"prior": "vamp", "posterior": "full_covariance", **MONTE_CARLO},
            ImageFormat(5, 4, 1, "dynamic"),
        ),
        ({"likelihood": "gaussian_analytic_scale", **MONTE_CARLO}, GREY_LEVELS),
    ],
)
def test_scores_are_the_definition_in_groups_of_any_size(monkeypatch, changes, image_format):
    config = tiny_config(**changes)
    model = tiny_model(config, image_format)
    examples, pixels = examples_of(7, image_format)
    expected = direct_scores(model, config, image_format, pixels)
    module = ExportedVae(model, config, image_format)
    assert_close(module.evaluate(examples), expected)
    # Three groups of three images, the last filled up.
    codes_at_once = min(config.importance_samples, 50)
    limit = 3 * codes_at_once * image_format.num_pixels
    monkeypatch.setattr(export_module, "_MAX_DECODED_VALUES", limit)
    module = ExportedVae(model, config, image_format)
    assert_close(module.evaluate(examples), expected)
    reordered = module.evaluate(examples[::-1][:5])
    assert_close(reordered, {name: value[::-1][:5] for name, value in expected.items()})


def test_a_bound_is_tighter_the_more_codes_it_has():
    bounds = []
    examples, _ = examples_of(40, GREY)
    for samples in (1, 60):
        config = tiny_config(importance_samples=samples)
        module = ExportedVae(tiny_model(config), config, GREY)
        scores = module.evaluate(examples)
        bounds.append(float(tf.reduce_mean(scores["importance_weighted_bound"])))
    assert bounds[0] < bounds[1]


def test_no_example_has_no_score():
    config = tiny_config()
    module = ExportedVae(tiny_model(config), config, GREY)
    scores = module.evaluate(tf.zeros([0], tf.string))
    assert scores["elbo"].shape == (0,)
    assert scores["posterior_mean"].shape == (0, 3)


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


@pytest.mark.parametrize("kind", ["mixture", "vamp"])
def test_a_learned_prior_is_saved_loaded_and_generated_from(kind, tmp_path):
    config = tiny_config(prior=kind, **MONTE_CARLO)
    model = tiny_model(config)
    examples, pixels = examples_of(4, GREY)
    expected = direct_scores(model, config, GREY, pixels)
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
