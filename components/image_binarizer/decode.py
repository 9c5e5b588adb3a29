"""Encoded image bytes to 8-bit pixels, with Pillow."""

import io

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

_SIXTEEN_BIT_MODES = ("I", "I;16", "I;16L", "I;16B", "I;16N")


def decode_image(encoded: bytes) -> np.ndarray:
    """Decodes the first frame of any image that Pillow reads.

    Grey images stay grey; everything else becomes RGB. Transparency is laid over white, the EXIF
    orientation is applied, 16-bit grey is scaled to 8 bits.

    Args:
      encoded: The file's bytes.

    Returns:
      uint8 [height, width, 1] or [height, width, 3].

    Raises:
      ValueError: If the bytes are not a whole image, with Pillow's reason.
    """
    try:
        with Image.open(io.BytesIO(encoded)) as image:
            image.load()
            pixels = np.asarray(_to_grey_or_rgb(ImageOps.exif_transpose(image)))
    # Pillow's own text holds a memory address, which would differ from run to run.
    except UnidentifiedImageError as error:
        raise ValueError("not an image in any format that Pillow reads") from error
    # Pillow's plugins raise what their parsers raise, from OSError to struct.error.
    except Exception as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error
    return pixels.reshape(*pixels.shape[:2], -1)


def _to_grey_or_rgb(image: Image.Image) -> Image.Image:
    if image.mode in _SIXTEEN_BIT_MODES:
        # Pillow's own conversion clips at 255 instead of scaling.
        wide = np.asarray(image, dtype=np.int64)
        if wide.min(initial=0) < 0 or wide.max(initial=0) > 65535:
            raise ValueError("32-bit integer pixels outside 0 to 65535 have no defined white")
        if "transparency" in image.info:
            wide[wide == image.info["transparency"]] = 65535
        return Image.fromarray(((wide + 128) // 257).astype(np.uint8))
    if image.mode == "F":
        raise ValueError("floating-point pixels have no defined white")
    grey = image.mode in ("1", "L", "LA", "La")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("L" if grey else "RGB")
