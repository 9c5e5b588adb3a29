"""What a training run is made of; data that round-trips through JSON and YAML."""

import dataclasses
from typing import Literal, get_args, get_type_hints

from components.errors import InputError
from components.image_binarizer import ImageFormat

# Keys of the Trainer's custom_config.
CONFIG_KEY = "config"
CODE_FINGERPRINT_KEY = "code_fingerprint"

Formulation = Literal["a", "b", "c", "d", "e", "f"]
Architecture = Literal["conv", "conv_dense", "conv_pool", "conv_5x5", "dense"]
Activation = Literal["relu", "elu", "selu", "tanh", "leaky_relu"]
Posterior = Literal["diagonal", "full_covariance", "point"]
Prior = Literal["standard_normal", "mixture", "vamp"]
Likelihood = Literal[
    "bernoulli",
    "gaussian",
    "gaussian_learned_scale",
    "gaussian_analytic_scale",
    "continuous_bernoulli",
    "discretized_logistic",
]
Objective = Literal["elbo", "importance_weighted"]
RateEstimator = Literal["analytic", "monte_carlo"]
Optimizer = Literal["adam", "adamax", "rmsprop", "sgd"]
Schedule = Literal["cosine", "constant"]
Precision = Literal["float32", "mixed_bfloat16", "mixed_float16"]

