"""Model images as PNG, one picture pixel an image pixel."""

import base64
import dataclasses
import io

import numpy as np

_GAP = 1
_GAP_GREY = 96
_NOT_A_NUMBER = (214, 39, 90)


@dataclasses.dataclass(frozen=True)
class Picture:
    """An image of the page.

    Attributes:
      src: A data URI.
      width: Width on the page, in CSS pixels.
      height: Height on the page.
      alt: What it shows, in words.
      dark_src: The data URI for dark mode, if that is another.
    """

    src: str
    width: int
    height: int
    alt: str
    dark_src: str | None = None


def png_uri(png: bytes) -> str:
    """A data URI of an encoded PNG."""
    return f"data:image/png;base64,{base64.b64encode(png).decode('ascii')}"


def tiles(images: np.ndarray, columns: int, alt: str, max_width: int) -> Picture:
    """Sets images side by side, row by row.

    Args:
      images: [N, H, W, 1 or 3], black at 0 and white at 1; pixels that are not finite are drawn
        red.
      columns: Images a row.
      alt: What they show, in words.
      max_width: Width on the page that a whole multiple of the picture's own has to fit into.
    """
    from PIL import Image

    number, height, width, channels = images.shape
    rows = -(-number // columns)
    finite = np.isfinite(images)
    pixels = np.round(255.0 * np.clip(np.where(finite, images, 0.0), 0.0, 1.0)).astype(np.uint8)
    broken = ~finite.all(axis=-1)
    if broken.any() and channels == 1:
        pixels = np.repeat(pixels, 3, axis=-1)
    if broken.any():
        pixels[broken] = _NOT_A_NUMBER
    step_y, step_x = height + _GAP, width + _GAP
    canvas = np.full(
        (rows * step_y - _GAP, columns * step_x - _GAP, pixels.shape[-1]), _GAP_GREY, np.uint8
    )
    for index, tile in enumerate(pixels):
        top, left = index // columns * step_y, index % columns * step_x
        canvas[top : top + height, left : left + width] = tile
    file = io.BytesIO()
    Image.fromarray(canvas[..., 0] if canvas.shape[-1] == 1 else canvas).save(file, "PNG")
    # A whole multiple, so that every pixel is drawn alike.
    scale = max(1, max_width // canvas.shape[1])
    return Picture(
        src=png_uri(file.getvalue()),
        width=scale * canvas.shape[1],
        height=scale * canvas.shape[0],
        alt=alt,
    )
