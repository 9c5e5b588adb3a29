"""What is searched; data that round-trips through JSON."""

import dataclasses
import itertools
import json
import math
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal

from components.errors import InputError
from components.trainer.config import TrainingConfig

Algorithm = Literal["grid", "random", "bayesian"]

_KINDS = typing.get_type_hints(TrainingConfig)
_NAMES = {int: "a whole number", float: "a number", str: "text"}


@dataclasses.dataclass(frozen=True)
class LogRange:
    """Any number from `low` to `high`, each factor as likely as another."""

    low: float
    high: float

    def __post_init__(self):
        if not 0 < self.low < self.high < math.inf:
            raise InputError(
                f"A range goes from a positive number to a larger one, not from {self.low} to "
                f"{self.high}."
            )


@dataclasses.dataclass(frozen=True)
class SearchSpace:
    """Which fields of TrainingConfig are searched, over what, and how.

    Attributes:
      fields: Name of a field to the values to try, or to a LogRange where it is a real number.
      algorithm: `grid` tries every combination; `random` draws them; `bayesian` lets a Gaussian
        process of the earlier trials choose.
      max_trials: How many `random` and `bayesian` try; None for `grid`, which tries all.
      seed: Seed of the draws.
    """

    fields: Mapping[str, tuple | LogRange]
    algorithm: Algorithm = "grid"
    max_trials: int | None = None
    seed: int = 0

    def __post_init__(self):
        if self.algorithm not in typing.get_args(Algorithm):
            raise InputError(
                f"Unknown algorithm {self.algorithm!r}; choose one of "
                f"{', '.join(typing.get_args(Algorithm))}."
            )
        if not self.fields:
            raise InputError("A search needs at least one field to search.")
        fields = {name: _checked(name, domain) for name, domain in self.fields.items()}
        object.__setattr__(self, "fields", fields)
        ranges = [name for name, domain in fields.items() if isinstance(domain, LogRange)]
        if self.algorithm == "grid":
            if ranges:
                raise InputError(
                    f"A grid needs a list of values for {ranges[0]}; a range can be searched by "
                    "random or bayesian."
                )
            if self.max_trials is not None:
                raise InputError("A grid is searched whole; leave max_trials out.")
        elif not _is_whole(self.max_trials) or self.max_trials < 1:
            raise InputError(
                f"The algorithm {self.algorithm} needs max_trials of at least 1, not "
                f"{self.max_trials}."
            )
        if not _is_whole(self.seed) or self.seed < 0:
            raise InputError(f"seed must be a whole number of at least 0, not {self.seed!r}.")

    @property
    def num_trials(self) -> int:
        """How many trainings that is, at most."""
        return self.max_trials or math.prod(len(values) for values in self.fields.values())

    def configurations(self, config: TrainingConfig) -> list[TrainingConfig]:
        """Every combination, the last field changing fastest; of a range its two ends.

        Args:
          config: What all trials have in common.

        Raises:
          InputError: If a combination is no training, or has no ELBO to compare.
        """
        domains = [
            dataclasses.astuple(domain) if isinstance(domain, LogRange) else domain
            for domain in self.fields.values()
        ]
        configurations = []
        for values in itertools.product(*domains):
            changed = dataclasses.replace(config, **dict(zip(self.fields, values, strict=True)))
            if changed.is_autoencoder:
                raise InputError(
                    "A search is for the best ELBO, and an autoencoder (posterior point) has none."
                )
            configurations.append(changed)
        return configurations

    def to_json(self) -> str:
        """All of it, as text that `from_json` reads."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "SearchSpace":
        """Reads what `to_json` wrote."""
        values = json.loads(text)
        values["fields"] = {
            name: LogRange(**domain) if isinstance(domain, dict) else tuple(domain)
            for name, domain in values["fields"].items()
        }
        return cls(**values)


def _checked(name: str, domain: Any) -> tuple | LogRange:
    if name not in _KINDS:
        raise InputError(f"A training has no field {name!r}; known: {', '.join(_KINDS)}.")
    kind = _kind(name)
    if isinstance(domain, LogRange):
        if kind is not float:
            raise InputError(f"{name} cannot be searched over a range; list its values.")
        return domain
    values = tuple(domain)
    if not values:
        raise InputError(f"There is no value of {name} to try; list one or more.")
    values = tuple(_converted(name, kind, value) for value in values)
    repeated = next((value for place, value in enumerate(values) if value in values[:place]), None)
    if repeated is not None:
        raise InputError(f"{name} lists {repeated} twice.")
    return values


def _kind(name: str) -> type:
    """Int, float or str."""
    hint = _KINDS[name]
    if typing.get_origin(hint) is Literal:
        return str
    if isinstance(hint, types.UnionType):
        # None cannot stand among the numbers that an oracle orders.
        hint = next(part for part in typing.get_args(hint) if part is not type(None))
    if hint not in _NAMES:
        raise InputError(f"{name} cannot be searched; make a recipe for each of its values.")
    return hint


def _converted(name: str, kind: type, value: Any) -> int | float | str:
    fits = {
        int: _is_whole(value),
        float: isinstance(value, float | int) and not isinstance(value, bool),
        str: isinstance(value, str),
    }
    if not fits[kind] or (kind is float and not math.isfinite(value)):
        raise InputError(f"{name} must be {_NAMES[kind]}, not {value!r}.")
    return kind(value)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
