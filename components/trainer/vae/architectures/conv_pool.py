"""`conv_pool`: an autoencoder for 300x300 colour images (D. Paper 2021, chapter 9).

Its code was a stack of 64 feature maps, 87,616 numbers, which no prior of independent dimensions
describes; so a dense layer at each side of the code is added. The rest is as it was.
"""

import tf_keras
from tf_keras import layers

from components.trainer.vae.architectures.heads import Heads

_FILTERS = (16, 32, 64)
# Three poolings, or strides, of two.
_STRIDE = 8


def build(heads: Heads) -> tuple[tf_keras.Model, tf_keras.Model]:
    """Three 3x3 selu convolutions with 2x2 max-pooling; three strided transposed ones.

    Sizes that 8 does not divide are made a little larger and cropped.
    """
    convolutions = []
    for filters in _FILTERS:
        convolutions += [
            layers.Conv2D(filters, 3, padding="same", activation="selu"),
            layers.MaxPool2D(2, padding="same"),
        ]
    encoder = tf_keras.Sequential(
        [
            layers.InputLayer(heads.image_shape),
            *convolutions,
            layers.Flatten(),
            heads.posterior(),
        ],
        name="encoder",
    )
    rows, columns = heads.grid(_STRIDE)
    decoder = tf_keras.Sequential(
        [
            layers.InputLayer((heads.latent_size,)),
            layers.Dense(rows * columns * _FILTERS[2], activation="selu"),
            layers.Reshape((rows, columns, _FILTERS[2])),
            layers.Conv2DTranspose(_FILTERS[1], 3, strides=2, padding="same", activation="selu"),
            layers.Conv2DTranspose(_FILTERS[0], 3, strides=2, padding="same", activation="selu"),
            layers.Conv2DTranspose(
                heads.output_channels,
                3,
                strides=2,
                padding="same",
                bias_initializer=heads.channel_initializer(),
                dtype="float32",
            ),
            heads.crop(_STRIDE),
        ],
        name="decoder",
    )
    return encoder, decoder