# Formulations that write the KL as a regulariser of a tfpl layer and the rest as a Keras loss.
_KERAS_LOSS_FORMULATIONS = ("b", "c", "d")


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
    """Model and optimisation of one training.

    Attributes:
      formulation: How the same loss is written down: `a` explicit reparameterisation and
        GradientTape; `b` tfpl layers at both ends and a KL regulariser; `c` tfpl posterior and a
        custom loss from logits; `d` tfpl posterior and Keras's BinaryCrossentropy on the mean;
        `e` a subclass with `add_loss`, trained by Keras; `f` `add_loss` and GradientTape.
      architecture: The nets; see `components.trainer.vae.architectures`.
      hidden_units: Units of the dense layers of `dense` (both nets, mirrored) and of `conv_dense`
        (its first entry).
      activation: Of the hidden layers of `dense` and `conv_dense`.
      latent_size: Number of latent dimensions.
      posterior: `diagonal` or `full_covariance` Gaussian, or `point`: no posterior, an
        autoencoder.
      prior: `standard_normal`; `mixture`, learned Gaussians; `vamp`, the mean posterior of learned
        pseudo-images.
      prior_components: Number of Gaussians of `mixture`, or of pseudo-images of `vamp`.
      likelihood: What p(x|z) is. `bernoulli` is of binary pixels, all others are of grey ones.
      gaussian_scale: Standard deviation of `gaussian`, in intensities from 0 to 1; sqrt(1/2) makes
        the distortion a sum of squares, but for a constant.
      objective: `elbo`, or `importance_weighted`, the bound of Burda et al. 2016.
      rate_estimator: Whether the rate is the closed form or log q(z|x) - log p(z) at the sampled z.
      training_samples: Codes an image in training; K of the importance-weighted bound.
      kl_weight: Weight of the rate in the training loss; 1 trains on the ELBO itself.
      kl_warmup_epochs: Epochs in which that weight grows from 0.
      free_bits: Nats a latent dimension may cost without being pushed down, for each image.
      optimizer: The update rule.
      learning_rate: Its peak rate.
      schedule: `cosine` falls to 1 % of the peak, `constant` stays there.
      warmup_epochs: Epochs in which the rate grows from 0.
      gradient_clip_norm: Largest global norm of a step's gradient; None does not clip.
      ema_momentum: Momentum of a running average of the weights, which is then what is validated
        and exported; None takes the weights themselves.
      epochs: Passes over the training split.
      early_stopping_patience: Epochs without a better validation ELBO after which training ends,
        not counted before the KL weight is full; None trains to the end.
      batch_size: Images a step, over all replicas together.
      precision: Of the nets; posterior, prior and likelihood are computed in float32.
      seed: Seed of weights, shuffling and training noise.
    """

    formulation: Formulation = "e"
    architecture: Architecture = "conv"
    hidden_units: tuple[int, ...] = (400, 400)
    activation: Activation = "relu"
    latent_size: int = 16
    posterior: Posterior = "diagonal"
    prior: Prior = "standard_normal"
    prior_components: int = 100
    likelihood: Likelihood = "bernoulli"
    gaussian_scale: float = 0.5**0.5
    objective: Objective = "elbo"
    rate_estimator: RateEstimator = "analytic"
    training_samples: int = 1
    kl_weight: float = 1.0
    kl_warmup_epochs: float = 0.0
    free_bits: float = 0.0
    optimizer: Optimizer = "adam"
    learning_rate: float = 2e-3
    schedule: Schedule = "cosine"
    warmup_epochs: float = 0.5
    gradient_clip_norm: float | None = 200.0
    ema_momentum: float | None = None
    epochs: int = 10
    early_stopping_patience: int | None = None
    batch_size: int = 128
    precision: Precision = "float32"
    seed: int = 0

    def __post_init__(self):
        # JSON and YAML know lists alone.
        object.__setattr__(self, "hidden_units", tuple(self.hidden_units))
        self._check_values()
        self._check_combination()

    def _check_values(self) -> None:
        for name, kind in get_type_hints(type(self)).items():
            choices = [choice for choice in get_args(kind) if isinstance(choice, str)]
            if choices and getattr(self, name) not in choices:
                raise InputError(
                    f"Unknown {name} {getattr(self, name)!r}; choose one of {', '.join(choices)}."
                )
        at_least_one = (
            "latent_size",
            "prior_components",
            "training_samples",
            "epochs",
            "batch_size",
        )
        for name in at_least_one:
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, not {getattr(self, name)}.")
        patience = self.early_stopping_patience
        if patience is not None and patience < 1:
            raise InputError(f"early_stopping_patience must be at least 1, not {patience}.")
        if not self.hidden_units or min(self.hidden_units) < 1:
            raise InputError(
                "hidden_units must be one or more numbers of at least 1, not "
                f"{list(self.hidden_units)}."
            )
        for name in ("learning_rate", "gradient_clip_norm", "gaussian_scale"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise InputError(f"{name} must be positive, not {value}.")
        for name in ("kl_weight", "kl_warmup_epochs", "free_bits", "warmup_epochs"):
            value = getattr(self, name)
            if not value >= 0:
                raise InputError(f"{name} must not be negative, but is {value}.")
        if self.ema_momentum is not None and not 0 < self.ema_momentum < 1:
            raise InputError(f"ema_momentum must be between 0 and 1, not {self.ema_momentum}.")

    def _check_combination(self) -> None:
        """Refuses what would train something other than its name says."""
        if self.posterior == "point":
            self._check_autoencoder()
        has_closed_form = self.prior == "standard_normal"
        if self.rate_estimator == "analytic" and not has_closed_form:
            raise InputError(
                f"The KL divergence from the prior {self.prior!r} has no closed form; set "
                "rate_estimator to monte_carlo."
            )
        if self.free_bits and (self.posterior != "diagonal" or not has_closed_form):
            raise InputError(
                "free_bits needs a rate for each latent dimension: posterior diagonal and prior "
                "standard_normal."
            )
        if self.free_bits and self.rate_estimator != "analytic":
            raise InputError("free_bits needs the analytic rate_estimator.")
        if self.objective == "importance_weighted":
            if self.kl_weight != 1 or self.free_bits:
                raise InputError(
                    "The importance-weighted bound is one only at kl_weight 1 and free_bits 0; "
                    "use objective elbo for another weight."
                )
            if self.training_samples == 1:
                raise InputError(
                    "The importance-weighted bound of one sample is the ELBO; set "
                    "training_samples to 2 or more."
                )
        if self.formulation in _KERAS_LOSS_FORMULATIONS:
            self._check_keras_loss_formulation()

    def _check_autoencoder(self) -> None:
        if self.kl_weight or self.objective != "elbo" or self.prior != "standard_normal":
            raise InputError(
                "A point posterior has no finite rate: it is an autoencoder, which is trained "
                "with kl_weight 0, objective elbo and prior standard_normal."
            )
        if self.training_samples != 1:
            raise InputError("A point posterior has one code an image; set training_samples to 1.")

    def _check_keras_loss_formulation(self) -> None:
        """These take one sample from a tfpl layer, whose regulariser knows a fixed prior."""
        wanted = {
            "prior": ("standard_normal",),
            "objective": ("elbo",),
            "training_samples": (1,),
            "free_bits": (0.0,),
            "posterior": ("diagonal", "full_covariance"),
        }
        if self.formulation in ("b", "d"):
            wanted["likelihood"] = ("bernoulli",)
        for name, values in wanted.items():
            if getattr(self, name) not in values:
                raise InputError(
                    f"Formulation {self.formulation} cannot express {name} "
                    f"{getattr(self, name)!r}, only {' or '.join(map(str, values))}; use "
                    "formulation a, e or f."
                )

    @property
    def is_autoencoder(self) -> bool:
        """Whether there is no rate, and so no ELBO."""
        return self.posterior == "point"

    def check_fits(self, image_format: ImageFormat) -> None:
        """Refuses images that the likelihood cannot be about.

        Raises:
          InputError: If the pixels are grey and the likelihood Bernoulli, which is not normalised
            over grey pixels, so its ELBO would be no bound on anything; or the other way round.
        """
        if self.likelihood == "bernoulli" and not image_format.is_binary:
            raise InputError(
                "The Bernoulli likelihood needs binary pixels, but binarization is 'none'; "
                "choose threshold, stochastic or dynamic, or another likelihood."
            )
        if self.likelihood != "bernoulli" and image_format.is_binary:
            raise InputError(
                f"The likelihood {self.likelihood!r} is of grey pixels, but binarization is "
                f"{image_format.binarization!r}; choose none, or the likelihood bernoulli."
            )
