"""What a candidate has to show before it is blessed."""

import dataclasses

from components.errors import InputError


@dataclasses.dataclass(frozen=True)
class GateConfig:
    """Thresholds of the gate; every one must hold, and NaN holds none.

    Attributes:
      floor: Least mean ELBO, in nats per image. None means that of a model that knows nothing: for
        each pixel -log 2 (a fair coin), -log 256 for a discretized likelihood (all levels alike),
        or 0 for a density (the uniform one).
      min_improvement: Least difference between the mean ELBOs of candidate and champion on the
        same images, in nats per image; 0 blesses an equal model, more asks for better ones.
      min_examples: Least number of scored images.
    """

    floor: float | None = None
    min_improvement: float = 0.0
    min_examples: int = 100

    def __post_init__(self):
        if self.min_examples < 1:
            raise InputError(f"min_examples must be at least 1, not {self.min_examples}.")
        for name in ("floor", "min_improvement"):
            value = getattr(self, name)
            if value is not None and value != value:
                raise InputError(f"{name} is not a number.")
