"""What every architecture is told, and the output layers that most of them end in."""

import dataclasses
import math

import numpy as np
import tf_keras
from tf_keras import layers


@dataclasses.dataclass(frozen=True)
class Heads:
    """Sizes and starting biases of a pair of nets.

    Attributes:
      image_shape: Height, width, channels.
      latent_size: Number of latent dimensions.
      posterior_bias: The encoder's output bias, [P].
      likelihood_bias: The decoder's output bias for each value, [H, W, C * Q].
      channel_bias: The same for an output layer that has one bias a channel, [C * Q].
    """

    image_shape: tuple[int, int, int]
    latent_size: int
    posterior_bias: np.ndarray
    likelihood_bias: np.ndarray
    channel_bias: np.ndarray

    @property
    def output_channels(self) -> int:
        """Channels of the decoder's output."""
        return self.likelihood_bias.shape[-1]

    def posterior(self) -> layers.Layer:
        """The encoder's last layer."""
        return layers.Dense(
            len(self.posterior_bias),
            bias_initializer=tf_keras.initializers.Constant(self.posterior_bias),
            dtype="float32",
        )

    def grid(self, stride: int) -> tuple[int, int]:
        """Rows and columns that strides of this product make the image of, or a little more."""
        height, width, _ = self.image_shape
        return math.ceil(height / stride), math.ceil(width / stride)

    def crop(self, stride: int) -> layers.Layer:
        """Cuts off what `grid` made too large."""
        height, width, _ = self.image_shape
        rows, columns = self.grid(stride)
        surplus = ((0, rows * stride - height), (0, columns * stride - width))
        return layers.Cropping2D(surplus, dtype="float32")

    def channel_initializer(self) -> tf_keras.initializers.Initializer:
        """Starts a convolution's bias."""
        return tf_keras.initializers.Constant(self.channel_bias)

    def pixel_bias(self) -> layers.Layer:
        """Adds a learned bias to each value: the mean image, which the net need not learn."""
        return PixelBias(self.likelihood_bias, dtype="float32")


class PixelBias(layers.Layer):
    """x + b with a learned b for each value of an image."""

    def __init__(self, start: np.ndarray, **kwargs):
        """Names the bias to start at, [H, W, C]."""
        super().__init__(**kwargs)
        self._start = start

    def build(self, input_shape):
        """Makes the bias."""
        self.bias = self.add_weight(
            "bias", self._start.shape, initializer=tf_keras.initializers.Constant(self._start)
        )

    def call(self, inputs):
        """Adds it to images [B, H, W, C]."""
        return inputs + self.bias
