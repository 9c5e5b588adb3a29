"""What a model shows when its signatures are called."""

import dataclasses
from collections.abc import Mapping, Sequence
from statistics import NormalDist
from typing import Any

import numpy as np
import tensorflow as tf

from components.errors import InputError
from components.image_binarizer.binarize import observe, parse_examples
from components.image_binarizer.image_format import ImageFormat
from components.model_report.numbers import LatentUsage, latent_usage

MAX_IMAGES = 2_000
NUM_SHOWN = 16
NUM_PRIOR_SAMPLES = 64
PRIOR_SEED = 0
MANIFOLD_SIDE = 20
INTERPOLATION_ROWS = 5
INTERPOLATION_STEPS = 12

_SIGNATURES = ("encode", "decode", "reconstruct", "generate")
_BATCH = 250


@dataclasses.dataclass(frozen=True)
class Probes:
    """Images are [N, H, W, C], black at 0 and white at 1; None where there is no test image.

    Attributes:
      images: Test images, as the model sees them.
      reconstructions: Their reconstructions: `mean` and `mode`.
      prior: Images of codes from the prior: `mean` and `sample`.
      manifold: Means of a square grid of codes, row by row, if the latent space is a plane.
      interpolations: Else rows of a test image, means along the way, and another test image.
      usage: Use of the latent dimensions.
    """

    images: np.ndarray | None
    reconstructions: Mapping[str, np.ndarray] | None
    prior: Mapping[str, np.ndarray]
    manifold: np.ndarray | None
    interpolations: np.ndarray | None
    usage: LatentUsage | None


def probe(model: Any, test_examples: Sequence[bytes], image_format: ImageFormat) -> Probes:
    """Calls a model's signatures for the page's pictures.

    Args:
      model: A loaded SavedModel with the signatures of `components.trainer.export.ExportedVae`.
      test_examples: Serialized model-ready Examples; the first 2,000 are looked at.
      image_format: What they hold.

    Raises:
      InputError: If the model lacks a signature.
    """
    missing = [name for name in _SIGNATURES if name not in model.signatures]
    if missing:
        raise InputError(
            f"The model has no signature {', '.join(missing)}; export it with "
            "components.trainer.export."
        )
    prior = _call(
        model,
        "generate",
        number=tf.constant(NUM_PRIOR_SAMPLES, tf.int64),
        seed=tf.constant(PRIOR_SEED, tf.int64),
    )
    latent_size = prior["z"].shape[1]
    examples = np.array(test_examples[:MAX_IMAGES], dtype=object)
    images = reconstructions = interpolations = usage = None
    if len(examples):
        images = _spread(examples, image_format)
        reconstructions = _call(model, "reconstruct", images=tf.constant(images))
        usage = _usage(model, examples, image_format)
        if latent_size != 2:
            interpolations = _interpolations(model, images)
    return Probes(
        images=images,
        reconstructions=reconstructions,
        prior=prior,
        manifold=_manifold(model) if latent_size == 2 else None,
        interpolations=interpolations,
        usage=usage,
    )


def slerp(start: np.ndarray, end: np.ndarray, steps: int) -> np.ndarray:
    """Codes from one to another along a great circle (White 2016, arXiv:1609.04468).

    Args:
      start: The first code [D].
      end: The last code [D].
      steps: Number of codes, both ends counted.

    Returns:
      [steps, D]; along a straight line where no great circle is singled out.
    """
    along = np.linspace(0.0, 1.0, steps)[:, None]
    norms = np.linalg.norm(start) * np.linalg.norm(end)
    cosine = np.clip(np.dot(start, end) / norms, -1.0, 1.0) if norms > 0 else 1.0
    angle = np.arccos(cosine)
    if np.sin(angle) < 1e-4:
        return (1.0 - along) * start + along * end
    return (np.sin((1.0 - along) * angle) * start + np.sin(along * angle) * end) / np.sin(angle)


def _call(model: Any, signature: str, **inputs: tf.Tensor) -> dict[str, np.ndarray]:
    return {name: value.numpy() for name, value in model.signatures[signature](**inputs).items()}


def _spread(examples: np.ndarray, image_format: ImageFormat) -> np.ndarray:
    # Spread over the split, because stored order may be by label.
    chosen = np.linspace(0, len(examples) - 1, min(NUM_SHOWN, len(examples))).round().astype(int)
    pixels = parse_examples(tf.constant(examples[chosen]), image_format)
    return observe(pixels, image_format).numpy()


def _usage(model: Any, examples: np.ndarray, image_format: ImageFormat) -> LatentUsage:
    # Not from `evaluate`, which decodes thousands of codes an image where the recipe asks for them.
    encoded = []
    for start in range(0, len(examples), _BATCH):
        pixels = parse_examples(tf.constant(examples[start : start + _BATCH]), image_format)
        encoded.append(_call(model, "encode", images=observe(pixels, image_format)))
    return latent_usage(
        np.concatenate([posterior["mean"] for posterior in encoded]),
        np.concatenate([posterior["variance"] for posterior in encoded]),
    )


def _manifold(model: Any) -> np.ndarray:
    # Equal steps of probability, so that every image stands for as much of the prior.
    side = [NormalDist().inv_cdf(p) for p in np.linspace(0.05, 0.95, MANIFOLD_SIDE)]
    codes = np.array([(x, y) for y in side for x in side], np.float32)
    return _call(model, "decode", z=tf.constant(codes))["mean"]


def _interpolations(model: Any, images: np.ndarray) -> np.ndarray | None:
    half = len(images) // 2
    rows = min(INTERPOLATION_ROWS, half)
    if not rows:
        return None
    codes = _call(model, "encode", images=tf.constant(images))["mean"]
    paths = [slerp(codes[row], codes[row + half], INTERPOLATION_STEPS) for row in range(rows)]
    means = _call(model, "decode", z=tf.constant(np.concatenate(paths).astype(np.float32)))["mean"]
    means = means.reshape(rows, INTERPOLATION_STEPS, *images.shape[1:])
    ends = images[:rows, None], images[half : half + rows, None]
    return np.concatenate([ends[0], means, ends[1]], axis=1).reshape(-1, *images.shape[1:])
