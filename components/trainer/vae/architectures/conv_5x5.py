"""`conv_5x5`: the nets of TFP's tutorial on probabilistic layers (also D. Paper 2021, chapter 9).

The tutorial's 7x7 layers without padding fit images of 28x28; here they are as large as what is
left of the image after two strides.
"""

import tf_keras
from tf_keras import layers

from components.errors import InputError
from components.trainer.vae.architectures.heads import Heads

_STRIDE = 4


def build(heads: Heads) -> tuple[tf_keras.Model, tf_keras.Model]:
    """Four 5x5 convolutions and one over all that is left; the same backwards.

    Raises:
      InputError: If 4 does not divide height and width.
    """
    height, width, _ = heads.image_shape
    if height % _STRIDE or width % _STRIDE:
        raise InputError(
            f"The architecture conv_5x5 makes images whose sides 4 divides, not {height}x{width}; "
            "set image_format.height and image_format.width, or take another architecture."
        )
    left = (height // _STRIDE, width // _STRIDE)
    encoder = tf_keras.Sequential(
        [
            layers.InputLayer(heads.image_shape),
            layers.Rescaling(1.0, offset=-0.5),
            *(
                layers.Conv2D(filters, 5, strides=stride, padding="same", activation="leaky_relu")
                for filters, stride in ((32, 1), (32, 2), (64, 1), (64, 2))
            ),
            layers.Conv2D(4 * heads.latent_size, left, activation="leaky_relu"),
            layers.Flatten(),
            heads.posterior(),
        ],
        name="encoder",
    )
    decoder = tf_keras.Sequential(
        [
            layers.InputLayer((heads.latent_size,)),
            layers.Reshape((1, 1, heads.latent_size)),
            layers.Conv2DTranspose(64, left, activation="leaky_relu"),
            *(
                layers.Conv2DTranspose(
                    filters, 5, strides=stride, padding="same", activation="leaky_relu"
                )
                for filters, stride in ((64, 1), (64, 2), (32, 1), (32, 2), (32, 1))
            ),
            layers.Conv2D(
                heads.output_channels,
                5,
                padding="same",
                bias_initializer=heads.channel_initializer(),
                dtype="float32",
            ),
        ],
        name="decoder",
    )
    return encoder, decoder
