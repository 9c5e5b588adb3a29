"""Encoder and decoder networks, one file an architecture.

An encoder maps images [B, H, W, C] in [0, 1] to the posterior's parameters [B, P]; a decoder maps
codes [B, D] to the likelihood's parameters, [B, H, W, C * Q], without an activation. Both end in
float32, whatever the precision of the layers before.
"""

import contextlib
from collections.abc import Callable, Iterator

import numpy as np
import tf_keras

from components.trainer.config import Architecture, Precision, TrainingConfig
from components.trainer.vae.architectures import conv, conv_5x5, conv_dense, conv_pool, dense
from components.trainer.vae.architectures.heads import Heads

_BUILDERS: dict[Architecture, Callable[..., tuple[tf_keras.Model, tf_keras.Model]]] = {
    "conv": lambda heads, config: conv.build(heads),
    "conv_dense": lambda heads, config: conv_dense.build(
        heads, config.hidden_units[0], config.activation
    ),
    "conv_pool": lambda heads, config: conv_pool.build(heads),
    "conv_5x5": lambda heads, config: conv_5x5.build(heads),
    "dense": lambda heads, config: dense.build(heads, config.hidden_units, config.activation),
}


def build_networks(
    config: TrainingConfig,
    image_shape: tuple[int, int, int],
    posterior_bias: np.ndarray,
    likelihood_bias: np.ndarray,
    channel_bias: np.ndarray,
) -> tuple[tf_keras.Model, tf_keras.Model]:
    """Builds an encoder and a decoder.

    Args:
      config: Names the architecture, its sizes and its precision.
      image_shape: Height, width, channels.
      posterior_bias: Output bias of the encoder, [P]; also says how many outputs it has.
      likelihood_bias: Output bias of the decoder for each value, [H, W, C * Q].
      channel_bias: The same for all pixels of a channel, [C * Q].

    Raises:
      InputError: If the architecture cannot make images of that size.
    """
    heads = Heads(image_shape, config.latent_size, posterior_bias, likelihood_bias, channel_bias)
    with _layers_of(config.precision):
        return _BUILDERS[config.architecture](heads, config)


@contextlib.contextmanager
def _layers_of(precision: Precision) -> Iterator[None]:
    before = tf_keras.mixed_precision.global_policy()
    tf_keras.mixed_precision.set_global_policy(precision)
    try:
        yield
    finally:
        tf_keras.mixed_precision.set_global_policy(before)
