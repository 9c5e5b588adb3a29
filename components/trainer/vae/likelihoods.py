"""Likelihoods p(x|z), from the decoder's raw outputs.

Each is a Keras layer, because some have weights to learn. Images are [..., H, W, C], zeros and ones
for `Bernoulli` and intensities in [0, 1] for the others; a decoder gives `parameters_per_value`
numbers for each value, [..., H, W, C * P].
"""

import abc
import math

import numpy as np
import tensorflow as tf
import tf_keras
from tensorflow_probability.python.distributions import (
    ContinuousBernoulli as TfpContinuousBernoulli,
)

from components.trainer.config import TrainingConfig

_PIXEL_AXES = (-3, -2, -1)
# Uniform noise in [0, 1) is kept inside it, where quantile functions are finite.
_UNIFORM_MARGIN = 1e-6
# Of the 256 levels of grey from 0 to 1.
_HALF_LEVEL = 0.5 / 255.0
# Halves an interval of [0, 510] to less than float64 can tell apart.
_HALVINGS = 64


class PixelLikelihood(tf_keras.layers.Layer, abc.ABC):
    """Independent pixels given the code."""

    parameters_per_value = 1

    @abc.abstractmethod
    def negative_log_likelihood(self, images: tf.Tensor, parameters: tf.Tensor) -> tf.Tensor:
        """-log p(x|z) in nats per image [...], summed over pixels and channels.

        Args:
          images: [..., H, W, C], broadcast against the parameters.
          parameters: The decoder's outputs, [..., H, W, C * P].
        """

    def mean(self, parameters: tf.Tensor) -> tf.Tensor:
        """E[x|z] per value, in [0, 1]."""
        return tf.sigmoid(parameters)

    def mode(self, parameters: tf.Tensor) -> tf.Tensor:
        """The likeliest value, in [0, 1]."""
        return self.mean(parameters)

    @abc.abstractmethod
    def sample(self, parameters: tf.Tensor, uniform: tf.Tensor) -> tf.Tensor:
        """A draw per value, from uniform noise in [0, 1)."""

    def fit(self, images: tf.Tensor, parameters: tf.Tensor, weight: tf.Tensor) -> None:
        """Takes in a training batch before its loss is computed; most need not.

        Args:
          images: [B, H, W, C].
          parameters: The decoder's outputs, [K, B, H, W, C * P].
          weight: Of each image, [B], with a mean of one.
        """

    def initial_bias(self, mean: np.ndarray) -> np.ndarray:
        """Output bias [..., C * P] at which an untrained decoder gives the mean image [..., C]."""
        return log_odds(mean)


class Bernoulli(PixelLikelihood):
    """Independent pixels in {0, 1}, from logits [..., H, W, C]."""

    def negative_log_likelihood(self, images: tf.Tensor, parameters: tf.Tensor) -> tf.Tensor:
        """Cross-entropy, summed: log(1 + e^l) - x l, which is stable for any logit."""
        return tf.reduce_sum(tf.nn.softplus(parameters) - images * parameters, axis=_PIXEL_AXES)

    def mode(self, parameters: tf.Tensor) -> tf.Tensor:
        """Zero or one."""
        return tf.cast(parameters > 0.0, parameters.dtype)

    def sample(self, parameters: tf.Tensor, uniform: tf.Tensor) -> tf.Tensor:
        """One where the noise is below the mean."""
        return tf.cast(uniform < tf.sigmoid(parameters), parameters.dtype)


class Gaussian(PixelLikelihood):
    """N(sigmoid(parameter), scale^2) per value, the scale a number that all values share."""

    def __init__(self, scale: float):
        """Fixes the scale, in intensities from 0 to 1."""
        super().__init__(name="likelihood")
        self._scale = scale

    def log_scale(self) -> tf.Tensor:
        """Logarithm of the standard deviation, []."""
        return tf.constant(math.log(self._scale))

    def negative_log_likelihood(self, images: tf.Tensor, parameters: tf.Tensor) -> tf.Tensor:
        """Squares over 2 scale^2, and the normaliser that a mean squared error leaves out."""
        log_scale = self.log_scale()
        squares = tf.math.squared_difference(images, self.mean(parameters))
        return tf.reduce_sum(
            0.5 * squares * tf.exp(-2.0 * log_scale) + log_scale + 0.5 * math.log(2.0 * math.pi),
            axis=_PIXEL_AXES,
        )

    def sample(self, parameters: tf.Tensor, uniform: tf.Tensor) -> tf.Tensor:
        """Mean + scale * the normal quantile of the noise; may leave [0, 1]."""
        return self.mean(parameters) + tf.exp(self.log_scale()) * tf.math.ndtri(_inside(uniform))


