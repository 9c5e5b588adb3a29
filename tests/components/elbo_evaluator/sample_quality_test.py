import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.datasets import load_digits
from sklearn.neighbors import NearestNeighbors

from components.elbo_evaluator.image_features import UNLABELLED, ImageFeatures
from components.elbo_evaluator.sample_quality import (
    SampleQuality,
    frechet_distance,
    independent_pixel_samples,
    sample_quality,
)
from components.errors import InputError
from components.image_binarizer.image_format import ImageFormat, PixelMoments

_TRAIN = 1000


class _Pixels:
    """Stands in for ImageFeatures: features are pixels; the first, if over 0, makes class 1."""

    classes = np.arange(2)

    def features(self, images):
        return images.reshape(len(images), -1).astype(np.float64)

    def classify(self, features):
        return (features[:, 0] > 0).astype(np.int64)


def _images(rows):
    """Features [N, F] as images [N, 1, F, 1] that `_Pixels` turns back into them."""
    return np.asarray(rows)[:, None, :, None]


@pytest.fixture(scope="module")
def digits():
    bunch = load_digits()
    order = np.random.default_rng(0).permutation(len(bunch.images))
    images = (bunch.images[order] > 8.0).astype(np.float32)[..., None]
    return images, bunch.target[order].astype(np.int64)


@pytest.fixture(scope="module")
def features(digits):
    images, labels = digits
    return ImageFeatures.fit(images[:_TRAIN], labels[:_TRAIN])


def _reference(images, number, seed=0):
    pixels = images[:_TRAIN].astype(np.float64)
    moments = PixelMoments(pixels.mean(axis=0), np.square(pixels).mean(axis=0), _TRAIN)
    image_format = ImageFormat(*images.shape[1:], "threshold")
    return independent_pixel_samples(moments, image_format, number, seed)


def _quality(generated, digits, features):
    held_out = digits[0][_TRAIN : _TRAIN + 398]
    return sample_quality(generated, _reference(digits[0], 398), held_out, features)


@pytest.fixture(scope="module")
def of_real(digits, features):
    return _quality(digits[0][-398:], digits, features)


def test_frechet_distance_of_diagonal_gaussians():
    mean_a, mean_b = np.array([1.0, -2.0, 0.5]), np.array([0.0, 1.0, 0.5])
    deviation_a, deviation_b = np.array([1.0, 3.0, 0.0]), np.array([2.0, 0.5, 4.0])
    result = frechet_distance(
        mean_a, np.diag(np.square(deviation_a)), mean_b, np.diag(np.square(deviation_b))
    )
    expected = np.sum(np.square(mean_a - mean_b)) + np.sum(np.square(deviation_a - deviation_b))
    assert math.isclose(result, expected, rel_tol=1e-12)


def test_frechet_distance_of_covariances_that_do_not_commute():
    # In two dimensions tr(sqrt(AB)) = sqrt(tr(AB) + 2 sqrt(det(AB))).
    a, b = np.array([[2.0, 1.0], [1.0, 3.0]]), np.array([[5.0, -2.0], [-2.0, 1.0]])
    product = a @ b
    root = math.sqrt(np.trace(product) + 2 * math.sqrt(np.linalg.det(product)))
    expected = np.trace(a) + np.trace(b) - 2 * root
    result = frechet_distance(np.zeros(2), a, np.zeros(2), b)
    assert math.isclose(result, expected, rel_tol=1e-12)


_ROWS = st.tuples(st.integers(2, 30), st.integers(1, 8)).flatmap(
    lambda shape: arrays(np.float64, shape, elements=st.floats(-100.0, 100.0, width=16))
)


