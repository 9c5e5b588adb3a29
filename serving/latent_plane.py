"""Codes on a plane through the latent space, for a picture of what a decoder has learned."""

from __future__ import annotations

from statistics import NormalDist
from typing import TYPE_CHECKING

from components.errors import InputError

if TYPE_CHECKING:
    import numpy as np

SIDE = 20
# The outermost codes leave out this much of the prior on either side.
_MARGIN = 0.05


def plane_codes(latent_size: int, dimensions: tuple[int, int] | None = None) -> np.ndarray:
    """Codes at quantiles of a standard normal, so that each stands for as much of the prior.

    Args:
      latent_size: Number of latent dimensions D.
      dimensions: The two that vary, counted from 0: the first to the right, the second downwards.
        The others are 0, their mean. May be left out where there are only two.

    Returns:
      float32 [SIDE * SIDE, D], row by row.

    Raises:
      InputError: If the dimensions are needed, or do not exist.
    """
    import numpy as np

    if latent_size < 2:
        raise InputError("The model has 1 latent dimension, which makes no plane.")
    if dimensions is None:
        if latent_size != 2:
            raise InputError(
                f"The model has {latent_size} latent dimensions and a picture shows two; choose "
                "them with --dimensions A,B, such as --dimensions 0,1."
            )
        dimensions = (0, 1)
    right, down = dimensions
    if right == down or not all(0 <= dimension < latent_size for dimension in dimensions):
        raise InputError(
            f"{right},{down} are not two of the model's latent dimensions; choose from 0 to "
            f"{latent_size - 1}."
        )
    side = [NormalDist().inv_cdf(share) for share in np.linspace(_MARGIN, 1.0 - _MARGIN, SIDE)]
    codes = np.zeros([SIDE, SIDE, latent_size], np.float32)
    codes[..., right] = np.array(side)[None, :]
    codes[..., down] = np.array(side)[:, None]
    return codes.reshape(-1, latent_size)
