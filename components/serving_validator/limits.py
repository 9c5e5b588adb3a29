"""What a decoder may cost at most."""

import dataclasses

from components.errors import InputError


@dataclasses.dataclass(frozen=True)
class Limits:
    """Bounds that a decoder must keep to be blessed; None is no bound.

    Attributes:
      max_latency_ms: Of the median time that a client waits for the mean image of one code,
        milliseconds.
      max_model_bytes: Of the size of the SavedModel's files, warm-up requests not counted.
    """

    max_latency_ms: float | None = None
    max_model_bytes: int | None = None

    def __post_init__(self):
        for name, value in dataclasses.asdict(self).items():
            if value is not None and not value > 0:
                raise InputError(f"{name} must be above 0, not {value}; leave it out for no bound.")
