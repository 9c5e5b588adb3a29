"""How well a model's samples from the prior match held-out images.

A good ELBO does not say so: a model can describe each image well through codes that its prior
never draws.
"""

import dataclasses

import numpy as np
from scipy.spatial import distance

from components.elbo_evaluator.image_features import ImageFeatures
from components.errors import InputError
from components.image_binarizer.image_format import ImageFormat, PixelMoments

NEIGHBOURS = 5
# A class is missing if it has less than this part of its real share among the samples, ...
MISSING_PART = 0.1
# ... and so many of it were to be expected: if 10 are, none comes in 1 of 20,000 cases.
_LEAST_EXPECTED = 10.0


@dataclasses.dataclass(frozen=True)
class SampleQuality:
    """Generated images compared with as many real ones, in the features of a classifier.

    Attributes:
      frechet: Squared Fréchet distance between Gaussians with the moments of generated and real
        features (Dowson & Landau 1982; Heusel et al. 2017, eq. 6); 0 for equal moments.
      frechet_of_independent_pixels: The same for the reference images: what a model without a
        code gets.
      precision: Share of generated images within a real image's distance to its fifth neighbour
        (Kynkäänniemi et al. 2019, eq. 2).
      recall: Share of real images within a generated image's distance to its fifth neighbour.
      density: Mean number of such real neighbourhoods around a generated image, over five (Naeem
        et al. 2020, eq. 3); about 1 for real images, and may exceed it.
      coverage: Share of real images with a generated one in their neighbourhood (Naeem et al.
        2020, eq. 4); about 0.97 for real images.
      class_shares: Share of each class among generated images, by the classifier.
      real_class_shares: The same among real images.
      missing_classes: Classes with less than a tenth of their real share. A class of which fewer
        than ten samples were to be expected is never among them.
      num_images: Images of each kind.
    """

    frechet: float
    frechet_of_independent_pixels: float
    precision: float
    recall: float
    density: float
    coverage: float
    class_shares: dict[int, float]
    real_class_shares: dict[int, float]
    missing_classes: tuple[int, ...]
    num_images: int

    @property
    def frechet_ratio(self) -> float:
        """`frechet` over `frechet_of_independent_pixels`: 0 is perfect, 1 no better than no code.

        Unlike `frechet` it has no unit and hardly depends on the data set or on the features'
        scale. Both distances are too large by a bias that falls with the number of images, so
        all three sets have the same number. If the real pixels are independent, even a perfect
        model has a ratio of about 1.
        """
        if self.frechet_of_independent_pixels > 0.0:
            return self.frechet / self.frechet_of_independent_pixels
        return 0.0 if self.frechet == 0.0 else float("inf")


def sample_quality(
    generated: np.ndarray, reference: np.ndarray, real: np.ndarray, features: ImageFeatures
) -> SampleQuality:
    """Compares generated with real images.

    All are float32 [N, H, W, C] with intensities from 0 to 1, and binary if the model's data are.
    The smallest N counts: of the larger sets only the first N images are used. Memory and time
    grow with N squared; 2,000 images take about a second.

    Args:
      generated: A model's samples.
      reference: From `independent_pixel_samples`.
      real: Held-out images.
      features: Fitted to training images.

    Raises:
      InputError: If there are fewer than two images of a kind, or some are not finite.
    """
    number = min(len(generated), len(reference), len(real))
    if number < 2:
        raise InputError("Sample quality needs at least two generated, reference and real images.")
    of_generated, of_reference, of_real = (
        features.features(images[:number]) for images in (generated, reference, real)
    )
    shares, real_shares = (_class_shares(rows, features) for rows in (of_generated, of_real))
    missing = tuple(
        label
        for label, share in real_shares.items()
        if share * number >= _LEAST_EXPECTED and shares[label] < MISSING_PART * share
    )
    return SampleQuality(
        frechet=_frechet_of_rows(of_generated, of_real),
        frechet_of_independent_pixels=_frechet_of_rows(of_reference, of_real),
        **_neighbourhoods(of_generated, of_real),
        class_shares=shares,
        real_class_shares=real_shares,
        missing_classes=missing,
        num_images=number,
    )


