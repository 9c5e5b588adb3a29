"""Nets: sizes of images, numbers of weights, and what they give before they are trained."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from components.errors import InputError
from components.image_binarizer import ImageFormat
from components.trainer.config import TrainingConfig
from components.trainer.vae.architectures.heads import PixelBias
from components.trainer.vae.build import build_model

ARCHITECTURES = ["conv", "conv_dense", "conv_pool", "conv_5x5", "dense"]


def model_of(architecture, shape, mean=None, **changes):
    binarization = "threshold" if changes.get("likelihood", "bernoulli") == "bernoulli" else "none"
    values = {"latent_size": 5, "hidden_units": (32, 16), **changes}
    config = TrainingConfig(architecture=architecture, **values)
    mean = np.full(shape, 0.2) if mean is None else mean
    return build_model(config, ImageFormat(*shape, binarization), mean)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize(
    ("shape", "likelihood", "outputs"),
    [
        ((28, 28, 1), "bernoulli", 1),
        ((30, 21, 3), "gaussian", 3),
        ((32, 24, 3), "discretized_logistic", 6),
    ],
)
def test_makes_its_image_size(architecture, shape, likelihood, outputs):
    if architecture == "conv_5x5" and shape == (30, 21, 3):
        with pytest.raises(InputError, match="sides 4 divides, not 30x21; set image_format"):
            model_of(architecture, shape, likelihood=likelihood)
        return
    model = model_of(architecture, shape, likelihood=likelihood, posterior="full_covariance")
    assert model.encoder(tf.zeros([2, *shape])).shape == (2, 5 + 15)
    assert model.decoder(tf.zeros([2, 5])).shape == (2, *shape[:2], outputs)


def sizes(architecture, shape=(28, 28, 1), **changes):
    model = model_of(architecture, shape, **changes)
    return model.encoder.count_params(), model.decoder.count_params()


def test_conv_has_the_size_of_the_tutorial():
    assert sizes("conv", latent_size=2) == (28_036, 41_953)


def test_conv_5x5_has_the_size_of_the_tutorial():
    # TFP's has a full covariance: 16 + 16 * 17 / 2 = 152 outputs.
    assert sizes("conv_5x5", latent_size=16, posterior="full_covariance") == (390_840, 358_465)


def test_dense_has_the_sizes_that_are_asked_for():
    encoder = (784 * 256 + 256) + (256 * 128 + 128) + (128 * 4 + 4)
    decoder = (2 * 128 + 128) + (128 * 256 + 256) + (256 * 784 + 784)
    assert sizes("dense", latent_size=2, hidden_units=(256, 128)) == (encoder, decoder)


def test_conv_dense_has_the_sizes_that_are_asked_for():
    encoder = (25 * 32 + 32) + (9 * 32 * 64 + 64) + (7 * 7 * 64 * 100 + 100) + (100 * 6 + 6)
    decoder = (
        (3 * 100 + 100)
        + (100 * 49 * 64 + 49 * 64)
        + (16 * 64 * 32 + 32)
        + (36 * 32 * 1 + 1)
        # One learned bias a pixel.
        + 784
    )
    # Only the first entry counts.
    assert sizes("conv_dense", latent_size=3, hidden_units=(100, 7)) == (encoder, decoder)


def test_conv_pool_has_its_sizes():
    encoder = (9 * 3 * 16 + 16) + (9 * 16 * 32 + 32) + (9 * 32 * 64 + 64)
    # Three times halved: 30x21 to 4x3.
    encoder += 4 * 3 * 64 * 8 + 8
    decoder = (4 * 4 * 3 * 64 + 4 * 3 * 64) + (9 * 64 * 32 + 32) + (9 * 32 * 16 + 16)
    decoder += 9 * 16 * 3 + 3
    shape = (30, 21, 3)
    assert sizes("conv_pool", shape, latent_size=4, likelihood="gaussian") == (encoder, decoder)


@pytest.mark.parametrize("activation", ["relu", "elu", "selu", "tanh", "leaky_relu"])
@pytest.mark.parametrize("architecture", ["dense", "conv_dense"])
def test_hidden_layers_have_the_activation(architecture, activation):
    model = model_of(architecture, (8, 8, 1), activation=activation)
    # A dense layer without parameters to set has but an activation.
    for net in (model.encoder, model.decoder):
        hidden = [layer for layer in net.layers if getattr(layer, "activation", None)]
        *hidden, last = hidden
        assert len(hidden) in (2, 3)
        assert {layer.activation.__name__ for layer in hidden} == {activation}
        assert last.activation.__name__ == "linear"


# A logistic's centre is put at the mean; its own mean, with both tails cut, is a little off.
TOLERANCE = {"bernoulli": 1e-5, "gaussian": 1e-5, "discretized_logistic": 0.1}


@pytest.mark.parametrize(
    ("architecture", "likelihood"),
    [
        ("dense", "bernoulli"),
        ("dense", "discretized_logistic"),
        ("conv_dense", "gaussian"),
        ("conv_dense", "discretized_logistic"),
    ],
)
def test_an_untrained_decoder_gives_the_mean_of_each_pixel(architecture, likelihood):
    mean = np.random.default_rng(0).uniform(0.05, 0.95, (9, 7, 3))
    model = model_of(architecture, (9, 7, 3), mean, likelihood=likelihood)
    given = model.likelihood.mean(model.decoder(tf.zeros([1, 5])))[0]
    np.testing.assert_allclose(given, mean, atol=TOLERANCE[likelihood])


@pytest.mark.parametrize("likelihood", ["bernoulli", "discretized_logistic"])
@pytest.mark.parametrize("architecture", ["conv", "conv_pool", "conv_5x5"])
def test_an_untrained_decoder_gives_the_mean_of_each_channel(architecture, likelihood):
    # These have one output bias a channel, and nothing else at a code of zero.
    mean = np.random.default_rng(0).uniform(0.05, 0.95, (8, 12, 3)) * [0.3, 0.6, 1.0]
    model = model_of(architecture, (8, 12, 3), mean, likelihood=likelihood)
    given = model.likelihood.mean(model.decoder(tf.zeros([1, 5])))[0]
    expected = np.broadcast_to(mean.mean(axis=(0, 1)), mean.shape)
    np.testing.assert_allclose(given, expected, atol=TOLERANCE[likelihood])


@pytest.mark.parametrize("posterior", ["diagonal", "full_covariance"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_an_untrained_encoder_is_at_the_scale_of_the_prior(architecture, posterior):
    model = model_of(architecture, (8, 8, 1), posterior=posterior)
    variance = model.encode(tf.zeros([1, 8, 8, 1])).variance
    # conv_5x5 moves black to -1/2, so its net says something about it already.
    tolerance = 0.5 if architecture == "conv_5x5" else 1e-4
    np.testing.assert_allclose(variance, np.ones((1, 5)), atol=tolerance)


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_nets_compute_in_their_precision_and_end_in_float32(architecture, precision):
    model = model_of(architecture, (8, 8, 1), precision=precision, latent_size=2)
    for net, inputs in ((model.encoder, [2, 8, 8, 1]), (model.decoder, [2, 2])):
        assert net(tf.ones(inputs)).dtype == tf.float32
        assert net.layers[-1].compute_dtype == "float32"
        kinds = {layer.compute_dtype for layer in net.layers if layer.weights}
        assert precision.removeprefix("mixed_") in kinds
        assert {variable.dtype for variable in net.variables} == {tf.float32}
    posterior = model.encode(tf.ones([2, 8, 8, 1]))
    assert posterior.mean.dtype == posterior.scale.dtype == tf.float32
    assert tf_keras.mixed_precision.global_policy().name == "float32"


def test_the_pixel_bias_is_learned():
    layer = PixelBias(np.arange(6.0).reshape(1, 2, 3))
    np.testing.assert_allclose(layer(tf.ones([1, 1, 2, 3]))[0, 0], [[1, 2, 3], [4, 5, 6]])
    assert [tuple(weight.shape) for weight in layer.trainable_weights] == [(1, 2, 3)]
