"""A variational autoencoder as a subclassed Keras model that adds its loss inside `call`."""

import tensorflow as tf
import tf_keras

from components import content_noise
from components.image_binarizer.binarize import observe
from components.image_binarizer.image_format import ImageFormat
from components.trainer.vae.likelihood import Bernoulli
from components.trainer.vae.posterior import DiagonalNormal


class VariationalAutoencoder(tf_keras.Model):
    """p(z) = N(0, I), q(z|x) a diagonal Gaussian, p(x|z) independent Bernoulli pixels.

    The loss is `distortion + kl_weight * rate`: each summed over pixels or latent dimensions, in
    nats per image, and averaged over the batch (Kingma & Welling 2014, equation 10; the weight is
    the beta of Higgins et al. 2017). The tracked `elbo` is `-(distortion + rate)` whatever the
    weight.

    Training draws a new noise vector per image from a generator that checkpoints with the model;
    validation seeds the noise by the image, so that a validation ELBO repeats exactly.
    """

    def __init__(
        self,
        encoder: tf_keras.Model,
        decoder: tf_keras.Model,
        image_format: ImageFormat,
        kl_weight: float = 1.0,
        seed: int = 0,
    ):
        """Builds the model; call it under the strategy's scope.

        Args:
          encoder: Images [B, H, W, C] to posterior parameters [B, 2D].
          decoder: Codes [B, D] to logits [B, H, W, C].
          image_format: What the stored pixels mean.
          kl_weight: The weight of the rate in the training loss.
          seed: Seed of the training noise.
        """
        super().__init__(name="vae")
        self.encoder = encoder
        self.decoder = decoder
        self.image_format = image_format
        self.kl_weight = kl_weight
        self.latent_size = decoder.input_shape[-1]
        self.likelihood = Bernoulli
        self.noise = tf.random.Generator.from_seed(seed)
        self.elbo_tracker = tf_keras.metrics.Mean(name="elbo")
        self.rate_tracker = tf_keras.metrics.Mean(name="rate")
        self.distortion_tracker = tf_keras.metrics.Mean(name="distortion")

    def encode(self, images: tf.Tensor) -> DiagonalNormal:
        """q(z|x) of images [B, H, W, C]."""
        return DiagonalNormal.from_parameters(self.encoder(images))

    def call(self, pixels: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Adds the loss of a batch of stored pixels, uint8 [B, H, W, C]; returns the logits."""
        if training:
            images = observe(
                pixels, self.image_format, lambda: self.noise.uniform(tf.shape(pixels))
            )
            draw = self.noise.normal([tf.shape(pixels)[0], self.latent_size])
        else:
            images = observe(pixels, self.image_format)
            draw = content_noise.content_normal(
                content_noise.content_key(pixels),
                [self.latent_size],
                content_noise.LATENT_STREAM,
            )
        posterior = self.encode(images)
        logits = self.decoder(posterior.sample(draw))
        distortion = self.likelihood.negative_log_likelihood(images, logits)
        rate = tf.reduce_sum(posterior.kl_per_dimension(), axis=-1)
        self.add_loss(tf.reduce_mean(distortion + self.kl_weight * rate))
        self.elbo_tracker.update_state(-(distortion + rate))
        self.rate_tracker.update_state(rate)
        self.distortion_tracker.update_state(distortion)
        return logits

    # AutoGraph does not know that tf_keras needs no conversion, and would rewrite the source of
    # every Keras function that a step calls: half a minute before the first batch.

    @tf.autograph.experimental.do_not_convert
    def train_step(self, data):
        """Keras's own step."""
        return super().train_step(data)

    @tf.autograph.experimental.do_not_convert
    def test_step(self, data):
        """Keras's own step."""
        return super().test_step(data)
