"""`conv_dense`: few wide convolutions and a dense layer; the most ELBO for the time on a CPU.

A strided kernel is as wide as a multiple of its stride, so that the transposed ones cover each
pixel equally often (Odena et al. 2016), and the last of them makes the image: nothing is computed
at full resolution but the output.
"""

import tf_keras
from tf_keras import layers

from components.trainer.vae.architectures.heads import Heads

_STRIDE = 4
_FILTERS = (32, 64)


def build(heads: Heads, units: int, activation: str) -> tuple[tf_keras.Model, tf_keras.Model]:
    """Two strided convolutions and two dense layers, mirrored.

    Sizes that 4 does not divide are made a little larger and cropped.

    Args:
      heads: Sizes and biases.
      units: Units of the dense layers.
      activation: Of every hidden layer.
    """
    encoder = tf_keras.Sequential(
        [
            layers.InputLayer(heads.image_shape),
            layers.Conv2D(_FILTERS[0], 5, strides=2, padding="same", activation=activation),
            layers.Conv2D(_FILTERS[1], 3, strides=2, padding="same", activation=activation),
            layers.Flatten(),
            layers.Dense(units, activation=activation),
            heads.posterior(),
        ],
        name="encoder",
    )
    rows, columns = heads.grid(_STRIDE)
    decoder = tf_keras.Sequential(
        [
            layers.InputLayer((heads.latent_size,)),
            layers.Dense(units, activation=activation),
            layers.Dense(rows * columns * _FILTERS[1], activation=activation),
            layers.Reshape((rows, columns, _FILTERS[1])),
            layers.Conv2DTranspose(
                _FILTERS[0], 4, strides=2, padding="same", activation=activation
            ),
            layers.Conv2DTranspose(
                heads.output_channels, 6, strides=2, padding="same", dtype="float32"
            ),
            heads.crop(_STRIDE),
            heads.pixel_bias(),
        ],
        name="decoder",
    )
    return encoder, decoder
