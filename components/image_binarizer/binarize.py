"""8-bit pixels of any size to model-ready pixels, a batch at a time."""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from components import content_noise
from components.image_binarizer.image_format import ImageFormat


def resize_and_convert(pixels: tf.Tensor, image_format: ImageFormat) -> tf.Tensor:
    """Brings images to the format's size and channels.

    Args:
      pixels: uint8 [B, h, w, 1 or 3].
      image_format: The wanted size and number of channels.

    Returns:
      uint8 [B, H, W, C]: antialiased bilinear, aspect ratio not kept; luma by ITU-R BT.601.
    """
    channels = pixels.shape[-1]
    if channels == 3 and image_format.channels == 1:
        pixels = tf.image.rgb_to_grayscale(pixels)
    elif channels == 1 and image_format.channels == 3:
        pixels = tf.image.grayscale_to_rgb(pixels)
    size = (image_format.height, image_format.width)
    if tuple(pixels.shape[1:3]) != size:
        resized = tf.image.resize(pixels, size, antialias=True)
        pixels = tf.cast(tf.clip_by_value(tf.round(resized), 0.0, 255.0), tf.uint8)
    return pixels


def binarize(pixels: tf.Tensor, image_format: ImageFormat) -> tf.Tensor:
    """Binarises intensities, or keeps them where the format says so.

    Args:
      pixels: uint8 intensities [B, H, W, C].
      image_format: Names the binarisation.

    Returns:
      uint8 [B, H, W, C]: zeros and ones for `threshold` (intensity > threshold) and `stochastic`
      (P(1) = intensity, noise seeded by the image itself), else the intensities.
    """
    if image_format.encoding == "uint8":
        return pixels
    intensities = tf.cast(pixels, tf.float32) / 255.0
    if image_format.binarization == "threshold":
        return tf.cast(intensities > image_format.threshold, tf.uint8)
    uniform = content_noise.content_uniform(
        content_noise.content_key(pixels, image_format.seed),
        list(image_format.shape),
        content_noise.PIXEL_STREAM,
    )
    return tf.cast(uniform < intensities, tf.uint8)


def observe(
    pixels: tf.Tensor,
    image_format: ImageFormat,
    uniform: Callable[[], tf.Tensor] | None = None,
) -> tf.Tensor:
    """Turns stored pixels into the images that a likelihood is about.

    Args:
      pixels: uint8 [B, H, W, C] as stored.
      image_format: What they mean.
      uniform: Gives uniform noise of the same shape for dynamic binarisation; by default it is
        seeded by each image, so that every model is scored on the same draw.

    Returns:
      float32 [B, H, W, C]: bits, intensities, or a Bernoulli draw of the intensities.
    """
    images = tf.cast(pixels, tf.float32) / image_format.max_value
    if image_format.binarization != "dynamic":
        return images
    if uniform is None:
        noise = content_noise.content_uniform(
            content_noise.content_key(pixels),
            list(image_format.shape),
            content_noise.PIXEL_STREAM,
        )
    else:
        noise = uniform()
    return tf.cast(noise < images, tf.float32)


def pack(pixels: np.ndarray, image_format: ImageFormat) -> list[bytes]:
    """Stored bytes of model-ready pixels, uint8 [B, H, W, C]."""
    flat = pixels.reshape(len(pixels), -1)
    if image_format.encoding == "bits":
        flat = np.packbits(flat, axis=1)
    return [row.tobytes() for row in flat]


def unpack(stored: tf.Tensor, image_format: ImageFormat) -> tf.Tensor:
    """The inverse of `pack` as a TensorFlow graph: uint8 [B, record_bytes] to [B, H, W, C]."""
    if image_format.encoding == "bits":
        shifts = tf.constant([7, 6, 5, 4, 3, 2, 1, 0], tf.uint8)
        bits = tf.bitwise.bitwise_and(tf.bitwise.right_shift(stored[:, :, None], shifts), 1)
        stored = tf.reshape(bits, [-1, 8 * image_format.record_bytes])
        stored = stored[:, : image_format.num_pixels]
    return tf.reshape(stored, [-1, *image_format.shape])


def parse_records(serialized: tf.Tensor, image_format: ImageFormat) -> tf.Tensor:
    """Stored bytes, uint8 [B, record_bytes], of serialized model-ready Examples, strings [B]."""
    features = {"image": tf.io.FixedLenFeature([], tf.string)}
    records = tf.io.parse_example(serialized, features)["image"]
    return tf.io.decode_raw(records, tf.uint8, fixed_length=image_format.record_bytes)


def parse_examples(serialized: tf.Tensor, image_format: ImageFormat) -> tf.Tensor:
    """Stored pixels, uint8 [B, H, W, C], of serialized model-ready Examples, strings [B]."""
    return unpack(parse_records(serialized, image_format), image_format)
