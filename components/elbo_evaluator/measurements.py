"""Everything that the gate decides by."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from components.elbo_evaluator.comparability import ScoreUnit
from components.elbo_evaluator.sample_quality import SampleQuality
from components.elbo_evaluator.statistics import Number
from components.image_binarizer.image_format import ImageFormat


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Numbers of both models on the same images, by name; nats per image.

    Attributes:
      candidate: Also has `elbo_gain` and `elbo_gain_standard_error`, if there is a champion.
      champion: Empty if the champion could not be scored.
    """

    candidate: Mapping[str, Number] = dataclasses.field(default_factory=dict)
    champion: Mapping[str, Number] = dataclasses.field(default_factory=dict)

    @property
    def gain(self) -> tuple[float, float]:
        """Mean gain in ELBO over the champion and its standard error; NaN if there is none."""
        return (
            self.candidate.get("elbo_gain", math.nan),
            self.candidate.get("elbo_gain_standard_error", math.nan),
        )


@dataclasses.dataclass(frozen=True)
class Measurements:
    """What was found out about a candidate.

    Attributes:
      image_format: Of the test images.
      overall: Of all test images.
      by_label: Of the images of each label; -1 is that of images without one.
      samples: The samples' quality; None if it could not be measured.
      training_images: That of training images in the samples' place: what is ideal.
      complaints: What is wrong with the candidate's signatures, a line each.
      non_finite_weights: Weights of the candidate that hold NaN or infinity.
      mean_image_mse: Mean squared error of the training images' mean image.
      training: What the candidate says that trained it.
      unit: What the candidate says that its score is of; None if it does not say.
      champion_unit: The same of the champion.
      champion: What the champion is, in words.
      is_first: Whether it is independent pixels, for want of a champion.
    """

    image_format: ImageFormat
    non_finite_weights: int = 0
    mean_image_mse: float = math.nan
    overall: Comparison = Comparison()
    by_label: Mapping[int, Comparison] = dataclasses.field(default_factory=dict)
    samples: SampleQuality | None = None
    training_images: SampleQuality | None = None
    complaints: tuple[str, ...] = ()
    training: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    unit: ScoreUnit | None = None
    champion_unit: ScoreUnit | None = None
    champion: str = ""
    is_first: bool = True

    @property
    def num_examples(self) -> int:
        """Scored images."""
        return int(self.overall.candidate.get("example_count", 0))

    @property
    def has_elbo(self) -> bool:
        """Whether there is an ELBO; an autoencoder has none for any image."""
        candidate = self.overall.candidate
        return candidate.get("rate") != math.inf or candidate.get("non_finite_share", 1.0) < 1.0

    @property
    def declared_kl_weight(self) -> float:
        """The w of distortion + w * rate that training minimised; NaN if it was something else."""
        training = self.training
        minimised = (
            training.get("objective") == "elbo"
            and not training.get("free_bits")
            and training.get("prior") != "vamp"
            and training.get("kl_weight", 0.0) > 0.0
        )
        return float(training["kl_weight"]) if minimised else math.nan
