"""Means and (co)variances that add up over any split of the examples, in float64."""

import dataclasses
import math

import numpy as np


@dataclasses.dataclass(frozen=True)
class Moments:
    """Count, mean and sum of squared deviations (Chan, Golub & LeVeque 1983).

    A mean with an infinite value is infinite and one with NaN is NaN, in any order of the values;
    the standard error of either is NaN.

    Attributes:
      count: Number of examples n.
      mean: [k].
      squares: Sum of (value - mean)^2, [k].
    """

    count: int
    mean: np.ndarray
    squares: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray) -> "Moments":
        """Of vectors [n, k]; n may be 0."""
        values = np.asarray(values, np.float64)
        if not len(values):
            return cls(0, np.zeros(values.shape[1]), np.zeros(values.shape[1]))
        # Infinite scores, which an autoencoder has, are no mistake to warn of.
        with np.errstate(invalid="ignore"):
            mean = values.mean(axis=0)
            return cls(len(values), mean, np.square(values - mean).sum(axis=0))

    def merge(self, other: "Moments") -> "Moments":
        """Of the examples of both."""
        if not (self.count and other.count):
            return self if self.count else other
        count = self.count + other.count
        with np.errstate(invalid="ignore"):
            delta = other.mean - self.mean
            squares = self.squares + other.squares
            squares = squares + np.square(delta) * (self.count * other.count / count)
            mean = self.mean + delta * (other.count / count)
            # The difference of two infinities is NaN, and so would be a mean that moves by it.
            mean = np.where(np.isinf(self.mean), self.mean + other.mean, mean)
        return Moments(count, mean, squares)

    def standard_error(self) -> np.ndarray:
        """Of the mean: sd / sqrt(n), with n - 1 degrees of freedom; infinite below 2 examples."""
        if self.count < 2:
            return np.full_like(self.mean, math.inf)
        squares = np.where(np.isfinite(self.mean), self.squares, math.nan)
        return np.sqrt(squares / (self.count - 1) / self.count)


@dataclasses.dataclass(frozen=True)
class CoMoments:
    """Count, mean and sum of outer products of deviations, which add up likewise.

    Attributes:
      count: Number of examples n.
      mean: [k].
      products: Sum of (value - mean) (value - mean)^T, [k, k].
    """

    count: int
    mean: np.ndarray
    products: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray) -> "CoMoments":
        """Of vectors [n, k]; n may be 0."""
        values = np.asarray(values, np.float64)
        size = values.shape[1]
        if not len(values):
            return cls(0, np.zeros(size), np.zeros((size, size)))
        with np.errstate(invalid="ignore"):
            mean = values.mean(axis=0)
            deviations = values - mean
            return cls(len(values), mean, deviations.T @ deviations)

    def merge(self, other: "CoMoments") -> "CoMoments":
        """Of the examples of both."""
        if not (self.count and other.count):
            return self if self.count else other
        count = self.count + other.count
        with np.errstate(invalid="ignore"):
            delta = other.mean - self.mean
            products = self.products + other.products
            products = products + np.outer(delta, delta) * (self.count * other.count / count)
            return CoMoments(count, self.mean + delta * (other.count / count), products)

    @property
    def covariance(self) -> np.ndarray:
        """Of the examples themselves (n in the denominator), [k, k]."""
        return self.products / self.count
