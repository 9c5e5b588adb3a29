"""Encoder and decoder networks, by name.

An encoder maps images [B, H, W, C] in [0, 1] to the posterior's parameters [B, P]; a decoder maps
codes [B, D] to one likelihood parameter per pixel, [B, H, W, C], without an activation.
"""

import math
from collections.abc import Callable

import numpy as np
import tf_keras
from tf_keras import layers

from components.trainer.config import Architecture

ImageShape = tuple[int, int, int]
NetworkBuilder = Callable[..., tf_keras.Model]

# The two strided layers of the conv nets divide height and width by this.
_CONV_STRIDE = 4


def conv_encoder(image_shape: ImageShape, num_outputs: int) -> tf_keras.Model:
    """The encoder of the TensorFlow CVAE tutorial: two strided 3x3 convolutions, then dense."""
    return tf_keras.Sequential(
        [
            layers.InputLayer(image_shape),
            layers.Conv2D(32, 3, strides=2, activation="relu"),
            layers.Conv2D(64, 3, strides=2, activation="relu"),
            layers.Flatten(),
            layers.Dense(num_outputs),
        ],
        name="encoder",
    )


def conv_decoder(
    image_shape: ImageShape, latent_size: int, mean_image: np.ndarray
) -> tf_keras.Model:
    """The decoder of the TensorFlow CVAE tutorial: dense, then three transposed convolutions.

    Sizes that 4 does not divide are made a little larger and cropped.
    """
    height, width, channels = image_shape
    rows, columns = math.ceil(height / _CONV_STRIDE), math.ceil(width / _CONV_STRIDE)
    surplus = (rows * _CONV_STRIDE - height, columns * _CONV_STRIDE - width)
    logit = log_odds(mean_image.reshape(-1, channels).mean(axis=0))
    return tf_keras.Sequential(
        [
            layers.InputLayer((latent_size,)),
            layers.Dense(rows * columns * 32, activation="relu"),
            layers.Reshape((rows, columns, 32)),
            layers.Conv2DTranspose(64, 3, strides=2, padding="same", activation="relu"),
            layers.Conv2DTranspose(32, 3, strides=2, padding="same", activation="relu"),
            layers.Conv2DTranspose(
                channels, 3, padding="same", bias_initializer=tf_keras.initializers.Constant(logit)
            ),
            layers.Cropping2D(((0, surplus[0]), (0, surplus[1]))),
        ],
        name="decoder",
    )


def dense_encoder(image_shape: ImageShape, num_outputs: int) -> tf_keras.Model:
    """Two dense layers of 400 ReLU units, the multilayer perceptron of most published tables."""
    return tf_keras.Sequential(
        [
            layers.InputLayer(image_shape),
            layers.Flatten(),
            layers.Dense(400, activation="relu"),
            layers.Dense(400, activation="relu"),
            layers.Dense(num_outputs),
        ],
        name="encoder",
    )


def dense_decoder(
    image_shape: ImageShape, latent_size: int, mean_image: np.ndarray
) -> tf_keras.Model:
    """The mirror of `dense_encoder`; any image size will do."""
    bias = tf_keras.initializers.Constant(log_odds(mean_image).ravel())
    return tf_keras.Sequential(
        [
            layers.InputLayer((latent_size,)),
            layers.Dense(400, activation="relu"),
            layers.Dense(400, activation="relu"),
            layers.Dense(int(np.prod(image_shape)), bias_initializer=bias),
            layers.Reshape(image_shape),
        ],
        name="decoder",
    )


def log_odds(mean: np.ndarray) -> np.ndarray:
    """Log-odds of pixel means, the output bias at which an untrained decoder gives the mean image.

    Means are kept in [0.001, 0.999] (Burda et al. 2016, their published code).
    """
    mean = np.clip(mean, 0.001, 0.999)
    return np.log(mean) - np.log1p(-mean)


ARCHITECTURES: dict[Architecture, tuple[NetworkBuilder, NetworkBuilder]] = {
    "conv": (conv_encoder, conv_decoder),
    "dense": (dense_encoder, dense_decoder),
}


def build_networks(
    architecture: Architecture,
    image_shape: ImageShape,
    posterior_size: int,
    latent_size: int,
    mean_image: np.ndarray,
) -> tuple[tf_keras.Model, tf_keras.Model]:
    """Builds an encoder and a decoder.

    Args:
      architecture: A key of `ARCHITECTURES`.
      image_shape: Height, width, channels.
      posterior_size: Number of parameters that the encoder gives.
      latent_size: Number of latent dimensions D.
      mean_image: The training set's mean image [H, W, C]; sets the decoder's output bias.
    """
    make_encoder, make_decoder = ARCHITECTURES[architecture]
    decoder = make_decoder(image_shape, latent_size, mean_image)
    return make_encoder(image_shape, posterior_size), decoder
