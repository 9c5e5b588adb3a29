"""Numbers as the page shows them, and the use that a model makes of its latent dimensions."""

import dataclasses
import math
from collections.abc import Mapping

import numpy as np

from components.elbo_evaluator.rules import Rule
from components.elbo_evaluator.statistics import ACTIVE_VARIANCE


@dataclasses.dataclass(frozen=True)
class LatentUsage:
    """How much each latent dimension tells about an image.

    Attributes:
      rates: Mean KL divergence from the prior, float64 [D]; nats per image.
      active: Which dimensions are active, bool [D].
      num_images: Images behind the means.
    """

    rates: np.ndarray
    active: np.ndarray
    num_images: int


def latent_usage(mean: np.ndarray, variance: np.ndarray) -> LatentUsage:
    """Rate of each dimension, and whether it is active.

    Args:
      mean: Posterior means [N, D].
      variance: Posterior variances [N, D].

    Returns:
      Usage; a dimension is active if the variance of its posterior mean over images is above 0.01
      (Burda et al. 2016, section 5.2).
    """
    mean, variance = mean.astype(np.float64), variance.astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        rates = 0.5 * (np.square(mean) + variance - 1.0 - np.log(variance)).mean(axis=0)
        active = mean.var(axis=0) > ACTIVE_VARIANCE
    return LatentUsage(rates, active, len(mean))


def has_bits(likelihood: str) -> bool:
    """Whether an ELBO is also a number of bits: a density depends on its unit, levels do not."""
    return likelihood == "discretized_logistic"


def bits(elbo: float, num_pixels: int) -> float:
    """A negative ELBO, nats per image, in bits a value."""
    return -elbo / (num_pixels * math.log(2.0))


def bits_per_dimension(values: Mapping[str, float], num_pixels: int) -> str:
    """The negative ELBO in bits a value, such as `3.28`.

    Args:
      values: Metric name to value.
      num_pixels: Values per image, channels counted.
    """
    elbo = values.get("elbo")
    return nats(elbo if elbo is None else bits(elbo, num_pixels))


def nats(value: float | None, sign: str = "") -> str:
    """A number with two decimals, or the word for what it is instead.

    Args:
      value: None where there is none.
      sign: "+" to show the sign of positive numbers too.
    """
    if value is None:
        return "missing"
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    return f"{value:{sign}.2f}"


def score(values: Mapping[str, float], name: str) -> str:
    """A mean with its standard error, such as `-102.38 ± 1.20`.

    Args:
      values: Metric name to value.
      name: The metric; `<name>_standard_error` is its standard error.
    """
    return f"{nats(values.get(name))} ± {nats(values.get(f'{name}_standard_error'))}"


def difference(values: Mapping[str, float]) -> str:
    """An ELBO difference with the standard error of paired differences, such as `+0.52 ± 0.08`.

    Args:
      values: The candidate's numbers, of which `elbo_gain` is one if there is a champion.
    """
    return f"{nats(values.get('elbo_gain'), '+')} ± {nats(values.get('elbo_gain_standard_error'))}"


def verdict(rule: Rule) -> str:
    """`holds`, `fails` or `not asked`."""
    if not rule.passed:
        return "fails"
    return "not asked" if rule.message else "holds"


def rule_cells(rule: Rule) -> tuple[str, str, str, str]:
    """What is asked, the candidate's number, the champion's, and their difference."""
    difference = _number(rule.difference, signed=True)
    candidate = _number(rule.candidate)
    error = "" if rule.standard_error is None else f" ± {_number(rule.standard_error)}"
    if difference:
        difference += error
    else:
        candidate += error
    return rule.asked, candidate, _number(rule.champion), difference


def _number(value: float | None, signed: bool = False) -> str:
    if value is None:
        return ""
    if isinstance(value, int):
        return f"{value:,}"
    return nats(value, "+" if signed else "")
