"""What the gate knows of a model, as sums over examples; nothing here knows TFX or Beam.

A statistic takes what a model says of n images, as arrays with a first axis of n, and gives an
accumulator; accumulators merge in any order, and in the end become numbers by name.
"""

import abc
import math
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from components.elbo_evaluator.moments import CoMoments, Moments

Scores = Mapping[str, np.ndarray]
Number = float | np.ndarray

# A dimension is active if its posterior mean varies by more than this over images.
ACTIVE_VARIANCE = 0.01
_FAR = 3.0


class Statistic(abc.ABC):
    """A family of numbers about one model.

    Attributes:
      names: Of the numbers.
    """

    names: ClassVar[tuple[str, ...]]

    @abc.abstractmethod
    def accumulate(self, scores: Scores) -> Any:
        """An accumulator of n images, or None if the scores say nothing about this statistic."""

    @abc.abstractmethod
    def numbers(self, accumulator: Any) -> dict[str, Number]:
        """The numbers, from the merged accumulators of all images."""


class ElboTerms(Statistic):
    """Means of ELBO, rate and distortion, with standard errors; nats per image.

    `<name>_standard_error` is sd / sqrt(N). `bits_per_dimension` is -ELBO / (H W C log 2).
    """

    names = (
        "example_count",
        *(
            f"{score}{suffix}"
            for score in ("elbo", "rate", "distortion")
            for suffix in ("", "_standard_error")
        ),
        "bits_per_dimension",
    )

    def __init__(self, num_pixels: int):
        """Takes the number of values of an image, channels counted."""
        self._num_pixels = num_pixels

    def accumulate(self, scores: Scores) -> Moments | None:
        """See `Statistic`."""
        if "elbo" not in scores:
            return None
        columns = [scores[name] for name in ("elbo", "rate", "distortion")]
        return Moments.of(np.stack(columns, axis=1))

    def numbers(self, accumulator: Moments) -> dict[str, Number]:
        """See `Statistic`."""
        mean = accumulator.mean.copy()
        # An infinite ELBO would pass any floor; NaN passes none.
        mean[0] = mean[0] if np.isfinite(mean[0]) else math.nan
        values = np.stack([mean, accumulator.standard_error()], axis=1).ravel()
        bits = -mean[0] / (self._num_pixels * math.log(2.0))
        return _named(self.names, (accumulator.count, *values, bits))


class Reconstruction(Statistic):
    """How near the mean image of a drawn code is to the image.

    `mse` is the squared error of intensities from 0 to 1, averaged over pixels and images; `psnr`
    is 10 log10(1 / mse), in decibels; `rounded_accuracy` is the share of pixels that are the same
    when both are rounded to 0 or 1.
    """

    names = ("mse", "psnr", "rounded_accuracy")

    def accumulate(self, scores: Scores) -> Moments | None:
        """See `Statistic`."""
        if "squared_error" not in scores:
            return None
        return Moments.of(np.stack([scores["squared_error"], scores["rounded_accuracy"]], axis=1))

    def numbers(self, accumulator: Moments) -> dict[str, Number]:
        """See `Statistic`."""
        mse, accuracy = accumulator.mean
        with np.errstate(divide="ignore"):
            return _named(self.names, (mse, -10.0 * np.log10(mse), accuracy))


