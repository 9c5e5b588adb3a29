"""The best parameters of each likelihood for pixels that do not depend on a code."""

import numpy as np

from components.image_binarizer.image_format import PixelMoments
from components.trainer.config import Likelihood
from components.trainer.vae.likelihoods import (
    Bernoulli,
    ContinuousBernoulli,
    DiscretizedLogistic,
    Gaussian,
    PixelLikelihood,
)

# As of GaussianAnalyticScale, in intensities from 0 to 1.
_LEAST_GAUSSIAN_SCALE = 1e-3
# Means that are kept as far from 0 and 1 have log-odds that float32 turns back into them.
_MEAN_MARGIN = 1e-6
# Of a pixel that never changed; any number whose logarithm is finite.
_LEAST_VARIANCE = 1e-12


def fit_likelihood(
    moments: PixelMoments, likelihood: Likelihood, gaussian_scale: float
) -> tuple[PixelLikelihood, np.ndarray]:
    """The likelihood and its parameters that pixels have when nothing is known of the image.

    Args:
      moments: Of the training images.
      likelihood: The family.
      gaussian_scale: Standard deviation of `gaussian`, in intensities from 0 to 1.

    Returns:
      The likelihood's layer and its constant parameters, float64 [H, W, C * P].
    """
    log_odds = _log_odds(np.clip(moments.mean, _MEAN_MARGIN, 1.0 - _MEAN_MARGIN))
    if likelihood == "bernoulli":
        return Bernoulli(name="likelihood"), _log_odds(_smoothed_mean(moments))
    if likelihood == "continuous_bernoulli":
        layer = ContinuousBernoulli(name="likelihood")
        return layer, layer.initial_bias(moments.mean)
    if likelihood == "discretized_logistic":
        layer = DiscretizedLogistic(name="likelihood")
        return layer, np.concatenate([log_odds, _log_scale(moments, layer)], axis=-1)
    if likelihood != "gaussian":
        # Both other Gaussians have one scale to fit; at this one the likelihood is highest.
        gaussian_scale = max(_LEAST_GAUSSIAN_SCALE, float(np.sqrt(_variance(moments).mean())))
    return Gaussian(gaussian_scale), log_odds


def _smoothed_mean(moments: PixelMoments) -> np.ndarray:
    """The Krichevsky-Trofimov estimate: no held-out image has probability zero."""
    return (moments.mean * moments.count + 0.5) / (moments.count + 1.0)


def _log_odds(mean: np.ndarray) -> np.ndarray:
    return np.log(mean) - np.log1p(-mean)


def _variance(moments: PixelMoments) -> np.ndarray:
    return np.maximum(moments.mean_square - np.square(moments.mean), 0.0)


def _log_scale(moments: PixelMoments, layer: DiscretizedLogistic) -> np.ndarray:
    """The layer's second parameter at a pixel's standard deviation.

    A logistic's variance is (pi scale)^2 / 3. The layer keeps scales from e^-7 up, a quarter of a
    level, at which every held-out level has a finite score.
    """
    variance = np.maximum(_variance(moments), _LEAST_VARIANCE)
    return 0.5 * np.log(3.0 * variance) - np.log(np.pi) - layer.INITIAL_LOG_SCALE