class GaussianLearnedScale(Gaussian):
    """A Gaussian whose scale is a weight (sigma-VAE, Rybkin et al. 2021).

    The logarithm of the scale is kept above -6 by a softplus, as in their published code.
    """

    def __init__(self):
        """Starts at a scale of about one."""
        super().__init__(scale=1.0)
        self._raw = self.add_weight("log_scale", (), initializer="zeros")

    def log_scale(self) -> tf.Tensor:
        """Logarithm of the standard deviation, []."""
        return tf.nn.softplus(self._raw + 6.0) - 6.0


class GaussianAnalyticScale(Gaussian):
    """A Gaussian whose squared scale is the mean squared error (optimal sigma-VAE).

    Rybkin et al. 2021, equation 5: at that scale the likelihood is at its maximum over scales, so
    the gradient is the one at a scale held fixed. It is a running mean over training batches, so
    that a trained model has one likelihood, whatever is asked of it together.
    """

    _MOMENTUM = 0.99
    # A scale of 1/1000, far below one of 255 levels of grey.
    _FLOOR = 1e-6

    def __init__(self):
        """Starts at a scale of one half."""
        super().__init__(scale=0.5)
        mean = tf.VariableAggregation.MEAN
        self._variance = self.add_weight(
            "variance",
            (),
            initializer=tf_keras.initializers.Constant(0.25),
            trainable=False,
            aggregation=mean,
        )
        self._count = self.add_weight(
            "count", (), initializer="zeros", trainable=False, aggregation=mean
        )

    def log_scale(self) -> tf.Tensor:
        """Logarithm of the standard deviation, []."""
        return 0.5 * tf.math.log(tf.maximum(self._variance, self._FLOOR))

    def fit(self, images: tf.Tensor, parameters: tf.Tensor, weight: tf.Tensor) -> None:
        """Moves the squared scale towards a batch's mean squared error; the first batch sets it."""
        squares = tf.math.squared_difference(images, self.mean(parameters))
        mean_squared_error = tf.reduce_mean(weight * tf.reduce_mean(squares, axis=_PIXEL_AXES))
        mean_squared_error = tf.stop_gradient(mean_squared_error)
        share = tf.maximum(1.0 - self._MOMENTUM, 1.0 / (self._count + 1.0))
        self._variance.assign(self._variance + share * (mean_squared_error - self._variance))
        self._count.assign(self._count + 1.0)


class ContinuousBernoulli(PixelLikelihood):
    """Intensities in [0, 1] with density C(l) l^x (1 - l)^(1 - x) (Loaiza-Ganem & Cunningham 2019).

    It is what cross-entropy on grey pixels lacks: the normaliser C(l).
    """

    def negative_log_likelihood(self, images: tf.Tensor, parameters: tf.Tensor) -> tf.Tensor:
        """Cross-entropy less the logarithm of the normaliser, summed."""
        return -tf.reduce_sum(
            TfpContinuousBernoulli(logits=parameters).log_prob(images), axis=_PIXEL_AXES
        )

    def mean(self, parameters: tf.Tensor) -> tf.Tensor:
        """E[x|z], which is nearer to 1/2 than the sigmoid."""
        return TfpContinuousBernoulli(logits=parameters).mean()

    def mode(self, parameters: tf.Tensor) -> tf.Tensor:
        """Zero or one: the density is highest at an end."""
        return tf.cast(parameters > 0.0, parameters.dtype)

    def sample(self, parameters: tf.Tensor, uniform: tf.Tensor) -> tf.Tensor:
        """The quantile function at the noise."""
        return TfpContinuousBernoulli(logits=parameters).quantile(_inside(uniform))

    def initial_bias(self, mean: np.ndarray) -> np.ndarray:
        """Logits whose distributions have the given means; there the likelihood is highest.

        Means are kept half a level of grey from 0 and 1: black is known to be no blacker, and a
        density could otherwise grow without bound at pixels that never change.

        Solved for the lesser of mean and 1 - mean; there the logit l < 0 has the mean
        1 / |l| - 1 / (e^|l| - 1), which is less than 1 / |l|. That leaves an interval to halve.
        """
        mean = np.clip(mean, _HALF_LEVEL, 1.0 - _HALF_LEVEL)
        tail = np.minimum(mean, 1.0 - mean)
        low, high = np.zeros_like(tail), 1.0 / tail
        for _ in range(_HALVINGS):
            size = 0.5 * (low + high)
            with np.errstate(over="ignore"):
                exact = 1.0 / size - 1.0 / np.expm1(size)
            # Near zero both terms are huge; the next one of the series is below 1e-11.
            is_too_small = np.where(size < 1e-3, 0.5 - size / 12.0, exact) > tail
            low, high = np.where(is_too_small, size, low), np.where(is_too_small, high, size)
        return np.where(mean < 0.5, -low, low)


