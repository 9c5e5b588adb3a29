"""What a training run is made of; data that round-trips through JSON and YAML."""

import dataclasses
from typing import Literal, get_args

from components.errors import InputError
from components.image_binarizer import ImageFormat

# Keys of the Trainer's custom_config.
CONFIG_KEY = "config"
CODE_FINGERPRINT_KEY = "code_fingerprint"

Architecture = Literal["conv", "dense"]


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
    """Model and optimisation of one training.

    Attributes:
      architecture: `conv` (the TensorFlow CVAE tutorial's nets) or `dense` (400-400 units).
      latent_size: Number of latent dimensions.
      kl_weight: Weight of the rate in the training loss; 1 trains on the ELBO itself.
      epochs: Passes over the training split.
      batch_size: Images a step, over all replicas together.
      learning_rate: Adam's peak rate; reached after half an epoch, then a cosine down to 1 % of it.
      gradient_clip_norm: Largest global norm of a step's gradient.
      seed: Seed of weights, shuffling and training noise.
      importance_samples: K of the importance-weighted bound in the exported `evaluate` signature,
        and the number of codes that its distortion is averaged over.
    """

    architecture: Architecture = "conv"
    latent_size: int = 16
    kl_weight: float = 1.0
    epochs: int = 10
    batch_size: int = 128
    learning_rate: float = 2e-3
    gradient_clip_norm: float = 200.0
    seed: int = 0
    importance_samples: int = 5

    def __post_init__(self):
        if self.architecture not in get_args(Architecture):
            raise InputError(
                f"Unknown architecture {self.architecture!r}; choose one of "
                f"{', '.join(get_args(Architecture))}."
            )
        for name in ("latent_size", "epochs", "batch_size", "importance_samples"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, not {getattr(self, name)}.")
        for name in ("learning_rate", "gradient_clip_norm"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name} must be positive, not {getattr(self, name)}.")
        if not self.kl_weight >= 0:
            raise InputError(f"kl_weight must not be negative, but is {self.kl_weight}.")

    def check_fits(self, image_format: ImageFormat) -> None:
        """Refuses images that the model cannot be about.

        Raises:
          InputError: If the pixels are grey: a Bernoulli likelihood of grey pixels is not
            normalised, so its ELBO would be no bound on anything.
        """
        if not image_format.is_binary:
            raise InputError(
                "The Bernoulli likelihood needs binary pixels, but binarization is 'none'; "
                "choose threshold, stochastic or dynamic."
            )
