import math

import numpy as np
import pytest
import tensorflow as tf

from components.content_noise import (
    LATENT_STREAM,
    OUTPUT_STREAM,
    PIXEL_STREAM,
    content_key,
    content_normal,
    content_uniform,
    float_key,
)

_STREAMS = [PIXEL_STREAM, LATENT_STREAM, OUTPUT_STREAM]
_COUNT, _SIZE = 400, 50
_TOTAL = _COUNT * _SIZE
# Six standard errors: 2e-9 for a normal statistic.
_SIGMAS = 6


def _images(count=_COUNT, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, 6, 5, 1), np.uint8)


@pytest.fixture(scope="module")
def keys():
    return content_key(tf.constant(_images()))


@pytest.fixture(scope="module")
def normals(keys):
    return {stream: content_normal(keys, [_SIZE], stream).numpy() for stream in _STREAMS}


@pytest.mark.parametrize("stream", _STREAMS)
def test_normal_noise_is_standard_normal(normals, stream):
    draws = normals[stream]
    assert draws.shape == (_COUNT, _SIZE)
    assert draws.dtype == np.float32
    # Standard errors of mean, variance and fourth moment of n normal draws.
    assert abs(draws.mean()) < _SIGMAS / math.sqrt(_TOTAL)
    assert abs((draws**2).mean() - 1) < _SIGMAS * math.sqrt(2 / _TOTAL)
    assert abs((draws**4).mean() - 3) < _SIGMAS * math.sqrt(96 / _TOTAL)


def test_uniform_noise_is_uniform(keys):
    draws = content_uniform(keys, [5, 10], PIXEL_STREAM).numpy()
    assert draws.shape == (_COUNT, 5, 10)
    assert draws.min() >= 0
    assert draws.max() < 1
    counts = np.histogram(draws, bins=20, range=(0, 1))[0]
    error = math.sqrt(_TOTAL * (1 / 20) * (19 / 20))
    assert np.abs(counts - _TOTAL / 20).max() < _SIGMAS * error


def _correlation(a, b):
    return float((a * b).mean())


def test_streams_are_independent(normals):
    for i, first in enumerate(_STREAMS):
        for second in _STREAMS[i + 1 :]:
            bound = _SIGMAS / math.sqrt(_TOTAL)
            assert abs(_correlation(normals[first], normals[second])) < bound


def test_keys_and_places_are_independent(normals):
    draws = normals[LATENT_STREAM]
    for other in (np.roll(draws, 1, axis=0), np.roll(draws, 1, axis=1)):
        assert abs(_correlation(draws, other)) < _SIGMAS / math.sqrt(_TOTAL)
    assert len(np.unique(draws)) > 0.99 * _TOTAL


def test_neighbouring_keys_are_independent():
    draws = content_normal(tf.range(_COUNT, dtype=tf.int64), [_SIZE], LATENT_STREAM).numpy()
    assert abs(draws.mean()) < _SIGMAS / math.sqrt(_TOTAL)
    assert abs(_correlation(draws[1:], draws[:-1])) < _SIGMAS / math.sqrt(_TOTAL - _SIZE)


@pytest.mark.parametrize("draw", [content_normal, content_uniform])
def test_noise_does_not_depend_on_the_batch(draw):
    images = _images(30)

    def noise(batch):
        return draw(content_key(tf.constant(batch)), [3, 4], LATENT_STREAM).numpy()

    together = noise(images)
    np.testing.assert_array_equal(noise(images[::-1]), together[::-1])
    for start, stop in [(0, 1), (1, 8), (8, 30)]:
        np.testing.assert_array_equal(noise(images[start:stop]), together[start:stop])
    compiled = tf.function(noise_graph := lambda x: draw(content_key(x), [3, 4], LATENT_STREAM))
    np.testing.assert_array_equal(compiled(tf.constant(images)), together)
    np.testing.assert_array_equal(noise_graph(tf.constant(images[:0])).shape, (0, 3, 4))


def test_keys_tell_images_apart_that_differ_by_one_pixel():
    base = _images(1)
    variants = np.repeat(base, 1 + 2 * 30, axis=0).reshape(61, -1)
    for place in range(30):
        variants[1 + 2 * place, place] ^= 1
        variants[2 + 2 * place, place] ^= 128
    keys = content_key(tf.constant(variants.reshape(61, 6, 5, 1))).numpy()
    assert keys.dtype == np.int64
    assert len(set(keys.tolist())) == 61


def test_keys_tell_apart_order_and_constant_images():
    rows = np.uint8([[1, 2, 3], [3, 2, 1], [2, 1, 3], [0, 0, 0], [255, 255, 255]])
    assert len(set(content_key(tf.constant(rows)).numpy().tolist())) == 5


def test_key_is_the_multilinear_hash():
    rows = np.uint8([[1, 2, 250], [0, 0, 0]])
    multipliers = tf.random.stateless_uniform(
        [3], seed=[20140501, 9], minval=None, maxval=None, dtype=tf.int64
    ).numpy()
    expected = [
        sum((int(v) + 1) * int(m) for v, m in zip(row, multipliers, strict=True)) for row in rows
    ]
    keys = content_key(tf.constant(rows), seed=9).numpy()
    assert [int(key) % 2**64 for key in keys] == [value % 2**64 for value in expected]


def test_key_does_not_depend_on_the_integer_type_but_on_the_seed():
    rows = _images(5)
    keys = content_key(tf.constant(rows)).numpy()
    np.testing.assert_array_equal(content_key(tf.constant(rows.astype(np.int32))), keys)
    assert not set(keys.tolist()) & set(content_key(tf.constant(rows), seed=1).numpy().tolist())


def test_float_key_tells_apart_sign_and_the_last_bit():
    z = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    nearby = z.copy()
    nearby[:, 2] = np.nextafter(nearby[:, 2], np.float32(9))
    one_sign = z.copy()
    one_sign[:, 0] *= -1
    every = np.concatenate([z, -z, nearby, one_sign])
    assert len(set(float_key(tf.constant(every)).numpy().tolist())) == 200
    np.testing.assert_array_equal(float_key(tf.constant(z[3:4])), float_key(tf.constant(z))[3:4])
    np.testing.assert_array_equal(float_key(tf.constant(z.astype(np.float64))), float_key(z))
