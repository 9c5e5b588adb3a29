"""What all formulations of the VAE share: nets, distributions, noise, terms and logged numbers."""

import tensorflow as tf
import tf_keras

from components.trainer.config import TrainingConfig
from components.trainer.input import Batch
from components.trainer.vae.likelihoods import PixelLikelihood
from components.trainer.vae.objectives import Elbo, ImportanceWeighted, KlWeight, Terms
from components.trainer.vae.posteriors import POSTERIORS, DiagonalNormal, FullCovarianceNormal
from components.trainer.vae.priors import MixturePrior, StandardNormal


class VariationalAutoencoder(tf_keras.Model):
    """A VAE without a training step; a formulation adds one.

    The loss is summed over pixels and latent dimensions, in nats per image, and averaged over
    images. All randomness comes with the batch: given weights and a batch, the loss is a number,
    on however many replicas it is computed.

    The weights of a batch have a mean of one over all replicas, so the mean over a replica's
    images, divided by the number of replicas and summed over them, is the mean over the batch.
    """

    def __init__(
        self,
        config: TrainingConfig,
        encoder: tf_keras.Model,
        decoder: tf_keras.Model,
        prior: StandardNormal | MixturePrior,
        likelihood: PixelLikelihood,
        steps_per_epoch: int = 1,
    ):
        """Builds the model; call it under the strategy's scope.

        Args:
          config: Names the objective, and everything that was built for the other arguments.
          encoder: Images [B, H, W, C] to posterior parameters [B, P].
          decoder: Codes [B, D] to the likelihood's parameters [B, H, W, C * P].
          prior: p(z).
          likelihood: p(x|z).
          steps_per_epoch: For the warm-up of the KL weight.
        """
        super().__init__(name="vae")
        self.encoder = encoder
        self.decoder = decoder
        self.prior = prior
        self.likelihood = likelihood
        self.latent_size = config.latent_size
        self.posterior_type = POSTERIORS[config.posterior]
        self.objective = (
            ImportanceWeighted()
            if config.objective == "importance_weighted"
            else Elbo(config.free_bits)
        )
        self.kl_weight = KlWeight(
            config.kl_weight, round(config.kl_warmup_epochs * steps_per_epoch)
        )
        self.analytic_rate = config.rate_estimator == "analytic"
        self.trackers = {
            name: tf_keras.metrics.Mean(name=name)
            for name in ("loss", "elbo", "rate", "distortion")
        }
        self.rounded_accuracy = tf_keras.metrics.Mean(name="rounded_accuracy")

    def encode(self, images: tf.Tensor) -> DiagonalNormal | FullCovarianceNormal:
        """q(z|x) of images [B, H, W, C]."""
        return self.posterior_type.from_parameters(self.encoder(images))

    def decode(self, codes: tf.Tensor) -> tf.Tensor:
        """Parameters of p(x|z), [K, B, H, W, C * P], of codes [K, B, D]."""
        shape = tf.shape(codes)
        parameters = self.decoder(tf.reshape(codes, [-1, self.latent_size]))
        return tf.reshape(parameters, tf.concat([shape[:2], tf.shape(parameters)[1:]], axis=0))

    def terms(self, batch: Batch, training: bool = False) -> Terms:
        """The parts of the ELBO of a batch."""
        posterior, codes, parameters = self.propagate(batch)
        if training:
            self.likelihood.fit(batch["images"], parameters, batch["weight"])
        distortion = self.likelihood.negative_log_likelihood(batch["images"], parameters)
        return self.assemble(posterior, codes, distortion)

    def propagate(self, batch: Batch):
        """q(z|x), codes [K, B, D] drawn from it, and the decoder's outputs [K, B, H, W, C * P]."""
        posterior = self.encode(batch["images"])
        codes = posterior.sample(tf.transpose(batch["noise"], [1, 0, 2]))
        return posterior, codes, self.decode(codes)

    def assemble(self, posterior, codes: tf.Tensor, distortion: tf.Tensor) -> Terms:
        """Terms from a posterior, codes [K, B, D] and the distortion [K, B] at them."""
        log_ratio = posterior.log_prob(codes) - self.prior.log_prob(codes)
        rate = (
            posterior.kl_to_standard_normal()
            if self.analytic_rate
            else tf.reduce_mean(log_ratio, axis=0)
        )
        return Terms(posterior, distortion, log_ratio, rate)

    def current_kl_weight(self) -> tf.Tensor:
        """The weight of the rate at the optimizer's step, []."""
        return self.kl_weight.at(self.optimizer.iterations)

    def track(self, terms: Terms, batch: Batch) -> dict[str, tf.Tensor]:
        """Adds a batch to the running means over images; returns them for Keras's logs."""
        values = {
            "loss": self.objective.loss(terms, self.current_kl_weight()),
            "elbo": terms.elbo,
            "rate": terms.rate,
            "distortion": tf.reduce_mean(terms.distortion, axis=0),
        }
        # Padding has weight 0; a real image counts once, whatever its weight in a partial batch.
        is_image = tf.cast(batch["weight"] > 0, tf.float32)
        for name, value in values.items():
            # Not by a product alone, because a padded image may have an infinite score.
            self.trackers[name].update_state(tf.where(is_image > 0, value, 0.0), is_image)
        return {name: tracker.result() for name, tracker in self.trackers.items()}

    # AutoGraph does not know that tf_keras needs no conversion, and would rewrite the source of
    # every Keras function that a step calls: half a minute before the first batch.

    @tf.autograph.experimental.do_not_convert
    def test_step(self, batch: Batch) -> dict[str, tf.Tensor]:
        """Scores a batch of validation images, in the same way for every formulation."""
        posterior, codes, parameters = self.propagate(batch)
        distortion = self.likelihood.negative_log_likelihood(batch["images"], parameters)
        logs = self.track(self.assemble(posterior, codes, distortion), batch)
        # The share of pixels on the right side of one half.
        rounded = self.likelihood.mean(parameters) > 0.5
        right = tf.cast(tf.equal(rounded, batch["images"] > 0.5), tf.float32)
        is_image = tf.cast(batch["weight"] > 0, tf.float32)
        self.rounded_accuracy.update_state(tf.reduce_mean(right, axis=(0, 2, 3, 4)), is_image)
        return {**logs, "rounded_accuracy": self.rounded_accuracy.result()}
