"""The SavedModel: the only thing that later components know of a model."""

import math

import tensorflow as tf

from components import content_noise
from components.image_binarizer.binarize import observe, parse_examples
from components.image_binarizer.image_format import ImageFormat
from components.trainer.vae.model import VariationalAutoencoder
from components.trainer.vae.posterior import DiagonalNormal, standard_normal_log_prob


class ExportedVae(tf.Module):
    """The signatures of a trained VAE, over tensors alone, holding weights and nothing else.

    | signature | inputs | outputs |
    |---|---|---|
    | `evaluate` | `examples` string [B] | `elbo`, `distortion`, `rate`, `importance_weighted_bound` [B]; `posterior_mean`, `posterior_variance` [B, D] |
    | `encode` | `images` [B, H, W, C] | `mean`, `variance` [B, D] |
    | `decode` | `z` [B, D] | `mean`, `mode`, `sample` [B, H, W, C] |
    | `reconstruct` | `images` [B, H, W, C] | `mean`, `mode`, `sample` [B, H, W, C] |
    | `generate` | `number`, `seed` int64 [] | `mean`, `mode`, `sample` [N, H, W, C]; `z` [N, D] |

    `serving_default` is `decode`. Scores are nats per image, at KL weight 1.
    """  # noqa: E501

    def __init__(self, model: VariationalAutoencoder, importance_samples: int):
        """Wraps a model.

        Args:
          model: A trained model.
          importance_samples: K of the importance-weighted bound.
        """
        super().__init__(name="vae")
        # Bound methods, because a tracked Keras model would be traced and saved whole.
        self._encoder = model.encoder.__call__
        self._decoder = model.decoder.__call__
        self._likelihood = model.likelihood
        self._num_samples = importance_samples
        self._latent_size = model.latent_size
        self._format: ImageFormat = model.image_format
        # The SavedModel owns these and nothing else: no optimizer, no metric.
        self.weights = model.encoder.variables + model.decoder.variables

    def signatures(self) -> dict[str, tf.types.experimental.ConcreteFunction]:
        """Traced functions by signature name."""
        images = tf.TensorSpec([None, *self._format.shape], tf.float32, name="images")
        codes = tf.TensorSpec([None, self._latent_size], tf.float32, name="z")
        examples = tf.TensorSpec([None], tf.string, name="examples")
        number = tf.TensorSpec([], tf.int64, name="number")
        seed = tf.TensorSpec([], tf.int64, name="seed")
        decode = self.decode.get_concrete_function(codes)
        return {
            "serving_default": decode,
            "decode": decode,
            "evaluate": self.evaluate.get_concrete_function(examples),
            "encode": self.encode.get_concrete_function(images),
            "reconstruct": self.reconstruct.get_concrete_function(images),
            "generate": self.generate.get_concrete_function(number, seed),
        }

    @tf.function(autograph=False)
    def evaluate(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        """Scores model-ready Examples; noise is seeded by each image's content.

        The distortion is averaged over K codes, the rate is analytic, and the bound is
        log 1/K sum_k p(x|z_k) p(z_k) / q(z_k|x) (Burda et al. 2016, equation 8).
        """
        pixels = parse_examples(examples, self._format)
        images = observe(pixels, self._format)
        posterior = DiagonalNormal.from_parameters(self._encoder(images))
        draws = content_noise.content_normal(
            content_noise.content_key(pixels),
            [self._num_samples, self._latent_size],
            content_noise.LATENT_STREAM,
        )

        def one_sample(noise: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            z = posterior.sample(noise)
            distortion = self._likelihood.negative_log_likelihood(images, self._decoder(z))
            log_weight = standard_normal_log_prob(z) - posterior.log_prob(z) - distortion
            return distortion, log_weight

        # One sample at a time: memory is a batch of decodes, whatever K is.
        distortions, log_weights = tf.map_fn(
            one_sample,
            tf.transpose(draws, [1, 0, 2]),
            fn_output_signature=(tf.float32, tf.float32),
            parallel_iterations=1,
        )
        distortion = tf.reduce_mean(distortions, axis=0)
        rate = tf.reduce_sum(posterior.kl_per_dimension(), axis=-1)
        bound = tf.reduce_logsumexp(log_weights, axis=0) - math.log(self._num_samples)
        return {
            "elbo": -(distortion + rate),
            "distortion": distortion,
            "rate": rate,
            "importance_weighted_bound": bound,
            "posterior_mean": posterior.mean,
            "posterior_variance": tf.square(posterior.scale),
        }

    @tf.function(autograph=False)
    def encode(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """Posterior mean and variance of model-ready images."""
        posterior = DiagonalNormal.from_parameters(self._encoder(images))
        return {"mean": posterior.mean, "variance": tf.square(posterior.scale)}

    @tf.function(autograph=False)
    def decode(self, z: tf.Tensor) -> dict[str, tf.Tensor]:
        """Images of codes; the sample's noise is seeded by the code itself."""
        return self._images(z)

    @tf.function(autograph=False)
    def reconstruct(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """Images of the posterior means of images."""
        return self._images(DiagonalNormal.from_parameters(self._encoder(images)).mean)

    @tf.function(autograph=False)
    def generate(self, number: tf.Tensor, seed: tf.Tensor) -> dict[str, tf.Tensor]:
        """Images of codes drawn from the prior; image i of a seed is the same for any number."""
        keys = tf.range(number)
        codes = tf.map_fn(
            lambda key: tf.random.stateless_normal([self._latent_size], tf.stack([seed, key])),
            keys,
            fn_output_signature=tf.TensorSpec([self._latent_size], tf.float32),
        )
        return {**self._images(codes), "z": codes}

    def _images(self, z: tf.Tensor) -> dict[str, tf.Tensor]:
        parameters = self._decoder(z)
        uniform = content_noise.content_uniform(
            content_noise.float_key(z), list(self._format.shape), content_noise.OUTPUT_STREAM
        )
        return {
            "mean": self._likelihood.mean(parameters),
            "mode": self._likelihood.mode(parameters),
            "sample": self._likelihood.sample(parameters, uniform),
        }


def export(model: VariationalAutoencoder, importance_samples: int, path: str) -> None:
    """Saves the signatures of a trained model.

    Args:
      model: The model, with the weights that count.
      importance_samples: K of the importance-weighted bound.
      path: Folder of the SavedModel.
    """
    module = ExportedVae(model, importance_samples)
    tf.saved_model.save(module, path, signatures=module.signatures())
