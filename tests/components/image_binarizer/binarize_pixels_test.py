import math

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from components.image_binarizer.binarize import (
    binarize,
    observe,
    pack,
    parse_examples,
    resize_and_convert,
    unpack,
)
from components.image_binarizer.image_format import ImageFormat
from components.image_binarizer.transforms import _ready_example

_ALL_INTENSITIES = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)


def _hoeffding(count, events=1, failure=1e-9):
    """How far `events` means of `count` draws in [0, 1] stray at most, but for `failure`."""
    return math.sqrt(math.log(2 * events / failure) / (2 * count))


def _random_images(count, *shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), np.uint8)


def _numbered(count, intensity, size=8):
    """Images of one intensity that differ in their first two pixels only."""
    images = np.full((count, size, size, 1), intensity, np.uint8)
    images[:, 0, 0, 0] = np.arange(count) // 256
    images[:, 0, 1, 0] = np.arange(count) % 256
    return images


def _binarize(images, *args, **kwargs):
    return binarize(tf.constant(images), ImageFormat(*images.shape[1:], *args, **kwargs)).numpy()


def test_threshold_of_a_half_is_white_from_128_on():
    bits = _binarize(_ALL_INTENSITIES, "threshold").ravel()
    assert bits.dtype == np.uint8
    assert bits[[0, 127, 128, 255]].tolist() == [0, 0, 1, 1]
    np.testing.assert_array_equal(bits, np.arange(256) >= 128)


def test_an_intensity_at_the_threshold_is_not_above_it():
    for intensity in range(255):
        bits = _binarize(_ALL_INTENSITIES, "threshold", threshold=intensity / 255).ravel()
        np.testing.assert_array_equal(bits, np.arange(256) > intensity, str(intensity))


@pytest.mark.parametrize("binarization", ["dynamic", "none"])
def test_intensities_are_kept(binarization):
    kept = _binarize(_ALL_INTENSITIES, binarization)
    np.testing.assert_array_equal(kept, _ALL_INTENSITIES)


def test_stochastic_probability_is_the_intensity_within_an_image():
    draws = 2000
    image = np.repeat(np.arange(256, dtype=np.uint8), draws).reshape(1, 256, draws, 1)
    bits = _binarize(image, "stochastic")[0, :, :, 0]
    intensities = np.arange(256) / 255
    assert set(np.unique(bits)) == {0, 1}
    assert (bits[0] == 0).all()
    assert (bits[255] == 1).all()
    assert np.abs(bits.mean(axis=1) - intensities).max() < _hoeffding(draws, events=256)
    assert abs(bits.mean() - intensities.mean()) < _hoeffding(bits.size)


def test_stochastic_draws_of_pixels_and_images_are_independent():
    count, intensity = 1500, 102
    bits = _binarize(_numbered(count, intensity), "stochastic").reshape(count, -1)[:, 2:]
    share = intensity / 255
    pixels = bits.shape[1]
    assert np.abs(bits.mean(axis=0) - share).max() < _hoeffding(count, events=pixels)
    assert abs(bits.mean() - share) < _hoeffding(bits.size)
    # Both ones has probability share squared for any two pixels, across images.
    both = bits.T.astype(float) @ bits / count
    off_diagonal = both[~np.eye(pixels, dtype=bool)]
    assert np.abs(off_diagonal - share**2).max() < _hoeffding(count, events=pixels**2)
    assert len(np.unique(bits, axis=0)) == count


def test_stochastic_draw_depends_on_the_image_alone():
    images = _random_images(12, 7, 5, 3)
    together = _binarize(images, "stochastic", seed=3)
    order = np.random.default_rng(1).permutation(12)
    np.testing.assert_array_equal(_binarize(images[order], "stochastic", seed=3), together[order])
    for i in range(12):
        alone = _binarize(images[i : i + 1], "stochastic", seed=3)
        np.testing.assert_array_equal(alone[0], together[i])
    twice = _binarize(np.concatenate([images[:1]] * 2), "stochastic", seed=3)
    np.testing.assert_array_equal(twice[0], twice[1])


