"""What ImageBinarizer's Beam step does to a raw image, as a TensorFlow graph.

Beam decodes with Pillow, which a graph cannot call. PNG comes out the same to the bit, except for a
transparent colour that is no alpha channel. JPEG does without EXIF orientation.
"""

import numpy as np
import tensorflow as tf

from components import content_noise
from components.image_binarizer.binarize import resize_and_convert
from components.image_binarizer.image_format import ImageFormat

# Looked up, because a graph's optimizer multiplies by 1/255 where Beam divides by 255, which turns
# a pixel that is right at the threshold.
_INTENSITIES = np.arange(256, dtype=np.float32) / np.float32(255)
_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"


def stored_pixels(pixels: tf.Tensor, image_format: ImageFormat) -> tf.Tensor:
    """Resizes, converts and binarises pixels as ImageBinarizer stores them.

    Args:
      pixels: uint8 [B, h, w, 1 or 3], sizes known only when the graph runs.
      image_format: What the model was trained on.

    Returns:
      uint8 [B, H, W, C].
    """

    def ready(channels: int) -> tf.Tensor:
        known = tf.ensure_shape(pixels, [None, None, None, channels])
        return resize_and_convert(known, image_format)

    converted = tf.cond(tf.shape(pixels)[-1] == 1, lambda: ready(1), lambda: ready(3))
    return _binarize(tf.ensure_shape(converted, [None, *image_format.shape]), image_format)


def stored_pixels_of_files(images: tf.Tensor, image_format: ImageFormat) -> tf.Tensor:
    """Decodes files, each of any size, and does to them what `stored_pixels` does.

    Args:
      images: PNG, JPEG, BMP or GIF, of which the first frame counts; string [B].
      image_format: What the model was trained on.

    Returns:
      uint8 [B, H, W, C].
    """
    return tf.map_fn(
        lambda encoded: stored_pixels(decode_image(encoded)[None], image_format)[0],
        images,
        fn_output_signature=tf.TensorSpec(image_format.shape, tf.uint8),
    )


def decode_image(encoded: tf.Tensor) -> tf.Tensor:
    """Decodes a file as `components.image_binarizer.decode` does.

    Args:
      encoded: The file's bytes, string [].

    Returns:
      uint8 [h, w, 1 or 3]; transparency is laid over white, 16-bit grey scaled to 8 bits.
    """
    return tf.cond(
        tf.strings.substr(encoded, 0, len(_PNG_MAGIC)) == _PNG_MAGIC,
        lambda: _over_white(_decode_png(encoded)),
        lambda: tf.cond(
            tf.io.is_jpeg(encoded),
            # Pillow's way of decoding, which is slower than TensorFlow's default.
            lambda: tf.io.decode_jpeg(encoded, dct_method="INTEGER_ACCURATE"),
            lambda: tf.io.decode_image(encoded, expand_animations=False),
        ),
    )


def _binarize(pixels: tf.Tensor, image_format: ImageFormat) -> tf.Tensor:
    """`components.image_binarizer.binarize.binarize`, the same to the bit in a graph."""
    if image_format.encoding == "uint8":
        return pixels
    intensities = tf.gather(_INTENSITIES, tf.cast(pixels, tf.int32))
    if image_format.binarization == "threshold":
        return tf.cast(intensities > image_format.threshold, tf.uint8)
    uniform = content_noise.content_uniform(
        content_noise.content_key(pixels, image_format.seed),
        list(image_format.shape),
        content_noise.PIXEL_STREAM,
    )
    return tf.cast(uniform < intensities, tf.uint8)


def _decode_png(encoded: tf.Tensor) -> tf.Tensor:
    """uint8 [h, w, 1 to 4]."""
    # As 16 bits, where an 8-bit value v is 257 v and comes back whole by either way.
    wide = tf.cast(tf.io.decode_png(encoded, dtype=tf.uint16), tf.int32)
    # Of grey with alpha and of colour, Pillow takes the high byte.
    is_grey = tf.shape(wide)[-1] == 1
    return tf.cast(tf.where(is_grey, (wide + 128) // 257, wide // 256), tf.uint8)


def _over_white(image: tf.Tensor) -> tf.Tensor:
    """Lays the last of 2 or 4 channels over white; uint8 [h, w, 1 or 3]."""

    def composite() -> tf.Tensor:
        values = tf.cast(image, tf.int32)
        colour, alpha = values[..., :-1], values[..., -1:]
        # Pillow's division by 255, in integers.
        total = colour * alpha + 255 * (255 - alpha) + 128
        return tf.cast((total + total // 256) // 256, tf.uint8)

    return tf.cond(tf.shape(image)[-1] % 2 == 0, composite, lambda: image)