@given(rows=_ROWS, shift=st.floats(-100.0, 100.0), scale=st.floats(0.1, 10.0))
@settings(deadline=None, max_examples=200)
def test_frechet_distance_of_any_points_to_their_translation(rows, shift, scale):
    mean, covariance = rows.mean(axis=0), np.atleast_2d(np.cov(rows.T))
    size = np.trace(covariance) + np.sum(np.square(mean)) + 1e-9
    same = frechet_distance(mean, covariance, mean, covariance)
    assert 0.0 <= same <= 1e-6 * size
    moved = frechet_distance(mean, covariance, mean + shift, covariance)
    expected = len(mean) * shift**2
    assert math.isclose(moved, expected, rel_tol=1e-6, abs_tol=1e-6 * size)
    # About the origin, a scale s moves the spread by (s - 1)^2 tr(A).
    zero = np.zeros_like(mean)
    scaled = frechet_distance(zero, covariance, zero, scale**2 * covariance)
    expected = (scale - 1) ** 2 * np.trace(covariance)
    assert math.isclose(scaled, expected, rel_tol=1e-6, abs_tol=1e-6 * scale**2 * size)


@given(a=_ROWS, data=st.data())
@settings(deadline=None, max_examples=100)
def test_frechet_distance_is_symmetric_and_not_negative(a, data):
    b = data.draw(arrays(np.float64, a.shape, elements=st.floats(-100.0, 100.0, width=16)))
    moments = [(x.mean(axis=0), np.atleast_2d(np.cov(x.T))) for x in (a, b)]
    forth = frechet_distance(*moments[0], *moments[1])
    back = frechet_distance(*moments[1], *moments[0])
    assert forth >= 0.0
    size = 1e-9 + sum(np.trace(covariance) + np.sum(mean**2) for mean, covariance in moments)
    assert math.isclose(forth, back, rel_tol=1e-6, abs_tol=1e-6 * size)


def _radii(rows):
    return NearestNeighbors(n_neighbors=5).fit(rows).kneighbors()[0][:, -1]


def test_neighbourhoods_equal_their_definitions():
    generator = np.random.default_rng(0)
    real, generated = generator.normal(size=(90, 3)), generator.normal(0.7, 1.3, size=(90, 3))
    result = sample_quality(_images(generated), _images(real), _images(real), _Pixels())
    gaps = np.linalg.norm(real[:, None] - generated[None], axis=2)
    around_real = gaps < _radii(real)[:, None]
    around_generated = gaps < _radii(generated)[None]
    assert 0.1 < result.precision < 0.9
    assert result.precision == pytest.approx(around_real.any(axis=0).mean())
    assert result.recall == pytest.approx(around_generated.any(axis=1).mean())
    assert result.density == pytest.approx(around_real.sum() / (5 * 90))
    assert result.coverage == pytest.approx(around_real.any(axis=1).mean())


def test_coverage_of_the_same_distribution_is_as_expected():
    # Naeem et al. 2020, eq. 9: 1 - (N - 1)...(N - k) / ((2N - 1)...(2N - k)).
    generator = np.random.default_rng(0)
    number = 1500
    real, generated = generator.normal(size=(2, number, 4))
    result = sample_quality(_images(generated), _images(real), _images(real), _Pixels())
    missed = math.prod((number - i) / (2 * number - i) for i in range(1, 6))
    assert abs(result.coverage - (1 - missed)) < 0.015
    assert abs(result.density - 1.0) < 0.05


def test_equal_sets_are_perfect(digits, features):
    held_out = digits[0][_TRAIN : _TRAIN + 398]
    result = _quality(held_out[::-1], digits, features)
    assert result.frechet <= 1e-6 * result.frechet_of_independent_pixels
    assert result.frechet_ratio <= 1e-6
    assert result.precision == result.recall == result.coverage == 1.0
    assert result.density >= 1.0
    assert result.class_shares == result.real_class_shares
    assert result.missing_classes == ()


def test_real_images_pass(of_real):
    assert of_real.num_images == 398
    # The bias of 398 small images; a model without a code has 1.
    assert of_real.frechet_ratio < 0.3
    assert of_real.coverage > 0.9
    assert of_real.precision > 0.8
    assert of_real.recall > 0.8
    assert of_real.missing_classes == ()
    assert math.isclose(sum(of_real.class_shares.values()), 1.0)


def _of_class(digits, *classes):
    train, labels = digits[0][:_TRAIN], digits[1][:_TRAIN]
    chosen = train[np.isin(labels, classes)]
    return chosen[np.arange(398) % len(chosen)]


