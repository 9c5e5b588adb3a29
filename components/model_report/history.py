"""A training's numbers, epoch by epoch."""

import csv
import dataclasses
import io
import math
from collections.abc import Mapping, Sequence

MEASURES = ("elbo", "rate", "distortion")
_COLUMNS = tuple(prefix + measure for measure in MEASURES for prefix in ("", "val_"))


@dataclasses.dataclass(frozen=True)
class History:
    """What a training logged; NaN where it logged nothing or NaN.

    Attributes:
      epochs: Epoch numbers from 1, without gaps.
      values: `elbo`, `val_elbo`, `rate`, ... to one number an epoch; nats per image.
      missing: Epochs that have no row.
    """

    epochs: Sequence[int]
    values: Mapping[str, Sequence[float]]
    missing: frozenset[int]

    @property
    def best_epoch(self) -> int | None:
        """The first epoch that is best by `best_by`; None if that is None."""
        if self.best_by is None:
            return None
        sign = -1.0 if self.best_by == "distortion" else 1.0
        return -max((sign * value, -epoch) for epoch, value in self._finite(self.best_by))[1]

    @property
    def best_by(self) -> str | None:
        """`elbo`, or, as for an autoencoder, `distortion` where no epoch has a finite ELBO.

        Both on validation images; None where no epoch has either.
        """
        return next((name for name in ("elbo", "distortion") if self._finite(name)), None)

    def _finite(self, measure: str) -> list[tuple[int, float]]:
        values = zip(self.epochs, self.values[f"val_{measure}"], strict=True)
        return [(epoch, value) for epoch, value in values if math.isfinite(value)]


def read_history(text: str) -> History:
    """Reads a Keras CSVLogger's file; what is not a number in it counts as NaN.

    Args:
      text: The file's text; its column `epoch` counts from 0. A resumed training may have
        logged an epoch twice, of which the later row counts.
    """
    rows = {}
    # The csv module refuses NUL, which a crash may leave at a file's end.
    for row in csv.DictReader(io.StringIO(text.replace("\0", ""))):
        epoch = _number(row.get("epoch"))
        if math.isfinite(epoch) and epoch >= 0:
            rows[int(epoch) + 1] = row
    epochs = range(1, max(rows, default=0) + 1)
    return History(
        epochs=epochs,
        values={
            column: [_number(rows.get(epoch, {}).get(column)) for epoch in epochs]
            for column in _COLUMNS
        },
        missing=frozenset(epochs) - frozenset(rows),
    )


def _number(text: str | None) -> float:
    try:
        return float(text)
    except (TypeError, ValueError):
        return math.nan
