"""Formulation b: tfpl layers at both ends, and the KL as a regulariser of the first.

Two traps of tfpl are stepped around. `tfpl.KLDivergenceRegularizer` counts the KL twice, because
Keras calls a regulariser for each of the two outputs that a tfpl layer has (TFP issue 1215), so the
regulariser here takes the distribution and ignores its value. And a tfpl layer draws its own noise,
so here it is given a function that takes the batch's.
"""

import abc

import numpy as np
import tensorflow as tf
import tf_keras
from tensorflow_probability.python import distributions as tfd
from tensorflow_probability.python import layers as tfpl

from components.trainer.input import Batch
from components.trainer.vae.model import VariationalAutoencoder


class KlOnceRegularizer(tf_keras.regularizers.Regularizer):
    """weight * KL(q(z|x) || N(0, I)), once for each image, as the regulariser of a tfpl layer.

    Attributes:
      batch: What the layer is called with; sets noise and weights of the images.
      kl_weight: The weight of the rate, [].
    """

    def __init__(self, prior: tfd.Distribution, analytic: bool):
        self._prior = prior
        self._analytic = analytic
        self.batch: Batch | None = None
        self.kl_weight: tf.Tensor | None = None

    def reparameterize(self, posterior: tfd.Distribution) -> tf.Tensor:
        """The code, [B, D], from the batch's noise."""
        noise = self.batch["noise"][:, 0]
        if isinstance(posterior, tfd.Independent):
            return posterior.mean() + posterior.stddev() * noise
        return posterior.loc + posterior.scale.matvec(noise)

    def __call__(self, output: tfd.Distribution | tf.Tensor) -> tf.Tensor:
        """The batch's sum, which Keras divides by the number of images."""
        if not isinstance(output, tfd.Distribution):
            return tf.constant(0.0)
        if self._analytic:
            rate = tfd.kl_divergence(output, self._prior)
        else:
            code = tf.convert_to_tensor(output)
            rate = output.log_prob(code) - self._prior.log_prob(code)
        return tf.reduce_sum(self.batch["weight"] * self.kl_weight * rate)


class TfpPosterior(VariationalAutoencoder, abc.ABC):
    """An encoder that ends in a tfpl layer, trained by Keras with a loss; what b, c and d share."""

    def __init__(self, config, *args, **kwargs):
        """As VariationalAutoencoder."""
        super().__init__(config, *args, **kwargs)
        zeros = tf.zeros(self.latent_size)
        # TFP knows the KL of an Independent from an Independent alone.
        layer, event, prior = {
            "diagonal": (
                tfpl.IndependentNormal,
                (self.latent_size,),
                tfd.Independent(tfd.Normal(zeros, 1.0), reinterpreted_batch_ndims=1),
            ),
            "full_covariance": (
                tfpl.MultivariateNormalTriL,
                self.latent_size,
                tfd.MultivariateNormalDiag(zeros),
            ),
        }[config.posterior]
        self.regularizer = KlOnceRegularizer(prior, self.analytic_rate)
        self.posterior_layer = layer(
            event,
            convert_to_tensor_fn=self.regularizer.reparameterize,
            activity_regularizer=self.regularizer,
        )

    def compile(self, optimizer: tf_keras.optimizers.Optimizer) -> None:
        """Compiles with the formulation's loss."""
        super().compile(optimizer=optimizer, loss=self.image_loss)

    @abc.abstractmethod
    def image_loss(self, images: tf.Tensor, output) -> tf.Tensor:
        """The distortion [B] of images, from what `output` gave."""

    @abc.abstractmethod
    def output(self, parameters: tf.Tensor):
        """What the decoder ends in, from its parameters [B, H, W, C * P]."""

    def call(self, batch: Batch, training: bool = False):
        """The decoder's output for one code an image; the KL is added by the regulariser."""
        self.regularizer.batch = batch
        self.regularizer.kl_weight = self.current_kl_weight()
        encoded = self.encoder(batch["images"])
        code = tf.convert_to_tensor(self.posterior_layer(encoded))
        parameters = self.decoder(code)
        if training:
            self.likelihood.fit(batch["images"], parameters[None], batch["weight"])
        output = self.output(parameters)
        distortion = self.image_loss(batch["images"], output)
        posterior = self.posterior_type.from_parameters(encoded)
        self.track(self.assemble(posterior, code[None], distortion[None]), batch)
        return output

    @tf.autograph.experimental.do_not_convert
    def train_step(self, batch: Batch) -> dict[str, tf.Tensor]:
        """Keras's own update, with the compiled loss."""
        super().train_step((batch, batch["images"], batch["weight"]))
        return {name: tracker.result() for name, tracker in self.trackers.items()}


class TfpLayers(TfpPosterior):
    """The decoder ends in a distribution too; the loss is its negative log-probability."""

    def __init__(self, *args, **kwargs):
        """As VariationalAutoencoder."""
        super().__init__(*args, **kwargs)
        shape = self.decoder.output_shape[1:]
        self.flatten = tf_keras.layers.Reshape((int(np.prod(shape)),))
        # Its value is never used, so it is what costs nothing.
        self.image_layer = tfpl.IndependentBernoulli(shape, tfd.Bernoulli.logits)

    def output(self, parameters: tf.Tensor) -> tfd.Distribution:
        """p(x|z)."""
        return self.image_layer(self.flatten(parameters))

    def image_loss(self, images: tf.Tensor, output: tfd.Distribution) -> tf.Tensor:
        """-log p(x|z), [B]."""
        return -output.log_prob(images)
