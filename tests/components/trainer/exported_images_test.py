"""The exported `decode`, `reconstruct` and `generate` for every likelihood."""

from typing import get_args

import numpy as np
import pytest
import tensorflow as tf

from components.trainer.config import Likelihood
from components.trainer.export import ExportedVae
from tests.components.trainer.tiny_models import COLOUR, COLOUR_LEVELS, tiny_config, tiny_model

LIKELIHOODS = get_args(Likelihood)
# What each gives but numbers in [0, 1].
TWO_VALUED = {"bernoulli": ("mode", "sample"), "continuous_bernoulli": ("mode",)}


def exported(likelihood):
    image_format = COLOUR if likelihood == "bernoulli" else COLOUR_LEVELS
    config = tiny_config(likelihood=likelihood, gaussian_scale=0.3)
    model = tiny_model(config, image_format)
    return model, ExportedVae(model, config, image_format)


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_images_have_the_right_shapes_and_ranges(likelihood):
    model, module = exported(likelihood)
    z = tf.random.stateless_normal([40, 3], seed=[1, 2])
    images = tf.random.stateless_uniform([40, 5, 4, 3], seed=[3, 4])
    decoded = module.decode(z)
    rebuilt = module.reconstruct(images)
    generated = module.generate(tf.constant(40, tf.int64), tf.constant(1, tf.int64))
    assert generated["z"].shape == (40, 3)
    for outputs in (decoded, rebuilt, generated):
        for name in ("mean", "mode", "sample"):
            value = outputs[name].numpy()
            assert value.shape == (40, 5, 4, 3)
            assert value.dtype == np.float32
            if name == "sample" and likelihood.startswith("gaussian"):
                assert value.min() < 0
                assert value.max() > 1
            else:
                assert 0 <= value.min() < value.max() <= 1
            if name in TWO_VALUED.get(likelihood, ()):
                assert set(np.unique(value)) == {0.0, 1.0}
        if likelihood == "discretized_logistic":
            levels = outputs["sample"].numpy() * 255
            np.testing.assert_allclose(levels, np.round(levels), atol=1e-4)
    # The means of the parts that made them.
    parts = {
        "decode": (decoded, z),
        "reconstruct": (rebuilt, model.encode(images).mean),
        "generate": (generated, generated["z"]),
    }
    for name, (outputs, codes) in parts.items():
        parameters = model.decoder(codes)
        for statistic in ("mean", "mode"):
            expected = getattr(model.likelihood, statistic)(parameters)
            share = np.isclose(outputs[statistic], expected, atol=1e-4).mean()
            # A mode may jump where rounding decides.
            assert share > 0.99, (name, statistic)


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_samples_vary_from_pixel_to_pixel_around_the_mean(likelihood):
    _, module = exported(likelihood)
    z = tf.random.stateless_normal([500, 3], seed=[1, 2])
    outputs = module.decode(z)
    sample, mean = outputs["sample"].numpy(), outputs["mean"].numpy()
    np.testing.assert_array_equal(sample, module.decode(z)["sample"])
    difference = sample - mean
    tolerance = 5 * difference.std() / np.sqrt(difference.size)
    if likelihood == "discretized_logistic":
        # The ends take the tails, so the mean of the levels is not quite the centre.
        tolerance += 0.05
    assert abs(difference.mean()) < tolerance
    # Not one noise number for an image, nor one noise image for all.
    flat = difference.reshape(500, -1)
    correlation = np.corrcoef(flat.T) - np.eye(flat.shape[1])
    assert np.abs(correlation).max() < 0.35
    assert np.abs(np.corrcoef(flat[:60]) - np.eye(60)).max() < 0.75
