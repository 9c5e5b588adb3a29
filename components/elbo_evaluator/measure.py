"""Finds out everything that the gate decides by."""

import dataclasses
from collections.abc import Callable

import apache_beam as beam
import numpy as np

from components.elbo_evaluator import examples as model_ready
from components.elbo_evaluator.agreement import disagreements
from components.elbo_evaluator.comparability import ScoreUnit, incomparable
from components.elbo_evaluator.config import GateConfig
from components.elbo_evaluator.eval_config import CANDIDATE, CHAMPION, build_eval_config
from components.elbo_evaluator.image_features import ImageFeatures
from components.elbo_evaluator.measurements import Measurements
from components.elbo_evaluator.sample_quality import (
    SampleQuality,
    independent_pixel_samples,
    sample_quality,
)
from components.elbo_evaluator.scored_model import (
    CANDIDATE_SIGNATURES,
    ScoredModel,
    load_scored_model,
)
from components.elbo_evaluator.scoring import Images, score_models
from components.elbo_evaluator.tfma_output import read_comparisons
from components.errors import InputError
from components.image_binarizer.image_format import ImageFormat, read_pixel_moments

_AGREEMENT_IMAGES = 256
# Training images that the features of sample quality are fitted to.
_FEATURE_IMAGES = 5000
# Training images that the implied KL weight is read off from.
_WEIGHT_IMAGES = 1000
# Values of images that are in memory at once, for large images: 256 MiB of float32.
_MAX_VALUES = 1 << 26
_SAMPLE_SEED = 0


@dataclasses.dataclass(frozen=True)
class Champion:
    """The model to beat.

    Attributes:
      path: Its SavedModel.
      name: What it is, in words.
      is_first: Whether it is independent pixels, for want of a champion.
      dataset: Name of its data set; empty if it is not known.
    """

    path: str
    name: str
    is_first: bool
    dataset: str = ""


def measure(
    candidate_path: str,
    champion: Champion,
    examples_uri: str,
    dataset: str,
    gate: GateConfig,
    output_path: str,
    make_pipeline: Callable[[], beam.Pipeline],
) -> Measurements:
    """Scores a candidate and a champion on the split `test`.

    Args:
      candidate_path: The candidate's SavedModel.
      champion: The model to beat.
      examples_uri: Model-ready Examples.
      dataset: Name of their data set; empty if it is not known.
      gate: How many images, codes and samples.
      output_path: Where TFMA writes its metrics.
      make_pipeline: Gives a Beam pipeline.

    Returns:
      What was found out. A candidate that cannot be scored is a finding, not an error.

    Raises:
      InputError: If the champion is damaged.
    """
    image_format = ImageFormat.read(examples_uri)
    moments = read_pixel_moments(examples_uri, "train")
    measured = Measurements(
        image_format=image_format,
        mean_image_mse=float((moments.mean_square - np.square(moments.mean)).mean()),
        champion=champion.name,
        is_first=champion.is_first,
    )
    try:
        candidate = load_scored_model(candidate_path)
        candidate.check_signatures(CANDIDATE_SIGNATURES)
    except InputError as error:
        return dataclasses.replace(measured, complaints=(str(error),))
    # Held until the end, so that Beam's workers in this process need not load it again.
    beaten = _load_champion(champion)
    unit = _unit(candidate, dataset)
    champion_unit = _unit(beaten, champion.dataset)
    measured = dataclasses.replace(
        measured,
        training=candidate.training,
        unit=unit,
        champion_unit=champion_unit,
        non_finite_weights=candidate.non_finite_weights(),
    )
    if unit.image_format != image_format:
        return measured
    files = model_ready.split_files(examples_uri, "test")
    number = gate.importance_images
    chosen = model_ready.choose(files, max(number or 0, gate.sample_images))
    if not len(chosen):
        return measured
    some = chosen[:_AGREEMENT_IMAGES]
    try:
        complaints = disagreements(candidate, some, model_ready.images_of(some, image_format))
    except InputError as error:
        return dataclasses.replace(measured, complaints=(str(error),))
    paths = {CANDIDATE: candidate.path}
    if not incomparable(champion_unit, unit):
        paths[CHAMPION] = beaten.path
    images = Images(
        files,
        bound=chosen[:number] if number else _all_of(files),
        slopes=model_ready.choose(model_ready.split_files(examples_uri, "train"), _WEIGHT_IMAGES),
    )
    with make_pipeline() as pipeline:
        score_models(
            pipeline,
            paths,
            images,
            build_eval_config(image_format.num_pixels),
            gate.importance_samples,
            gate.batch_size,
            output_path,
        )
    overall, by_label = read_comparisons(output_path)
    samples, ideal = measure_samples(candidate, examples_uri, chosen[: gate.sample_images])
    return dataclasses.replace(
        measured,
        complaints=tuple(complaints),
        overall=overall,
        by_label=by_label,
        samples=samples,
        training_images=ideal,
    )


def measure_samples(
    model: ScoredModel, examples_uri: str, real_examples: np.ndarray
) -> tuple[SampleQuality | None, SampleQuality | None]:
    """Compares samples from the prior with real images, in features fitted to training images.

    Samples of binary images are draws of each pixel, as real images are; of grey ones, means.

    Args:
      model: The candidate.
      examples_uri: Model-ready Examples.
      real_examples: Serialized Examples of held-out images.

    Returns:
      The samples' quality, and that of training images in their place; None if samples are not
      finite or there are fewer than two images.
    """
    image_format = model.image_format
    most = max(1, _MAX_VALUES // image_format.num_pixels)
    real = model_ready.images_of(real_examples[:most], image_format)
    kind = "sample" if image_format.is_binary else "mean"
    generated = model.call("generate", number=np.int64(len(real)), seed=np.int64(_SAMPLE_SEED))[
        kind
    ]
    if len(real) < 2 or not np.isfinite(generated).all():
        return None, None
    files = model_ready.split_files(examples_uri, "train")
    train = model_ready.choose(files, min(_FEATURE_IMAGES, most))
    training_images = model_ready.images_of(train, image_format)
    features = ImageFeatures.fit(training_images, model_ready.labels_of(train))
    reference = independent_pixel_samples(
        read_pixel_moments(examples_uri, "train"), image_format, len(real), _SAMPLE_SEED
    )
    return (
        sample_quality(generated, reference, real, features),
        sample_quality(training_images, reference, real, features),
    )


def _all_of(files: list[str]) -> np.ndarray:
    batches = list(model_ready.batches(files, 4096))
    return np.concatenate(batches) if batches else np.empty(0, object)


def _unit(model: ScoredModel, dataset: str) -> ScoreUnit:
    return ScoreUnit(model.image_format, model.training.get("likelihood", ""), dataset)


def _load_champion(champion: Champion) -> ScoredModel:
    try:
        return load_scored_model(champion.path)
    except InputError as error:
        raise InputError(
            f"The champion ({champion.name}) is damaged: {error}. Restore it, or start a new line "
            "of champions with --new-line."
        ) from error
