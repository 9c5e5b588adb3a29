"""Small models and batches that a test can compute by hand."""

import numpy as np
import tensorflow as tf
import tf_keras
from tensorflow_probability.python.math import fill_triangular_inverse

from components.image_binarizer import ImageFormat
from components.image_binarizer.binarize import pack
from components.trainer.config import TrainingConfig
from components.trainer.vae.build import build_model
from components.trainer.vae.formulations import FORMULATIONS
from components.trainer.vae.likelihoods import Gaussian
from components.trainer.vae.priors import StandardNormal

GREY, COLOUR = ImageFormat(5, 4, 1, "threshold"), ImageFormat(5, 4, 3, "threshold")
# As `GREY` and `COLOUR`, with intensities.
GREY_LEVELS, COLOUR_LEVELS = ImageFormat(5, 4, 1, "none"), ImageFormat(5, 4, 3, "none")


def tiny_config(**changes) -> TrainingConfig:
    """A dense net of eight smooth units and three latent dimensions."""
    values = {
        "architecture": "dense",
        "hidden_units": (8,),
        "activation": "tanh",
        "latent_size": 3,
        "prior_components": 4,
    }
    return TrainingConfig(**{**values, **changes})


def tiny_model(config, image_format=GREY, steps_per_epoch=1):
    """A compiled model whose weights are the same for every formulation, and unlike any start."""
    mean_image = np.random.default_rng(5).uniform(0.1, 0.9, image_format.shape)
    tf_keras.utils.set_random_seed(7)
    model = build_model(config, image_format, mean_image, steps_per_epoch)
    model.compile(optimizer=tf_keras.optimizers.SGD(1.0))
    rng = np.random.default_rng(7)
    for variable in model.trainable_variables:
        variable.assign_add(0.3 * rng.normal(size=variable.shape))
    return model


def serialized(pixels, image_format):
    """Model-ready Examples, string [B], of uint8 pixels [B, H, W, C]."""
    return tf.constant(
        [
            tf.train.Example(
                features=tf.train.Features(
                    feature={
                        "image": tf.train.Feature(bytes_list=tf.train.BytesList(value=[stored]))
                    }
                )
            ).SerializeToString()
            for stored in pack(pixels, image_format)
        ]
    )


class LinearMean(Gaussian):
    """N(parameter, scale^2), without the sigmoid."""

    def mean(self, parameters):
        return parameters


def linear_vae(config, shape, decoder, encoder, scale) -> tf_keras.Model:
    """A VAE of two affine maps, whose posterior has the same covariance for every image.

    Args:
      config: With a posterior of full covariance.
      shape: Of an image, of P pixels.
      decoder: Kernel [D, P] and bias [P]; the scale is that of the pixels.
      encoder: Kernel [P, D] and bias [D] of the posterior mean, and the covariance's factor [D, D].
      scale: Standard deviation of a pixel.
    """
    kernel, bias, factor = encoder
    # The numbers that FullCovarianceNormal makes this factor of.
    raw = factor.copy()
    np.fill_diagonal(raw, np.log(np.expm1(np.diag(factor) - 1e-5)))
    triangle = fill_triangular_inverse(raw).numpy()
    encoder = tf_keras.Sequential(
        [
            tf_keras.layers.InputLayer(shape),
            tf_keras.layers.Flatten(),
            tf_keras.layers.Dense(len(bias) + len(triangle)),
        ]
    )
    encoder.set_weights(
        [
            np.concatenate([kernel, np.zeros((len(kernel), len(triangle)))], axis=1),
            np.concatenate([bias, triangle]),
        ]
    )
    affine = tf_keras.Sequential(
        [
            tf_keras.layers.InputLayer((len(bias),)),
            tf_keras.layers.Dense(len(kernel)),
            tf_keras.layers.Reshape(shape),
        ]
    )
    affine.set_weights(list(decoder))
    return FORMULATIONS["e"](
        config, encoder, affine, StandardNormal(name="prior"), LinearMean(scale)
    )


def random_batch(config, image_format=GREY, count=7, padding=0, seed=0):
    """Random images, with a mean weight of one; padding is of weight zero."""
    rng = np.random.default_rng(seed)
    top = 2 if image_format.is_binary else 256
    images = rng.integers(0, top, (count, *image_format.shape)) / (top - 1)
    noise = rng.normal(size=(count, config.training_samples, config.latent_size))
    weight = np.full(count, (count + padding) / count)
    batch = {"images": images, "noise": noise, "weight": weight}
    padded = {}
    for name, value in batch.items():
        # Images that are all one, whose loss differs from that of the real ones.
        fill = np.zeros if name == "weight" else np.ones
        padded[name] = np.concatenate([value, fill((padding, *value.shape[1:]))])
    return {name: tf.constant(value, tf.float32) for name, value in padded.items()}


def gradients_of(model, batch) -> tuple[dict[str, float], list[np.ndarray]]:
    """The logs and the gradients of one training step, by a step of SGD at rate one."""
    for metric in model.metrics:
        metric.reset_state()
    before = [variable.numpy() for variable in model.trainable_variables]
    logs = model.train_step(batch)
    after = [variable.numpy() for variable in model.trainable_variables]
    for variable, value in zip(model.trainable_variables, before, strict=True):
        variable.assign(value)
    gradients = [old - new for old, new in zip(before, after, strict=True)]
    return {name: float(value) for name, value in logs.items()}, gradients
