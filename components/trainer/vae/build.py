"""An untrained model from a configuration."""

import numpy as np

from components.image_binarizer.image_format import ImageFormat
from components.trainer.config import TrainingConfig
from components.trainer.vae.architectures import build_networks
from components.trainer.vae.formulations import FORMULATIONS
from components.trainer.vae.likelihoods import build_likelihood
from components.trainer.vae.model import VariationalAutoencoder
from components.trainer.vae.posteriors import POSTERIORS
from components.trainer.vae.priors import build_prior


def build_model(
    config: TrainingConfig,
    image_format: ImageFormat,
    mean_image: np.ndarray,
    steps_per_epoch: int = 1,
) -> VariationalAutoencoder:
    """Builds a model; call it under the strategy's scope.

    Args:
      config: Names every part.
      image_format: Size of the images.
      mean_image: The training set's mean image, [H, W, C] in [0, 1]; an untrained decoder gives it.
      steps_per_epoch: For the warm-up of the KL weight.

    Raises:
      InputError: If the architecture cannot make images of that size.
    """
    posterior = POSTERIORS[config.posterior]
    likelihood = build_likelihood(config)
    encoder, decoder = build_networks(
        config,
        image_format.shape,
        posterior.initial_bias(config.latent_size),
        likelihood.initial_bias(mean_image),
        likelihood.initial_bias(mean_image.mean(axis=(0, 1))),
    )
    prior = build_prior(
        config.prior,
        config.latent_size,
        config.prior_components,
        lambda images: posterior.from_parameters(encoder(images)),
        mean_image,
        config.seed,
    )
    return FORMULATIONS[config.formulation](
        config, encoder, decoder, prior, likelihood, steps_per_epoch
    )
