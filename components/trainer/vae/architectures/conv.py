"""`conv`: the nets of the TensorFlow CVAE tutorial, and of "Six ways to implement a VAE".

The latter left out the ReLU after the decoder's first layer; it is here.
"""

import tf_keras
from tf_keras import layers

from components.trainer.vae.architectures.heads import Heads

# The two strided layers divide height and width by this.
_STRIDE = 4


def build(heads: Heads) -> tuple[tf_keras.Model, tf_keras.Model]:
    """Two strided 3x3 convolutions and a dense layer; a dense layer and three transposed ones.

    Sizes that 4 does not divide are made a little larger and cropped.
    """
    encoder = tf_keras.Sequential(
        [
            layers.InputLayer(heads.image_shape),
            layers.Conv2D(32, 3, strides=2, activation="relu"),
            layers.Conv2D(64, 3, strides=2, activation="relu"),
            layers.Flatten(),
            heads.posterior(),
        ],
        name="encoder",
    )
    rows, columns = heads.grid(_STRIDE)
    decoder = tf_keras.Sequential(
        [
            layers.InputLayer((heads.latent_size,)),
            layers.Dense(rows * columns * 32, activation="relu"),
            layers.Reshape((rows, columns, 32)),
            layers.Conv2DTranspose(64, 3, strides=2, padding="same", activation="relu"),
            layers.Conv2DTranspose(32, 3, strides=2, padding="same", activation="relu"),
            layers.Conv2DTranspose(
                heads.output_channels,
                3,
                padding="same",
                bias_initializer=heads.channel_initializer(),
                dtype="float32",
            ),
            heads.crop(_STRIDE),
        ],
        name="decoder",
    )
    return encoder, decoder