class LatentSpace(Statistic):
    """What the codes tell about images, and whether together they look like N(0, I).

    With posterior means m and variances s of D dimensions:

    - `rate_per_dimension` [D]: mean of (m^2 + s - 1 - log s) / 2, the KL divergence of each
      marginal from N(0, 1).
    - `active_units`: dimensions whose m has a variance over images above 0.01 (Burda et al. 2016,
      section 5.2). `collapsed_share` is the share of the others.
    - `aggregated_posterior_kl_bound`: (tr C + |a|^2 - D - log det C) / 2 with the mean a and the
      covariance C = mean(diag s) + Cov(m) of the aggregated posterior q(z). Of all distributions
      with these moments the normal one is the nearest to N(0, I), so KL(q(z) || N(0, I)) is at
      least this.
    - `information_bound`: the index-code mutual information is the mean rate less KL(q(z) || p)
      (Hoffman & Johnson 2016), so it is at most the mean rate less the bound above; and at most
      log N. With a prior other than N(0, I) and a full covariance it is an approximation.
    - `share_beyond_three`: share of |z_j| > 3 among drawn codes; 0.0027 under N(0, 1).
    """

    names = (
        "rate_per_dimension",
        "active_units",
        "collapsed_share",
        "aggregated_posterior_kl_bound",
        "information_bound",
        "share_beyond_three",
    )

    def accumulate(self, scores: Scores) -> tuple[CoMoments, Moments] | None:
        """See `Statistic`."""
        if "posterior_mean" not in scores:
            return None
        mean = np.asarray(scores["posterior_mean"], np.float64)
        variance = np.asarray(scores["posterior_variance"], np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            rates = 0.5 * (np.square(mean) + variance - 1.0 - np.log(variance))
            far = (np.abs(scores["code"]) > _FAR).mean(axis=1)
        others = np.column_stack([rates, variance, far, scores["rate"]])
        return CoMoments.of(mean), Moments.of(others)

    def numbers(self, accumulator: tuple[CoMoments, Moments]) -> dict[str, Number]:
        """See `Statistic`."""
        means, others = accumulator
        size = len(means.mean)
        rates, variances = others.mean[:size], others.mean[size : 2 * size]
        far, rate = others.mean[2 * size :]
        active = np.diag(means.covariance) > ACTIVE_VARIANCE
        with np.errstate(divide="ignore", invalid="ignore"):
            covariance = means.covariance + np.diag(variances)
            sign, log_determinant = np.linalg.slogdet(covariance)
            squares = np.trace(covariance) + means.mean @ means.mean
            gap = 0.5 * (squares - size - log_determinant) if sign > 0 else math.nan
            information = min(max(rate, rates.sum()) - gap, math.log(means.count))
        return _named(
            self.names,
            (rates, active.sum(), 1.0 - active.mean(), gap, information, far),
        )


class ImportanceWeightedBound(Statistic):
    """Mean of L_K = log 1/K sum_k p(x, z_k) / q(z_k|x) (Burda et al. 2016, equation 8), in nats.

    Of the images that it was computed of, which are `importance_weighted_count` many.
    """

    names = (
        "importance_weighted_bound",
        "importance_weighted_bound_standard_error",
        "importance_weighted_count",
    )

    def accumulate(self, scores: Scores) -> Moments | None:
        """See `Statistic`."""
        if "importance_weighted_bound" not in scores:
            return None
        return Moments.of(scores["importance_weighted_bound"][:, None])

    def numbers(self, accumulator: Moments) -> dict[str, Number]:
        """See `Statistic`."""
        values = (accumulator.mean[0], accumulator.standard_error()[0], accumulator.count)
        return _named(self.names, values)


class ImpliedKlWeight(Statistic):
    """The KL weight that a model behaves as if trained at.

    Training at a weight w ends where distortion + w rate no longer changes with the scale of the
    posterior. So w is minus the slope of the distortion by that of the rate, whatever a
    configuration says: near 2 where the KL is counted twice, near H W C where pixels are averaged,
    near 0 where the rate never reached the loss. It is of training images, on which training came
    to rest. The standard error is that of a ratio of means.
    """

    names = ("implied_kl_weight", "implied_kl_weight_standard_error")

    def accumulate(self, scores: Scores) -> CoMoments | None:
        """See `Statistic`."""
        if "distortion_slope" not in scores:
            return None
        return CoMoments.of(np.stack([scores["distortion_slope"], scores["rate_slope"]], axis=1))

    def numbers(self, accumulator: CoMoments) -> dict[str, Number]:
        """See `Statistic`."""
        distortion, rate = accumulator.mean
        with np.errstate(divide="ignore", invalid="ignore"):
            weight = -distortion / rate
            along = np.array([1.0, weight])
            variance = along @ accumulator.covariance @ along / accumulator.count
            return _named(self.names, (weight, np.sqrt(max(variance, 0.0)) / abs(rate)))


class NonFinite(Statistic):
    """`non_finite_share`: share of images with any score or code that is NaN or infinite."""

    names = ("non_finite_share",)

    def accumulate(self, scores: Scores) -> Moments | None:
        """See `Statistic`."""
        if "elbo" not in scores:
            return None
        finite = [
            np.isfinite(values).all(axis=tuple(range(1, values.ndim))) for values in scores.values()
        ]
        return Moments.of(~np.all(finite, axis=0)[:, None])

    def numbers(self, accumulator: Moments) -> dict[str, Number]:
        """See `Statistic`."""
        # Of whole images: rounding must not decide against a threshold such as 0.05.
        return _named(
            self.names, (round(accumulator.mean[0] * accumulator.count) / accumulator.count,)
        )


STATISTICS: dict[str, type[Statistic]] = {
    kind.__name__: kind
    for kind in (
        ElboTerms,
        Reconstruction,
        LatentSpace,
        ImportanceWeightedBound,
        ImpliedKlWeight,
        NonFinite,
    )
}


def merge(one: Any, other: Any) -> Any:
    """Merges two accumulators of one statistic; None is that of no image."""
    if one is None or other is None:
        return other if one is None else one
    if isinstance(one, tuple):
        return tuple(a.merge(b) for a, b in zip(one, other, strict=True))
    return one.merge(other)


def _named(names: tuple[str, ...], values: tuple) -> dict[str, Number]:
    numbers = zip(names, values, strict=True)
    return {name: value if np.ndim(value) else float(value) for name, value in numbers}
