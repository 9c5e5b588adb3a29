"""The graph that stands for ImageBinarizer's Beam step, against that step."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from components.decoder_exporter.image_input import (
    decode_image,
    stored_pixels,
    stored_pixels_of_files,
)
from components.image_binarizer.binarize import binarize, resize_and_convert
from components.image_binarizer.decode import decode_image as decode_with_pillow
from components.image_binarizer.image_format import ImageFormat

_in_graph = tf.function(decode_image, input_signature=[tf.TensorSpec([], tf.string)])


def _encode(image, file_format="PNG", **options):
    file = io.BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


def _random(*shape, dtype=np.uint8):
    top = np.iinfo(dtype).max
    return np.random.default_rng(3).integers(0, top, shape, dtype, endpoint=True)


def _every_alpha():
    """Every pair of value and alpha, as grey with alpha [256, 256, 2]."""
    return np.stack(np.meshgrid(np.arange(256), np.arange(256)), axis=-1).astype(np.uint8)


@pytest.mark.parametrize(
    "encoded",
    [
        _encode(Image.fromarray(_random(5, 7))),
        _encode(Image.fromarray(_random(5, 7) > 127)),
        _encode(Image.fromarray(_random(5, 7, 3))),
        _encode(Image.fromarray(_every_alpha())),
        _encode(Image.fromarray(_random(40, 40, 4))),
        _encode(Image.fromarray(_random(300, 300, dtype=np.uint16))),
        _encode(Image.fromarray(_random(9, 9, 3)).convert("P")),
        _encode(Image.fromarray(_random(5, 7, 3)), "BMP"),
    ],
    ids=["grey", "1 bit", "colour", "grey alpha", "colour alpha", "16 bit", "palette", "bmp"],
)
def test_the_pixels_are_pillows(encoded):
    given, expected = _in_graph(tf.constant(encoded)).numpy(), decode_with_pillow(encoded)
    np.testing.assert_array_equal(given, expected)
    assert given.dtype == np.uint8


@pytest.mark.parametrize("shape", [(64, 48), (64, 48, 3)])
def test_jpeg_is_within_a_level_of_pillows(shape):
    smooth = np.asarray(Image.fromarray(_random(6, 5, *shape[2:])).resize(shape[1::-1]))
    encoded = _encode(Image.fromarray(smooth), "JPEG")
    given, expected = _in_graph(tf.constant(encoded)).numpy(), decode_with_pillow(encoded)
    assert given.shape == expected.shape
    assert np.abs(given.astype(int) - expected).max() <= 1


def test_what_is_no_image_is_refused():
    with pytest.raises(tf.errors.InvalidArgumentError):
        _in_graph(tf.constant(b"no image"))


@pytest.mark.parametrize("binarization", ["threshold", "stochastic", "dynamic", "none"])
@pytest.mark.parametrize("wanted", [1, 3])
def test_pixels_are_stored_as_by_the_beam_step(binarization, wanted):
    # At 0.4 a pixel of 102 shows whether the graph divides as Beam does.
    image_format = ImageFormat(6, 5, wanted, binarization, threshold=0.4, seed=9)
    in_graph = tf.function(
        lambda values: stored_pixels(values, image_format),
        input_signature=[tf.TensorSpec([None] * 4, tf.uint8)],
    )
    for size in ((9, 13), (6, 5), (3, 2)):
        for channels in (1, 3):
            pixels = _random(30, *size, channels)
            ready = resize_and_convert(tf.constant(pixels), image_format)
            given = in_graph(pixels)
            np.testing.assert_array_equal(given, binarize(ready, image_format))
            assert (ready.numpy() == 102).any()


def test_files_of_any_size_go_together():
    image_format = ImageFormat(6, 5, 1, "stochastic")
    images = [_random(8, 8), _random(20, 3, 3), _random(6, 5, 4)]
    in_graph = tf.function(
        lambda files: stored_pixels_of_files(files, image_format),
        input_signature=[tf.TensorSpec([None], tf.string)],
    )
    given = in_graph(tf.constant([_encode(Image.fromarray(image)) for image in images])).numpy()
    for pixels, image in zip(given, images, strict=True):
        decoded = decode_with_pillow(_encode(Image.fromarray(image)))[None]
        ready = binarize(resize_and_convert(tf.constant(decoded), image_format), image_format)
        np.testing.assert_array_equal(pixels, ready[0])
    assert in_graph(tf.zeros([0], tf.string)).shape == (0, 6, 5, 1)
