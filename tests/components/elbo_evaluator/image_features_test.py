import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits

from components.elbo_evaluator.image_features import UNLABELLED, ImageFeatures
from components.errors import InputError


@pytest.fixture(scope="module")
def digits():
    """1,797 handwritten digits 8x8, binarised at half, in an order without trend, and labels."""
    bunch = load_digits()
    order = np.random.default_rng(0).permutation(len(bunch.images))
    images = (bunch.images[order] > 8.0).astype(np.float32)[..., None]
    return images, bunch.target[order].astype(np.int64)


@pytest.fixture(scope="module")
def fitted(digits):
    images, labels = digits
    return ImageFeatures.fit(images[:600], labels[:600])


def _accuracy(features, images, labels):
    return np.mean(features.classify(features.features(images)) == labels)


def test_classifies_held_out_digits(digits, fitted):
    images, labels = digits
    np.testing.assert_array_equal(fitted.classes, np.arange(10))
    assert _accuracy(fitted, images[600:], labels[600:]) > 0.9


def test_classifies_grey_digits_and_colours(digits):
    bunch = load_digits()
    grey = (bunch.images / 16.0).astype(np.float32)[..., None]
    grey = grey[np.random.default_rng(0).permutation(len(grey))]
    labels = digits[1]
    features = ImageFeatures.fit(grey[:600], labels[:600])
    assert _accuracy(features, grey[600:], labels[600:]) > 0.92

    # The class is the colour alone: the same digits in red and in blue.
    colour = np.zeros((400, 8, 8, 3), np.float32)
    colour[:200, ..., 0] = colour[200:, ..., 2] = grey[:200, ..., 0]
    is_blue = np.repeat([0, 1], 200)
    features = ImageFeatures.fit(colour[::2], is_blue[::2])
    assert _accuracy(features, colour[1::2], is_blue[1::2]) == 1.0


def test_noise_does_not_turn_digits_into_one_class(digits, fitted):
    images, labels = digits
    generator = np.random.default_rng(1)
    flipped = generator.random(images[600:].shape) < 0.1
    noisy = np.abs(images[600:] - flipped)
    predicted = fitted.classify(fitted.features(noisy))
    assert np.mean(predicted == labels[600:]) > 0.5
    assert np.bincount(predicted, minlength=10).min() > 0.02 * len(noisy)


def test_order_of_training_images_does_not_matter(digits, fitted):
    images, labels = digits
    order = np.random.default_rng(2).permutation(600)
    other = ImageFeatures.fit(images[:600][order], labels[:600][order])
    rows, expected = other.features(images[600:]), fitted.features(images[600:])
    np.testing.assert_allclose(rows, expected, atol=1e-4)
    assert np.abs(expected).std() > 0.1
    same = other.classify(rows) == fitted.classify(expected)
    assert same.mean() > 0.99


def test_global_seed_does_not_matter_and_own_seed_does(digits, fitted):
    images, labels = digits
    expected = fitted.features(images[:50])
    tf.random.set_seed(7)
    again = ImageFeatures.fit(images[:600], labels[:600])
    np.testing.assert_array_equal(again.features(images[:50]), expected)
    other = ImageFeatures.fit(images[:600], labels[:600], seed=1)
    assert np.abs(other.features(images[:50]) - expected).max() > 0.1


def test_features_of_training_images_are_centred_and_uncorrelated(digits, fitted):
    rows = fitted.features(digits[0][:600])
    np.testing.assert_allclose(rows.mean(axis=0), 0.0, atol=1e-9)
    covariance = np.cov(rows.T)
    deviations = np.sqrt(np.diag(covariance))
    np.testing.assert_allclose(
        covariance / np.outer(deviations, deviations), np.eye(len(deviations)), atol=1e-6
    )
    assert (np.diff(deviations) <= 0).all()


def test_a_batch_does_not_change_an_image_s_features(digits, fitted):
    images = digits[0][:123]
    one_by_one = np.concatenate([fitted.features(image[None]) for image in images])
    np.testing.assert_allclose(fitted.features(images), one_by_one, atol=1e-4)


def test_without_labels_there_are_features_but_no_classes(digits, fitted):
    images, labels = digits
    unlabelled = ImageFeatures.fit(images[:600], np.full(600, UNLABELLED))
    assert unlabelled.classes.dtype == np.int64
    assert unlabelled.classes.size == 0
    rows = unlabelled.features(images[:20])
    np.testing.assert_array_equal(rows, fitted.features(images[:20]))
    np.testing.assert_array_equal(unlabelled.classify(rows), np.full(20, UNLABELLED))
    one_class = np.where(labels[:600] == 3, 3, UNLABELLED)
    assert ImageFeatures.fit(images[:600], one_class).classes.size == 0