class DiscretizedLogistic(PixelLikelihood):
    """Probabilities of the 256 levels: a logistic density, cut into bins (Kingma et al. 2016).

    The lowest and highest bins take the tails, so that the levels add up to one. Distortions are
    nats per image; divided by log 2 and the number of values they are bits per dimension.
    """

    parameters_per_value = 2
    INITIAL_LOG_SCALE = math.log(0.15)
    _MIN_LOG_SCALE = -7.0

    def negative_log_likelihood(self, images: tf.Tensor, parameters: tf.Tensor) -> tf.Tensor:
        """-log P(level), summed."""
        return -tf.reduce_sum(self._log_probability(images, parameters), axis=_PIXEL_AXES)

    def mean(self, parameters: tf.Tensor) -> tf.Tensor:
        """E[x|z], but for the width of a bin: the integral of the distribution function's rest."""
        centre, log_scale = self._split(parameters)
        scale = tf.exp(log_scale)
        mean = scale * (tf.nn.softplus(centre / scale) - tf.nn.softplus((centre - 1.0) / scale))
        return tf.clip_by_value(mean, 0.0, 1.0)

    def mode(self, parameters: tf.Tensor) -> tf.Tensor:
        """The level at the centre, or an end whose tail is likelier than it."""
        level = tf.round(self._split(parameters)[0] * 255.0) / 255.0
        levels = tf.stack([level, tf.zeros_like(level), tf.ones_like(level)])
        best = tf.argmax(self._log_probability(levels, parameters), axis=0)
        return tf.where(best == 0, level, tf.cast(best == 2, level.dtype))

    def sample(self, parameters: tf.Tensor, uniform: tf.Tensor) -> tf.Tensor:
        """The level in whose bin the logistic's quantile falls."""
        mean, log_scale = self._split(parameters)
        uniform = _inside(uniform)
        draw = mean + tf.exp(log_scale) * (tf.math.log(uniform) - tf.math.log1p(-uniform))
        return tf.round(tf.clip_by_value(draw, 0.0, 1.0) * 255.0) / 255.0

    def initial_bias(self, mean: np.ndarray) -> np.ndarray:
        """Centres at the mean image, scales at 0.15."""
        return np.concatenate([log_odds(mean), np.zeros_like(mean)], axis=-1)

    def _log_probability(self, images: tf.Tensor, parameters: tf.Tensor) -> tf.Tensor:
        """Log P(level) per value; exact in the tails, where a difference of CDFs would be zero.

        With u and l the standardised bin edges, sigmoid(u) - sigmoid(l) is
        sigmoid(u) sigmoid(-l) (1 - e^(l - u)).
        """
        mean, log_scale = self._split(parameters)
        inverse_scale = tf.exp(-log_scale)
        upper = (images + _HALF_LEVEL - mean) * inverse_scale
        lower = (images - _HALF_LEVEL - mean) * inverse_scale
        width = tf.math.log(-tf.math.expm1(-2.0 * _HALF_LEVEL * inverse_scale))
        below = tf.math.log_sigmoid(upper)
        above = tf.math.log_sigmoid(-lower)
        inside = below + above + width
        return tf.where(
            images < _HALF_LEVEL, below, tf.where(images > 1.0 - _HALF_LEVEL, above, inside)
        )

    def _split(self, parameters: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        centre, log_scale = tf.split(parameters, 2, axis=-1)
        return tf.sigmoid(centre), tf.maximum(
            log_scale + self.INITIAL_LOG_SCALE, self._MIN_LOG_SCALE
        )


def log_odds(mean: np.ndarray, margin: float = 1e-3) -> np.ndarray:
    """Log-odds of pixel means, the output bias at which an untrained decoder gives the mean image.

    Args:
      mean: In [0, 1].
      margin: Means are kept so far from 0 and 1 (Burda et al. 2016, their published code).
    """
    mean = np.clip(mean, margin, 1.0 - margin)
    return np.log(mean) - np.log1p(-mean)


def _inside(uniform: tf.Tensor) -> tf.Tensor:
    return tf.clip_by_value(uniform, _UNIFORM_MARGIN, 1.0 - _UNIFORM_MARGIN)


def build_likelihood(config: TrainingConfig) -> PixelLikelihood:
    """The likelihood that a configuration names."""
    builders = {
        "bernoulli": lambda: Bernoulli(name="likelihood"),
        "gaussian": lambda: Gaussian(config.gaussian_scale),
        "gaussian_learned_scale": GaussianLearnedScale,
        "gaussian_analytic_scale": GaussianAnalyticScale,
        "continuous_bernoulli": lambda: ContinuousBernoulli(name="likelihood"),
        "discretized_logistic": lambda: DiscretizedLogistic(name="likelihood"),
    }
    return builders[config.likelihood]()