def independent_pixel_samples(
    moments: PixelMoments, image_format: ImageFormat, number: int, seed: int
) -> np.ndarray:
    """Draws images whose pixels have the right means but know nothing of each other.

    Args:
      moments: Of the training images.
      image_format: Binary pixels are Bernoulli; others are normal with the pixel's mean and
        variance, clipped to [0, 1].
      number: N.
      seed: Of numpy's generator.

    Returns:
      Float32 [N, H, W, C].
    """
    generator = np.random.default_rng(seed)
    shape = (number, *image_format.shape)
    if image_format.is_binary:
        return (generator.random(shape) < moments.mean).astype(np.float32)
    deviation = np.sqrt(np.maximum(moments.mean_square - np.square(moments.mean), 0.0))
    pixels = moments.mean + deviation * generator.standard_normal(shape)
    return np.clip(pixels, 0.0, 1.0).astype(np.float32)


def frechet_distance(
    mean_a: np.ndarray, covariance_a: np.ndarray, mean_b: np.ndarray, covariance_b: np.ndarray
) -> float:
    """Squared Fréchet distance of two Gaussians (Dowson & Landau 1982, eq. 4).

    |mean_a - mean_b|^2 + tr(A) + tr(B) - 2 tr((A^(1/2) B A^(1/2))^(1/2)). The last trace is the
    sum of the singular values of A^(1/2) B^(1/2), which is exact for singular matrices too, where
    scipy's sqrtm turns complex.

    Args:
      mean_a: Float64 [F].
      covariance_a: Float64 [F, F], positive semi-definite.
      mean_b: Float64 [F].
      covariance_b: Float64 [F, F], positive semi-definite.
    """
    product = _square_root(covariance_a) @ _square_root(covariance_b)
    trace = np.trace(covariance_a) + np.trace(covariance_b)
    spread = trace - 2.0 * np.linalg.svd(product, compute_uv=False).sum()
    return float(np.sum(np.square(mean_a - mean_b)) + max(0.0, spread))


def _square_root(matrix: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh(matrix)
    return vectors * np.sqrt(np.maximum(values, 0.0)) @ vectors.T


def _frechet_of_rows(a: np.ndarray, b: np.ndarray) -> float:
    moments = []
    for rows in (a, b):
        moments += [rows.mean(axis=0), np.atleast_2d(np.cov(rows.T))]
    return frechet_distance(*moments)


def _neighbourhoods(generated: np.ndarray, real: np.ndarray) -> dict[str, float]:
    """Precision, recall, density and coverage of features [N, F]."""
    neighbours = min(NEIGHBOURS, len(real) - 1)
    # Balls include their surface, so that copies of an image are in its neighbourhood.
    between = distance.cdist(real, generated)
    within_real = between <= _radii(real, neighbours)[:, None]
    within_generated = between <= _radii(generated, neighbours)[None, :]
    return {
        "precision": float(within_real.any(axis=0).mean()),
        "recall": float(within_generated.any(axis=1).mean()),
        "density": float(within_real.sum(axis=0).mean() / neighbours),
        "coverage": float(within_real.any(axis=1).mean()),
    }


def _radii(features: np.ndarray, neighbours: int) -> np.ndarray:
    """Distance of each row to its k-th nearest other row, [N]."""
    distances = distance.cdist(features, features)
    # Each row is its own nearest, at place 0.
    return np.partition(distances, neighbours, axis=1)[:, neighbours]


def _class_shares(rows: np.ndarray, features: ImageFeatures) -> dict[int, float]:
    predicted = features.classify(rows)
    return {int(label): float(np.mean(predicted == label)) for label in features.classes}
