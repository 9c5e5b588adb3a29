"""`dense`: a multilayer perceptron, as in most published tables.

Without biases, as in "Hands-On Deep Learning with Go", a net cannot be centred on a dark image.
"""

import numpy as np
import tf_keras
from tf_keras import layers

from components.trainer.vae.architectures.heads import Heads


def build(
    heads: Heads, hidden_units: tuple[int, ...], activation: str
) -> tuple[tf_keras.Model, tf_keras.Model]:
    """Dense layers, mirrored; any image size will do.

    Args:
      heads: Sizes and biases.
      hidden_units: Units of the encoder's hidden layers, from the image on.
      activation: Of every hidden layer.
    """
    encoder = tf_keras.Sequential(
        [
            layers.InputLayer(heads.image_shape),
            layers.Flatten(),
            *(layers.Dense(units, activation=activation) for units in hidden_units),
            heads.posterior(),
        ],
        name="encoder",
    )
    shape = heads.likelihood_bias.shape
    decoder = tf_keras.Sequential(
        [
            layers.InputLayer((heads.latent_size,)),
            *(layers.Dense(units, activation=activation) for units in reversed(hidden_units)),
            layers.Dense(
                int(np.prod(shape)),
                bias_initializer=tf_keras.initializers.Constant(heads.likelihood_bias.ravel()),
                dtype="float32",
            ),
            layers.Reshape(shape, dtype="float32"),
        ],
        name="decoder",
    )
    return encoder, decoder