def _shuffled_pixels(images):
    order = np.random.default_rng(3).permutation(64)
    return images.reshape(len(images), 64)[:, order].reshape(images.shape)


@pytest.mark.parametrize(
    ("sabotage", "ratio", "coverage"),
    [
        pytest.param(lambda d: _reference(d[0], 398, seed=9), 0.8, 0.6, id="independent pixels"),
        pytest.param(lambda d: np.repeat(d[0][:1], 398, axis=0), 0.6, 0.1, id="one image"),
        pytest.param(lambda d: np.zeros_like(d[0][:398]), 0.8, 0.1, id="black"),
        pytest.param(lambda d: 1.0 - d[0][-398:], 2.0, 0.05, id="inverted"),
        pytest.param(lambda d: _shuffled_pixels(d[0][-398:]), 1.0, 0.1, id="shuffled pixels"),
        pytest.param(lambda d: _of_class(d, 3), 0.4, 0.6, id="one class"),
    ],
)
def test_each_sabotage_is_far_worse_than_real_images(
    digits, features, of_real, sabotage, ratio, coverage
):
    result = _quality(sabotage(digits), digits, features)
    assert result.frechet_ratio > max(ratio, 2 * of_real.frechet_ratio)
    assert result.coverage < min(coverage, 0.67 * of_real.coverage)


def test_dropped_classes_are_missing(digits, features):
    of_three = _quality(_of_class(digits, 3), digits, features)
    assert 3 not in of_three.missing_classes
    assert len(of_three.missing_classes) >= 7
    without_zero_and_six = _quality(_of_class(digits, 1, 2, 3, 4, 5, 7, 8, 9), digits, features)
    assert without_zero_and_six.missing_classes == (0, 6)


def test_a_rare_class_is_never_missing():
    def rows(first, number):
        return _images(np.stack([first, np.arange(number)], axis=1))

    # Of 100 real rows 9 or 10 are of class 1; none of the generated is.
    generated = rows(np.zeros(100), 100)
    for of_class_one, missing in ((9, ()), (10, (1,))):
        real = rows(np.arange(100) < of_class_one, 100)
        result = sample_quality(generated, real, real, _Pixels())
        assert result.real_class_shares[1] == pytest.approx(of_class_one / 100)
        assert result.missing_classes == missing


@pytest.mark.parametrize(("of_class_one", "missing"), [(4, (1,)), (5, ()), (6, ())])
def test_a_class_is_missing_below_a_tenth_of_its_share(of_class_one, missing):
    numbers = np.arange(100)
    generated = _images(np.stack([numbers < of_class_one, numbers], axis=1))
    real = _images(np.stack([numbers < 50, numbers], axis=1))
    assert sample_quality(generated, real, real, _Pixels()).missing_classes == missing


def test_unlabelled_images_have_no_class_shares(digits):
    images, _ = digits
    features = ImageFeatures.fit(images[:_TRAIN], np.full(_TRAIN, UNLABELLED))
    result = _quality(images[-398:], digits, features)
    assert result.class_shares == result.real_class_shares == {}
    assert result.missing_classes == ()
    assert result.frechet_ratio < 0.3


def test_sets_are_cut_to_the_smallest(digits, features):
    images, _ = digits
    reference, real, generated = _reference(images, 300), images[-300:], images[_TRAIN:][:100]
    result = sample_quality(generated, reference, real, features)
    assert result.num_images == 100
    assert result == sample_quality(generated, reference[:100], real[:100], features)


@pytest.mark.parametrize("shape", [(5, 7, 3), (8, 8, 1), (4, 4, 3)])
@pytest.mark.parametrize("number", [2, 3, 40])
def test_few_images_of_any_shape(shape, number):
    images = np.random.default_rng(0).random((4, number, *shape), np.float32)
    features = ImageFeatures.fit(images[0], np.arange(number) % 2)
    result = sample_quality(*images[1:], features)
    assert np.isfinite([result.frechet, result.density, result.frechet_ratio]).all()
    assert min(result.precision, result.recall, result.coverage) >= 0.0
    assert max(result.precision, result.recall, result.coverage) <= 1.0