def test_another_seed_gives_another_draw():
    images = _numbered(20, 128)
    first, second = (_binarize(images, "stochastic", seed=seed) for seed in (0, 1))
    # Independent fair bits differ in half of the places.
    differing = (first != second)[:, 1:].mean()
    assert abs(differing - 0.5) < _hoeffding(20 * 56) + 1 / 255


@pytest.mark.parametrize(("height", "width"), [(4, 4), (28, 28), (9, 5), (32, 48)])
@pytest.mark.parametrize("channels", [1, 3])
def test_resize_is_antialiased_bilinear_and_independent_of_the_batch(height, width, channels):
    images = _random_images(5, 16, 20, channels)
    image_format = ImageFormat(height, width, channels, "none")
    resized = resize_and_convert(tf.constant(images), image_format).numpy()
    exact = tf.image.resize(images, (height, width), method="bilinear", antialias=True).numpy()
    assert resized.dtype == np.uint8
    assert resized.shape == (5, height, width, channels)
    np.testing.assert_array_equal(resized, np.clip(np.round(exact), 0, 255))
    for i in range(5):
        alone = resize_and_convert(tf.constant(images[i : i + 1]), image_format).numpy()
        np.testing.assert_array_equal(alone[0], resized[i])


def test_shrinking_averages_and_fills_the_whole_size():
    checkers = np.indices((1, 32, 32, 1)).sum(axis=0).astype(np.uint8) % 2 * 255
    small = resize_and_convert(tf.constant(checkers), ImageFormat(4, 4, 1, "none")).numpy()
    assert np.abs(small.astype(int) - 128).max() <= 16
    # The aspect ratio is not kept: a bright left half stays the left half.
    halves = np.zeros((1, 10, 40, 1), np.uint8)
    halves[:, :, :20] = 255
    square = resize_and_convert(tf.constant(halves), ImageFormat(20, 20, 1, "threshold"))
    bits = binarize(square, ImageFormat(20, 20, 1, "threshold")).numpy()[0, :, :, 0]
    np.testing.assert_array_equal(bits, np.tile(np.arange(20) < 10, (20, 1)))


def test_an_image_of_the_right_size_is_untouched():
    images = _random_images(3, 6, 7, 3)
    same = resize_and_convert(tf.constant(images), ImageFormat(6, 7, 3, "none")).numpy()
    np.testing.assert_array_equal(same, images)


def test_rgb_to_grey_is_luma():
    rgb = _random_images(1, 20, 20, 3)
    rgb[0, 0, :2] = [[0, 0, 0], [255, 255, 255]]
    grey = resize_and_convert(tf.constant(rgb), ImageFormat(20, 20, 1, "none")).numpy()
    assert grey.shape == (1, 20, 20, 1)
    np.testing.assert_allclose(grey[..., 0], rgb @ [0.299, 0.587, 0.114], atol=1)
    assert grey[0, 0, :2, 0].tolist() == [0, 255]


def test_grey_to_rgb_repeats_the_channel():
    grey = _random_images(2, 4, 5, 1)
    rgb = resize_and_convert(tf.constant(grey), ImageFormat(4, 5, 3, "none")).numpy()
    np.testing.assert_array_equal(rgb, np.repeat(grey, 3, axis=-1))


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(1, 11),
    width=st.integers(1, 11),
    channels=st.sampled_from([1, 3]),
    binarization=st.sampled_from(["threshold", "stochastic", "dynamic", "none"]),
    count=st.integers(1, 5),
    seed=st.integers(0, 99),
)
def test_pack_and_unpack(height, width, channels, binarization, count, seed):
    image_format = ImageFormat(height, width, channels, binarization)
    limit = 2 if image_format.encoding == "bits" else 256
    shape = (count, height, width, channels)
    pixels = np.random.default_rng(seed).integers(0, limit, shape, np.uint8)
    records = pack(pixels, image_format)
    assert {len(record) for record in records} == {image_format.record_bytes}
    stored = np.stack([np.frombuffer(record, np.uint8) for record in records])
    if limit == 2:
        stored = np.unpackbits(stored, axis=1, count=height * width * channels)
    np.testing.assert_array_equal(stored.reshape(shape), pixels)
    unpacked = unpack(tf.io.decode_raw(records, tf.uint8), image_format)
    assert unpacked.dtype == tf.uint8
    np.testing.assert_array_equal(unpacked, pixels)