def test_images_without_label_train_no_class(digits):
    images, labels = digits
    labels = np.where(np.arange(600) % 2, labels[:600], UNLABELLED)
    features = ImageFeatures.fit(images[:600], labels)
    np.testing.assert_array_equal(features.classes, np.arange(10))
    assert _accuracy(features, images[600:], digits[1][600:]) > 0.85


def test_a_class_of_one_image(digits):
    images, labels = digits
    labels = np.where(labels[:300] == 3, UNLABELLED, labels[:300])
    labels[np.argmax(labels == UNLABELLED)] = 42
    features = ImageFeatures.fit(images[:300], labels)
    assert 42 in features.classes
    others = np.isin(digits[1][300:], (3,), invert=True)
    assert _accuracy(features, images[300:][others], digits[1][300:][others]) > 0.8


@given(
    height=st.integers(4, 12),
    width=st.integers(4, 12),
    channels=st.sampled_from([1, 3]),
    number=st.integers(1, 70),
    binary=st.booleans(),
    seed=st.integers(0, 100),
)
@settings(deadline=None, max_examples=15)
def test_any_shape_gives_finite_features(height, width, channels, number, binary, seed):
    generator = np.random.default_rng(seed)
    images = generator.random((number, height, width, channels), np.float32)
    if binary:
        images = np.round(images)
    labels = generator.integers(-1, 3, number)
    features = ImageFeatures.fit(images, labels)
    rows = features.features(images)
    assert rows.dtype == np.float64
    assert len(rows) == number
    # Of N images there are no more than N - 1 directions to differ in.
    assert 1 <= rows.shape[1] <= max(1, min(48, number - 1))
    assert np.isfinite(rows).all()
    assert np.isfinite(features.features(1.0 - images)).all()
    allowed = features.classes if features.classes.size else [UNLABELLED]
    assert np.isin(features.classify(rows), allowed).all()
    assert features.features(images[:0]).shape == (0, rows.shape[1])


@pytest.mark.parametrize("shape", [(300, 300, 3), (40, 300, 1), (28, 28, 1), (5, 7, 3)])
def test_large_and_odd_shapes_tell_bright_from_dark(shape):
    images = np.random.default_rng(0).random((24, *shape), np.float32) * 0.5
    images[1::2] += 0.5
    labels = np.arange(24) % 2
    features = ImageFeatures.fit(images[:16], labels[:16])
    assert _accuracy(features, images[16:], labels[16:]) == 1.0


@pytest.mark.parametrize("level", [0.0, 0.3, 1.0])
def test_equal_training_images_have_nothing_to_tell_apart(level):
    images = np.full((20, 8, 8, 1), level, np.float32)
    features = ImageFeatures.fit(images, np.arange(20) % 2)
    np.testing.assert_array_equal(features.features(1.0 - images), np.zeros((20, 1)))
    assert np.isin(features.classify(features.features(images)), (0, 1)).all()


def test_a_constant_border_does_not_hide_the_rest(digits):
    images, labels = digits
    framed = np.pad(images, ((0, 0), (8, 8), (8, 8), (0, 0)))
    features = ImageFeatures.fit(framed[:600], labels[:600])
    rows = features.features(framed[600:])
    assert np.isfinite(rows).all()
    assert np.mean(features.classify(rows) == labels[600:]) > 0.8


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_pixels_that_are_not_finite_are_refused(digits, fitted, value):
    broken = digits[0][:30].copy()
    broken[7, 3, 3, 0] = value
    with pytest.raises(InputError, match="not finite"):
        fitted.features(broken)
    with pytest.raises(InputError, match="not finite"):
        ImageFeatures.fit(broken, digits[1][:30])


def test_wrong_shapes_are_refused(digits, fitted):
    images, labels = digits
    with pytest.raises(InputError, match="8, 8, 1"):
        fitted.features(np.zeros((2, 8, 9, 1), np.float32))
    with pytest.raises(InputError, match="labels"):
        ImageFeatures.fit(images[:5], labels[:4])
    with pytest.raises(InputError, match="need images"):
        ImageFeatures.fit(images[:0], labels[:0])