def test_constant_images():
    images = np.zeros((20, 8, 8, 1), np.float32)
    features = ImageFeatures.fit(images, np.full(20, UNLABELLED))
    result = sample_quality(images, images, images, features)
    assert result.frechet_ratio == 0.0
    assert result.coverage == 1.0


def test_ratio_to_a_distance_of_zero():
    def ratio(frechet):
        return SampleQuality(frechet, 0.0, 1.0, 1.0, 1.0, 1.0, {}, {}, (), 2).frechet_ratio

    assert ratio(0.0) == 0.0
    assert ratio(1.0) == math.inf


@pytest.mark.parametrize("broken", [0, 1, 2])
def test_images_that_are_not_finite_are_refused(digits, features, broken):
    sets = [digits[0][:20].copy() for _ in range(3)]
    sets[broken][3, 2, 1] = np.nan
    with pytest.raises(InputError, match="not finite"):
        sample_quality(*sets, features)


def test_one_image_is_too_few(digits, features):
    images = digits[0]
    with pytest.raises(InputError, match="at least two"):
        sample_quality(images[:1], images[:9], images[:9], features)


def _moments(generator, shape):
    pixels = generator.random((50, *shape)) ** 2
    return PixelMoments(pixels.mean(axis=0), np.square(pixels).mean(axis=0), 50)


@given(
    shape=st.tuples(st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 3])),
    binarization=st.sampled_from(["threshold", "stochastic", "dynamic"]),
    seed=st.integers(0, 2**31),
)
@settings(deadline=None, max_examples=25)
def test_independent_binary_pixels_have_the_means(shape, binarization, seed):
    moments = _moments(np.random.default_rng(seed), shape)
    image_format = ImageFormat(*shape, binarization)
    samples = independent_pixel_samples(moments, image_format, 900, seed)
    assert samples.shape == (900, *shape)
    assert samples.dtype == np.float32
    assert np.isin(samples, (0.0, 1.0)).all()
    # Six standard errors of a fair coin.
    np.testing.assert_allclose(samples.mean(axis=0), moments.mean, atol=0.1)
    again = independent_pixel_samples(moments, image_format, 900, seed)
    np.testing.assert_array_equal(samples, again)
    other = independent_pixel_samples(moments, image_format, 900, seed + 1)
    assert (samples != other).any()


def test_independent_binary_pixels_know_nothing_of_each_other():
    mean = np.full((3, 3, 1), 0.5)
    image_format = ImageFormat(3, 3, 1, "threshold")
    samples = independent_pixel_samples(PixelMoments(mean, mean, 10), image_format, 4000, 0)
    correlation = np.corrcoef(samples.reshape(4000, 9).T)
    np.testing.assert_allclose(correlation, np.eye(9), atol=0.1)


def test_independent_grey_pixels_are_clipped_normals():
    mean = np.array([0.5, 0.4, 0.0, 1.0]).reshape(2, 2, 1)
    deviation = np.array([0.1, 0.05, 0.0, 0.2]).reshape(2, 2, 1)
    moments = PixelMoments(mean, np.square(mean) + np.square(deviation), 10)
    samples = independent_pixel_samples(moments, ImageFormat(2, 2, 1, "none"), 20000, 0)
    assert samples.min() >= 0.0
    assert samples.max() <= 1.0
    centre, spread = samples.mean(axis=0).ravel(), samples.std(axis=0).ravel()
    np.testing.assert_allclose(centre[:3], [0.5, 0.4, 0.0], atol=0.004)
    np.testing.assert_allclose(spread[:3], [0.1, 0.05, 0.0], atol=0.004)
    # Half of a normal about 1 is clipped: its mean is 1 - sd / sqrt(2 pi).
    assert abs(centre[3] - (1 - 0.2 / math.sqrt(2 * math.pi))) < 0.004


def test_rounding_in_the_moments_gives_no_negative_variance():
    mean = np.full((2, 2, 1), 0.7)
    moments = PixelMoments(mean, np.square(mean) - 1e-15, 10)
    samples = independent_pixel_samples(moments, ImageFormat(2, 2, 1, "none"), 5, 0)
    np.testing.assert_allclose(samples, 0.7, atol=1e-6)
