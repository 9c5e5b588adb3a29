"""Validation batches: every image once, with noise of its own."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components import content_noise
from components.image_binarizer import ImageFormat
from components.trainer.input import evaluation_batches

FORMAT = ImageFormat(2, 4, 1, "threshold")
DYNAMIC = ImageFormat(2, 32, 1, "dynamic")
NOISE = (2, 3)
# Twenty different images of eight bits, each one byte.
RECORDS = np.arange(20, dtype=np.uint8)[:, None]
GREY = np.random.default_rng(0).integers(60, 200, (20, 64), np.uint8)


def real(records, batch_size, image_format=FORMAT, replicas=1):
    """All images and noise of positive weight, and the sizes and weights of batches."""
    stream = evaluation_batches(records, image_format, batch_size, NOISE, replicas)
    given = list(stream.as_numpy_iterator())
    chosen = [batch["weight"] > 0 for batch in given]
    joined = [
        np.concatenate([batch[name][some] for batch, some in zip(given, chosen, strict=True)])
        for name in ("images", "noise")
    ]
    return *joined, [batch["weight"].tolist() for batch in given]


def test_pixels_are_the_stored_bits_in_stored_order():
    images, _, _ = real(RECORDS, 20)
    expected = np.unpackbits(RECORDS, axis=1).reshape(-1, 2, 4, 1)
    np.testing.assert_array_equal(images, expected)
    assert images.dtype == np.float32


def test_the_last_batch_is_padded_with_weights_of_zero():
    _, _, weights = real(RECORDS, 8)
    assert weights == [[1.0] * 8, [1.0] * 8, [2.0] * 4 + [0.0] * 4]


def test_batches_divide_among_replicas():
    _, _, weights = real(RECORDS, 10, replicas=3)
    assert [len(weight) for weight in weights] == [12, 12]
    assert weights[0] == pytest.approx([1.2] * 10 + [0.0] * 2)


@settings(deadline=None, max_examples=4)
@given(order=st.permutations(range(20)), batch_size=st.integers(1, 20), replicas=st.integers(1, 3))
@pytest.mark.parametrize(("records", "image_format"), [(RECORDS, FORMAT), (GREY, DYNAMIC)])
def test_noise_goes_with_the_image_and_not_with_its_place(
    records, image_format, order, batch_size, replicas
):
    images, noise, _ = real(records, 20, image_format)
    moved_images, moved_noise, _ = real(records[order], batch_size, image_format, replicas)
    np.testing.assert_array_equal(moved_images, images[order])
    np.testing.assert_array_equal(moved_noise, noise[order])


def test_every_image_has_a_noise_vector_of_its_own():
    _, noise, _ = real(RECORDS, 20)
    assert noise.shape == (20, *NOISE)
    assert len(np.unique(noise)) == noise.size


def test_repeats_exactly():
    stream = evaluation_batches(GREY, DYNAMIC, 8, NOISE)
    one, two = list(stream.as_numpy_iterator()), list(stream.as_numpy_iterator())
    assert len(one) == len(two) == 3
    for first, second in zip(one, two, strict=True):
        for name in first:
            np.testing.assert_array_equal(first[name], second[name])


def test_dynamic_pixels_are_one_draw_of_their_intensity():
    records = np.random.default_rng(1).permuted(
        np.tile(np.repeat([25, 230], 32).astype(np.uint8), (200, 1)), axis=1
    )
    images, _, _ = real(records, 200, DYNAMIC)
    assert set(np.unique(images)) == {0.0, 1.0}
    bright = records.reshape(images.shape) == 230
    assert images[bright].mean() == pytest.approx(230 / 255, abs=0.02)
    assert images[~bright].mean() == pytest.approx(25 / 255, abs=0.02)


def test_the_noise_is_that_of_an_exported_evaluation():
    # So that a validation ELBO and the evaluate signature's are about the same codes.
    _, noise, _ = real(RECORDS, 20)
    pixels = np.unpackbits(RECORDS, axis=1).reshape(-1, 2, 4, 1)
    keys = content_noise.content_key(pixels)
    expected = content_noise.content_normal(keys, list(NOISE), content_noise.LATENT_STREAM)
    np.testing.assert_array_equal(noise, expected)
