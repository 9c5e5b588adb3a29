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
    log_odds,
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
    if likelihood == "bernoulli":
        return Bernoulli(name="likelihood"), log_odds(_smoothed_mean(moments), margin=0.0)
    if likelihood == "continuous_bernoulli":
        layer = ContinuousBernoulli(name="likelihood")
        return layer, layer.initial_bias(moments.mean)
    centre = log_odds(moments.mean, _MEAN_MARGIN)
    if likelihood == "discretized_logistic":
        layer = DiscretizedLogistic(name="likelihood")
        return layer, np.concatenate([centre, _log_scale(moments, layer)], axis=-1)
    if likelihood != "gaussian":
        # Both other Gaussians have one scale to fit; at this one the likelihood is highest.
        gaussian_scale = max(_LEAST_GAUSSIAN_SCALE, float(np.sqrt(_variance(moments).mean())))
    return Gaussian(gaussian_scale), centre


def _smoothed_mean(moments: PixelMoments) -> np.ndarray:
    """The Krichevsky-Trofimov estimate: no held-out image has probability zero."""
    return (moments.mean * moments.count + 0.5) / (moments.count + 1.0)


def _variance(moments: PixelMoments) -> np.ndarray:
    return np.maximum(moments.mean_square - np.square(moments.mean), 0.0)


def _log_scale(moments: PixelMoments, layer: DiscretizedLogistic) -> np.ndarray:
    """The layer's second parameter at a pixel's standard deviation.

    A logistic's variance is (pi scale)^2 / 3. The layer keeps scales from e^-7 up, a quarter of a
    level, at which every held-out level has a finite score.
    """
    variance = np.maximum(_variance(moments), _LEAST_VARIANCE)
    return 0.5 * np.log(3.0 * variance) - np.log(np.pi) - layer.INITIAL_LOG_SCALE