@pytest.mark.parametrize(
    ("shape", "binarization", "size"),
    [
        ((28, 28, 1), "threshold", 98),
        ((28, 28, 1), "stochastic", 98),
        ((28, 28, 1), "dynamic", 784),
        ((28, 28, 1), "none", 784),
        ((3, 3, 1), "threshold", 2),
        ((3, 3, 3), "threshold", 4),
        ((32, 32, 3), "none", 3072),
    ],
)
def test_record_size(shape, binarization, size):
    image_format = ImageFormat(*shape, binarization)
    assert image_format.record_bytes == size
    assert len(pack(np.ones((1, *shape), np.uint8), image_format)[0]) == size


def test_unpack_as_a_graph_with_an_open_batch_size():
    image_format = ImageFormat(5, 5, 1, "threshold")
    pixels = _random_images(7, 5, 5, 1) % 2
    graph = tf.function(
        lambda records: unpack(
            tf.io.decode_raw(records, tf.uint8, fixed_length=image_format.record_bytes),
            image_format,
        ),
        input_signature=[tf.TensorSpec([None], tf.string)],
    )
    np.testing.assert_array_equal(graph(tf.constant(pack(pixels, image_format))), pixels)
    assert graph(tf.constant([], tf.string)).shape == (0, 5, 5, 1)


def test_parse_examples_reads_the_image_feature():
    image_format = ImageFormat(3, 4, 3, "none")
    pixels = _random_images(4, 3, 4, 3)
    examples = [_ready_example(record, 7) for record in pack(pixels, image_format)]
    np.testing.assert_array_equal(parse_examples(tf.constant(examples), image_format), pixels)


@pytest.mark.parametrize(
    ("binarization", "scale"), [("threshold", 1), ("stochastic", 1), ("none", 255)]
)
def test_observe_scales_to_one(binarization, scale):
    pixels = _random_images(3, 4, 4, 1)
    if scale == 1:
        pixels %= 2
    seen = observe(tf.constant(pixels), ImageFormat(4, 4, 1, binarization))
    assert seen.dtype == tf.float32
    np.testing.assert_array_equal(seen, pixels.astype(np.float32) / np.float32(scale))


def test_observe_dynamic_is_a_draw_seeded_by_each_image():
    image_format = ImageFormat(8, 8, 1, "dynamic")
    images = _numbered(600, 51)
    seen = observe(tf.constant(images), image_format).numpy()
    assert set(np.unique(seen)) == {0.0, 1.0}
    assert abs(seen.reshape(600, -1)[:, 2:].mean() - 0.2) < _hoeffding(600 * 62)
    assert len(np.unique(seen.reshape(600, -1)[:, 2:], axis=0)) == 600
    order = np.random.default_rng(0).permutation(600)
    for batch in np.split(order, [1, 8, 300]):
        again = observe(tf.constant(images[batch]), image_format).numpy()
        np.testing.assert_array_equal(again, seen[batch])


def test_observe_dynamic_with_given_noise():
    pixels = np.uint8([[[[0], [51]], [[204], [255]]]])
    noise = np.float32([[[[0.0], [0.1]], [[0.9], [0.999]]]])
    seen = observe(tf.constant(pixels), ImageFormat(2, 2, 1, "dynamic"), lambda: tf.constant(noise))
    assert seen.numpy().ravel().tolist() == [0.0, 1.0, 0.0, 1.0]
