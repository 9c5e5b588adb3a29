"""What a candidate has to show before it is blessed."""

import dataclasses
import math
from typing import Literal, get_args

from components.errors import InputError

Comparison = Literal["no_worse", "better", "significantly_better"]


@dataclasses.dataclass(frozen=True)
class GateConfig:
    """Thresholds of the gate; every one must hold, and NaN holds none.

    Scores are in nats per image, at KL weight 1. A difference is the mean over images of candidate
    less champion, with the standard error of that paired difference.

    Attributes:
      floor: Least mean ELBO. None means that of a model that knows nothing: for each pixel
        -log 2 (a fair coin), -log 256 for a discretized likelihood (all levels alike), or 0 for a
        density (the uniform one).
      label_floor: Least mean ELBO of the images of any one label; None as for `floor`.
      comparison: `no_worse` blocks a loss that is significant and greater than `tolerance`, so that
        neither chance nor a trifle blocks a model; `better` asks for a mean
        gain of `min_improvement`; `significantly_better` asks that the gain exceed it by more than
        chance. Where there is no champion yet, a candidate must be significantly better than
        independent pixels, whatever this says.
      tolerance: Loss that is let pass though it is no chance.
      min_improvement: Least gain; only for the other two comparisons.
      label_tolerance: The same as `tolerance`, for the images of each label; no label may pay for
        the others.
      confidence: Of what counts as significant, one-sided.
      min_examples: Least number of scored images.
      max_non_finite_share: Share of images with a score or code that is NaN or infinite.
      max_collapsed_share: Share of latent dimensions that tell nothing about the image.
      max_kl_weight_factor: How far, as a factor, the KL weight that the model behaves as if trained
        at may be from the one it says it was trained at. Not asked of an autoencoder, nor where the
        training minimised something else than distortion + weight * rate.
      max_frechet_ratio: Frechet distance of samples from real images, divided by that of
        independent pixels; None does not ask. Neither this nor the next two are asked of grey
        images, whose means are blurred by right, nor of fewer than 150, nor where the training
        images themselves would fail.
      min_coverage: Share of real images that have a sample among their neighbours (Naeem et al.
        2020); None does not ask.
      max_missing_classes: Classes of images that samples hardly ever show.
      importance_samples: K of the importance-weighted bound L_K.
      importance_images: Images that it is computed of, fewer being many times faster; None takes
        all.
      sample_images: Samples from the prior, and real images that they are compared with.
      batch_size: Images scored at once; it decides speed and memory, and no number.
    """

    floor: float | None = None
    label_floor: float | None = None
    comparison: Comparison = "no_worse"
    tolerance: float = 0.75
    min_improvement: float = 0.0
    label_tolerance: float = 5.0
    confidence: float = 0.95
    min_examples: int = 100
    max_non_finite_share: float = 0.0
    max_collapsed_share: float = 0.9
    max_kl_weight_factor: float | None = 1.5
    max_frechet_ratio: float | None = 0.48
    min_coverage: float | None = 0.045
    max_missing_classes: int = 0
    importance_samples: int = 64
    importance_images: int | None = 1000
    sample_images: int = 2000
    batch_size: int = 512

    def __post_init__(self):
        self._check_numbers()
        if self.comparison not in get_args(Comparison):
            raise InputError(
                f"Unknown comparison {self.comparison!r}; choose one of "
                f"{', '.join(get_args(Comparison))}."
            )
        if self.comparison == "no_worse" and self.min_improvement:
            raise InputError(
                "min_improvement asks for a gain, but the comparison no_worse for none; set "
                "comparison to better or significantly_better."
            )
        self._check_usefulness()

    def _check_numbers(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, float) and math.isnan(value):
                raise InputError(f"{field.name} is not a number.")
        for name in ("min_examples", "importance_samples", "sample_images", "batch_size"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, not {getattr(self, name)}.")
        if self.importance_images is not None and self.importance_images < 1:
            raise InputError(f"importance_images must be at least 1, not {self.importance_images}.")
        for name in ("tolerance", "label_tolerance", "max_missing_classes"):
            if getattr(self, name) < 0:
                raise InputError(f"{name} must not be negative, but is {getattr(self, name)}.")
        for name in ("max_non_finite_share", "max_collapsed_share", "min_coverage"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise InputError(f"{name} must be a share from 0 to 1, not {value}.")
        if not 0.5 <= self.confidence < 1:
            raise InputError(f"confidence must be from 0.5 to below 1, not {self.confidence}.")
        if self.max_kl_weight_factor is not None and not self.max_kl_weight_factor > 1:
            raise InputError(f"max_kl_weight_factor must be above 1: {self.max_kl_weight_factor}.")
        if self.max_frechet_ratio is not None and not self.max_frechet_ratio > 0:
            raise InputError(f"max_frechet_ratio must be positive, not {self.max_frechet_ratio}.")

    def _check_usefulness(self) -> None:
        """Refuses a gate that lets everything through."""
        for name, remedy in (
            ("floor", "none takes that of a model that knows nothing"),
            ("label_floor", "none takes that of a model that knows nothing"),
            ("tolerance", "it is a loss in nats per image, such as 0.75"),
            ("label_tolerance", "it is a loss in nats per image, such as 5"),
            ("min_improvement", "it is a gain in nats per image, such as 0.5"),
            ("max_kl_weight_factor", "none says openly that it is not asked"),
            ("max_frechet_ratio", "none says openly that it is not asked"),
        ):
            value = getattr(self, name)
            if value is not None and math.isinf(value):
                raise InputError(f"{name} {value} would decide nothing: {remedy}.")
        if self.comparison == "better" and self.min_improvement < 0:
            raise InputError(
                f"min_improvement {self.min_improvement} would bless a worse model every time; "
                "use comparison no_worse, whose tolerance is for losses by chance."
            )
        if self.max_non_finite_share == 1:
            raise InputError("max_non_finite_share 1 would bless a model of NaN alone; use 0.")
