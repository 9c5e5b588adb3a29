"""Images as one PNG grid."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

# Small images are enlarged to about this many pixels, so that a person can see them.
_CELL = 56
_GAP = 2


def write_image_grid(images: np.ndarray, path: Path, columns: int | None = None) -> tuple[int, int]:
    """Writes images side by side, row by row.

    Args:
      images: [N, H, W, 1 or 3] in [0, 1].
      path: The PNG file.
      columns: Images in a row; None for a grid as square as can be.

    Returns:
      Rows and columns.
    """
    import numpy as np
    from PIL import Image

    number, height, width, channels = images.shape
    columns = columns or math.ceil(math.sqrt(number))
    rows = math.ceil(number / columns)
    scale = max(1, round(_CELL / max(height, width)))
    pixels = np.rint(np.clip(images, 0.0, 1.0) * 255).astype(np.uint8)
    pixels = pixels.repeat(scale, axis=1).repeat(scale, axis=2)
    cell_height, cell_width = height * scale + _GAP, width * scale + _GAP
    grid = np.full(
        (rows * cell_height + _GAP, columns * cell_width + _GAP, channels), 128, np.uint8
    )
    for index, image in enumerate(pixels):
        top = _GAP + (index // columns) * cell_height
        left = _GAP + (index % columns) * cell_width
        grid[top : top + height * scale, left : left + width * scale] = image
    Image.fromarray(grid[..., 0] if channels == 1 else grid).save(path, "PNG")
    return rows, columns
