"""Features of images by a small classifier that is fitted in closed form, in a few seconds.

Nothing is downloaded and nothing is trained by gradients: random convolutional filters with
rectification and coarse pooling (Jarrett et al. 2009; Coates & Ng 2011), their principal
components, and a regularised discriminant analysis (Friedman 1989) on those.
"""

import dataclasses
from collections.abc import Iterator

import numpy as np
import tensorflow as tf
from scipy import ndimage

from components import content_noise
from components.errors import InputError

UNLABELLED = -1

_LONGEST_SIDE = 32
_FILTERS = 48
_LARGEST_FILTER = 5
# Responses count from so many standard deviations on: pixel noise mostly stays below.
_DEAD_ZONE = 0.5
_GRID = 3
_COMPONENTS = 48
# Variance^(3/4) remains of each component: between none and full whitening, of which the first
# sees little but the largest blobs and the second mostly pixel noise.
_WHITENING = 0.125
# Components below this share of the largest variance are rounding.
_LEAST_VARIANCE = 1e-8
# A feature that hardly varies is not blown up to the size of the others.
_LEAST_DEVIATION = 0.1
_BATCH = 50


class ImageFeatures:
    """Features that tell images of one data set apart, and a classifier on them.

    All statistics are sums over the training images, so their order does not matter. The filters
    come from numpy's generator and not from TensorFlow's global seed.

    Attributes:
      image_shape: Height, width, channels of the images.
      classes: Labels that `classify` can give, int64 [K], sorted; empty where fewer than two
        classes are labelled.
    """

    def __init__(self, image_shape: tuple[int, int, int], seed: int):
        """Draws the filters; use `fit`."""
        self.image_shape = image_shape
        longest = max(image_shape[:2])
        self._size = tuple(
            max(1, round(side * min(1.0, _LONGEST_SIDE / longest))) for side in image_shape[:2]
        )
        # 8x8 digits have strokes of one pixel, 28x28 of three.
        side = min(_LARGEST_FILTER, 1 + min(self._size) // 3)
        shape = (side, side, image_shape[2], _FILTERS)
        self._filters = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
        self._bias = np.zeros(_FILTERS, np.float32)
        self._mean = self._components = np.zeros(0)
        self._classifier: _DiscriminantAnalysis | None = None

    @classmethod
    def fit(cls, images: np.ndarray, labels: np.ndarray, seed: int = 0) -> "ImageFeatures":
        """Fits filters' scales, components and classifier.

        Args:
          images: Training images, float32 [N, H, W, C], intensities from 0 to 1.
          labels: Their classes, int64 [N], `UNLABELLED` where there is none.
          seed: Of the filters and of the classifier's noise.

        Raises:
          InputError: If there are no images, or some have no finite pixels.
        """
        images = np.asarray(images, np.float32)
        labels = np.asarray(labels, np.int64)
        if images.ndim != 4 or not images.size:
            raise InputError(f"Features need images [N, H, W, C], not {list(images.shape)}.")
        if labels.shape != images.shape[:1]:
            raise InputError(f"{len(images)} images have {labels.size} labels; give one each.")
        features = cls(images.shape[1:], seed)
        small = features._shrink(images)
        features._normalize_filters(small)
        pooled = features._pooled(small)
        features._fit_components(pooled)
        labelled = labels != UNLABELLED
        if len(np.unique(labels[labelled])) > 1:
            corrupted = _corrupt(small[labelled], seed)
            examples = np.concatenate([pooled[labelled], features._pooled(corrupted)])
            features._classifier = _DiscriminantAnalysis.fit(
                features._project(examples), np.tile(labels[labelled], 2)
            )
        return features

    @property
    def classes(self) -> np.ndarray:
        """Labels that `classify` can give, int64 [K], sorted."""
        return np.zeros(0, np.int64) if self._classifier is None else self._classifier.classes

    def features(self, images: np.ndarray) -> np.ndarray:
        """Features of images, in units of the training images' spread.

        Args:
          images: Float32 [N, H, W, C], intensities from 0 to 1.

        Returns:
          Float64 [N, F], F at most 48. If all training images are equal there is nothing to tell
          apart: F is 1 and every feature 0.

        Raises:
          InputError: If images are not of the training images' shape, or not finite.
        """
        images = np.asarray(images, np.float32)
        if images.shape[1:] != self.image_shape:
            raise InputError(
                f"The features are of images {list(self.image_shape)}, not "
                f"{list(images.shape[1:])}."
            )
        if not len(images):
            return np.zeros((0, self._components.shape[1]))
        return self._project(self._pooled(self._shrink(images)))

    def classify(self, features: np.ndarray) -> np.ndarray:
        """The most likely class of each row of `features`, int64 [N].

        All classes count as equally frequent. Without classes all rows are `UNLABELLED`.
        """
        if self._classifier is None:
            return np.full(len(features), UNLABELLED, np.int64)
        return self._classifier.predict(features)

    def _shrink(self, images: np.ndarray) -> np.ndarray:
        """Averages large images down, [N, h, w, C] with no side over 32."""
        if not np.isfinite(images).all():
            raise InputError("Some images have pixels that are not finite (NaN or infinity).")
        if self._size == images.shape[1:3]:
            return images
        small = [
            tf.image.resize(batch, self._size, method="area").numpy() for batch in _batches(images)
        ]
        return np.concatenate(small)

    def _respond(self, images: np.ndarray, stride: int = 1) -> tf.Tensor:
        return tf.nn.conv2d(images, self._filters, stride, padding="VALID") - self._bias

    def _normalize_filters(self, images: np.ndarray) -> None:
        """Gives each filter's responses to training images mean 0 and variance 1."""
        total, squares, count = np.zeros(_FILTERS), np.zeros(_FILTERS), 0
        for batch in _batches(images):
            # Every other row and column says as much, in a quarter of the time.
            responses = tf.cast(self._respond(batch, stride=2), tf.float64)
            total += tf.reduce_sum(responses, axis=[0, 1, 2]).numpy()
            squares += tf.reduce_sum(tf.square(responses), axis=[0, 1, 2]).numpy()
            count += int(np.prod(responses.shape[:3]))
        mean = total / count
        variance = squares / count - np.square(mean)
        # Rounding, and no response that varies.
        constant = variance <= 1e-9 * np.maximum(squares / count, 1e-9)
        scale = np.where(constant, 1.0, np.sqrt(np.where(constant, 1.0, variance)))
        self._filters = (self._filters / scale).astype(np.float32)
        self._bias = (mean / scale).astype(np.float32)

    def _pooled(self, images: np.ndarray) -> np.ndarray:
        """Mean rectified responses of either sign in each cell of a grid, float64 [N, P]."""
        pooled = []
        for batch in _batches(images):
            responses = self._respond(batch)
            windows, strides = zip(*map(_window, responses.shape[1:3]), strict=True)
            for sign in (1.0, -1.0):
                rectified = tf.nn.relu(sign * responses - _DEAD_ZONE)
                cells = tf.nn.avg_pool2d(rectified, windows, strides, padding="VALID")
                pooled.append(tf.reshape(cells, [len(batch), -1]).numpy())
        positive, negative = np.concatenate(pooled[::2]), np.concatenate(pooled[1::2])
        return np.concatenate([positive, negative], axis=1).astype(np.float64)

    def _fit_components(self, pooled: np.ndarray) -> None:
        """Principal components of the standardised pooled responses, partly whitened."""
        self._mean = pooled.mean(axis=0)
        variance = pooled.var(axis=0)
        scale = np.sqrt(variance + np.square(_LEAST_DEVIATION) * variance.mean())
        scale = np.where(scale > 1e-6, scale, np.inf)
        standard = (pooled - self._mean) / scale
        variances, vectors = _principal_axes(standard)
        if not variances.size:
            self._components = np.zeros((pooled.shape[1], 1))
            return
        # An eigenvector's sign is arbitrary, and would differ from one machine to the next.
        largest = np.abs(vectors).argmax(axis=0)
        vectors = vectors * np.sign(vectors[largest, np.arange(len(variances))])
        self._components = vectors * variances**-_WHITENING / scale[:, None]

    def _project(self, pooled: np.ndarray) -> np.ndarray:
        return (pooled - self._mean) @ self._components


def _principal_axes(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Largest variances [F] of centred rows [N, P] and their unit axes [P, F], at most 48."""
    # The smaller of the two Gram matrices; both have the same eigenvalues.
    is_wide = len(rows) < rows.shape[1]
    gram = rows @ rows.T if is_wide else rows.T @ rows
    variances, vectors = np.linalg.eigh(gram / len(rows))
    variances, vectors = variances[::-1][:_COMPONENTS], vectors[:, ::-1][:, :_COMPONENTS]
    kept = variances > max(_LEAST_VARIANCE * variances[0], 1e-12)
    variances, vectors = variances[kept], vectors[:, kept]
    if is_wide:
        vectors = rows.T @ vectors / np.sqrt(variances * len(rows))
    return variances, vectors


@dataclasses.dataclass(frozen=True)
class _DiscriminantAnalysis:
    """One Gaussian per class, each covariance shrunk towards their mean (Friedman 1989).

    Attributes:
      classes: Int64 [K], sorted.
      means: Float64 [K, F].
      precisions: Inverse covariances, float64 [K, F, F].
      log_determinants: Of the precisions, float64 [K].
    """

    classes: np.ndarray
    means: np.ndarray
    precisions: np.ndarray
    log_determinants: np.ndarray

    @classmethod
    def fit(cls, features: np.ndarray, labels: np.ndarray) -> "_DiscriminantAnalysis":
        size = features.shape[1]
        classes, counts = np.unique(labels, return_counts=True)
        means = np.stack([features[labels == label].mean(axis=0) for label in classes])
        covariances = np.stack(
            [np.cov(features[labels == label].T, ddof=0).reshape(size, size) for label in classes]
        )
        pooled = np.einsum("k,kij->ij", counts / counts.sum(), covariances)
        # A class of fewer images than features has hardly a covariance of its own.
        own = (counts / (counts + np.maximum(counts, size)))[:, None, None]
        ridge = 1e-3 * np.trace(pooled) / size + 1e-12
        covariances = own * covariances + (1 - own) * pooled + ridge * np.eye(size)
        precisions = np.linalg.inv(covariances)
        return cls(classes, means, precisions, np.linalg.slogdet(precisions)[1])

    def predict(self, features: np.ndarray) -> np.ndarray:
        scores = []
        parts = zip(self.means, self.precisions, self.log_determinants, strict=True)
        for mean, precision, log_determinant in parts:
            centred = features - mean
            distance = np.sum(centred @ precision * centred, axis=1)
            scores.append(0.5 * (log_determinant - distance))
        return self.classes[np.argmax(scores, axis=0)]


def _corrupt(images: np.ndarray, seed: int) -> np.ndarray:
    """Blurs images; binary ones are then drawn again, pixel by pixel.

    A VAE's samples look like this. A classifier that has not seen it takes every noisy sample
    for the class of the most strokes: among digits for an 8.

    Args:
      images: Float32 [N, H, W, C].
      seed: Of the noise.

    Returns:
      Float32 [N, H, W, C].
    """
    # What happens to an image depends on its content alone, not on its place.
    keys = content_noise.float_key(tf.constant(images)).numpy()
    small, large = (max(images.shape[1:3]) / share for share in (28.0, 14.0))
    corrupted = np.empty_like(images)
    for chosen, blur in ((keys % 2 == 0, small), (keys % 2 == 1, large)):
        corrupted[chosen] = ndimage.gaussian_filter(images[chosen], (0, blur, blur, 0))
    if np.isin(images, (0.0, 1.0)).all():
        # A bank, because a generator for each image is slow.
        bank = np.random.default_rng(seed).random((64, *images.shape[1:]), np.float32)
        corrupted = (bank[keys // 2 % len(bank)] < corrupted).astype(np.float32)
    return corrupted


def _batches(images: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, len(images), _BATCH):
        yield images[start : start + _BATCH]


def _window(side: int) -> tuple[int, int]:
    """Size and stride of the grid's cells along one side of responses; they may overlap."""
    cells = min(_GRID, side)
    stride = side // cells
    return side - stride * (cells - 1), stride
