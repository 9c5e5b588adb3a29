"""The SavedModel: the only thing that later components know of a model."""

import dataclasses
import functools
import json
import math

import tensorflow as tf

from components import content_noise
from components.image_binarizer.binarize import observe, parse_examples
from components.image_binarizer.image_format import ImageFormat
from components.trainer.config import TrainingConfig
from components.trainer.vae.model import VariationalAutoencoder
from components.trainer.vae.priors import FixedMixture, MixturePrior, StandardNormal

# Decoded values that are in memory at once: 64 MiB of float32.
_MAX_DECODED_VALUES = 1 << 24
# Codes an image that are drawn together; part of what a score's noise is, so not to be changed.
_CODES_A_DRAW = 50


class ExportedVae(tf.Module):
    """The signatures of a trained VAE, over tensors alone, holding weights and nothing else.

    | signature | inputs | outputs |
    |---|---|---|
    | `evaluate` | `examples` string [B] | `elbo`, `distortion`, `rate`, `squared_error`, `rounded_accuracy` [B]; `code`, `posterior_mean`, `posterior_variance` [B, D] |
    | `importance_weighted_bound` | `examples` string [B], `number` int64 [] | `importance_weighted_bound` [B] |
    | `kl_weight_slopes` | `examples` string [B] | `distortion_slope`, `rate_slope` [B] |
    | `describe` | | `card` string []: JSON of `image_format` and `training` |
    | `encode` | `images` [B, H, W, C] | `mean`, `variance` [B, D] |
    | `decode` | `z` [B, D] | `mean`, `mode`, `sample` [B, H, W, C] |
    | `reconstruct` | `images` [B, H, W, C] | `mean`, `mode`, `sample` [B, H, W, C] |
    | `generate` | `number`, `seed` int64 [] | `mean`, `mode`, `sample` [N, H, W, C]; `z` [N, D] |
    | `prior_codes` | `number`, `seed` int64 []; `temperature` float32 [] | `z` [N, D] |
    | `encode_stored` | `pixels` uint8 [B, H, W, C], as ImageBinarizer stores them | `mean`, `variance`, `code` [B, D] |

    `serving_default` is `decode`. Scores are nats per image, at KL weight 1.
    """  # noqa: E501

    def __init__(
        self, model: VariationalAutoencoder, config: TrainingConfig, image_format: ImageFormat
    ):
        """Wraps a model.

        Args:
          model: A trained model.
          config: What trained it.
          image_format: What the stored pixels mean.
        """
        super().__init__(name="vae")
        # Bound methods, because a tracked Keras model would be traced and saved whole.
        self._encoder = model.encoder.__call__
        self._decoder = model.decoder.__call__
        self._posterior_type = model.posterior_type
        self._analytic_rate = isinstance(model.prior, StandardNormal)
        self._latent_size = model.latent_size
        self._format = image_format
        card = {"image_format": dataclasses.asdict(image_format)}
        self._card = json.dumps({**card, "training": dataclasses.asdict(config)})
        prior = model.prior
        if isinstance(prior, MixturePrior):
            # A decoder alone must not need the encoder, from which a VampPrior is computed.
            prior = FixedMixture(prior)
        self._prior_log_prob, self._prior_sample = prior.log_prob, prior.sample
        likelihood = model.likelihood
        self._negative_log_likelihood = likelihood.negative_log_likelihood
        self._mean = likelihood.mean
        self._statistics = {
            "mean": lambda parameters, uniform: self._mean(parameters),
            "mode": lambda parameters, uniform: likelihood.mode(parameters),
            "sample": likelihood.sample,
        }.items()
        # The SavedModel owns these and nothing else: no optimizer, no metric.
        self.weights = [
            variable
            for part in (model.encoder, model.decoder, prior, likelihood)
            for variable in part.variables
        ]

    def signatures(self) -> dict[str, tf.types.experimental.ConcreteFunction]:
        """Traced functions by signature name."""
        images = tf.TensorSpec([None, *self._format.shape], tf.float32, name="images")
        codes = tf.TensorSpec([None, self._latent_size], tf.float32, name="z")
        examples = tf.TensorSpec([None], tf.string, name="examples")
        number = tf.TensorSpec([], tf.int64, name="number")
        seed = tf.TensorSpec([], tf.int64, name="seed")
        temperature = tf.TensorSpec([], tf.float32, name="temperature")
        stored = tf.TensorSpec([None, *self._format.shape], tf.uint8, name="pixels")
        decode = self.decode.get_concrete_function(codes)
        return {
            "serving_default": decode,
            "decode": decode,
            "evaluate": self.evaluate.get_concrete_function(examples),
            "importance_weighted_bound": self.importance_weighted_bound.get_concrete_function(
                examples, number
            ),
            "kl_weight_slopes": self.kl_weight_slopes.get_concrete_function(examples),
            "describe": self.describe.get_concrete_function(),
            "encode": self.encode.get_concrete_function(images),
            "reconstruct": self.reconstruct.get_concrete_function(images),
            "generate": self.generate.get_concrete_function(number, seed),
            "prior_codes": self.prior_codes.get_concrete_function(number, seed, temperature),
            "encode_stored": self.encode_stored.get_concrete_function(stored),
        }

    @tf.function(autograph=False)
    def evaluate(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        """Scores model-ready Examples with one code each; noise is seeded by the image's content.

        The error of a reconstruction is that of the mean image of the drawn code.
        """
        pixels = parse_examples(examples, self._format)
        images = observe(pixels, self._format)
        parameters = self._encoder(images)
        posterior = self._posterior_type.from_parameters(parameters)
        noise = self._noise(content_noise.content_key(pixels), 1, 0)[0]
        scores = self._in_groups(
            self._score,
            {"images": images, "parameters": parameters, "noise": noise},
            ("distortion", "log_ratio", "squared_error", "rounded_accuracy"),
        )
        rate = posterior.kl_to_standard_normal() if self._analytic_rate else scores["log_ratio"]
        return {
            "elbo": -(scores["distortion"] + rate),
            "distortion": scores["distortion"],
            "rate": rate,
            "squared_error": scores["squared_error"],
            "rounded_accuracy": scores["rounded_accuracy"],
            "code": posterior.sample(noise),
            "posterior_mean": posterior.mean,
            "posterior_variance": posterior.variance,
        }

    @tf.function(autograph=False)
    def importance_weighted_bound(
        self, examples: tf.Tensor, number: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """L_K = log 1/K sum_k p(x|z_k) p(z_k) / q(z_k|x) (Burda et al. 2016, equation 8)."""
        pixels = parse_examples(examples, self._format)
        images = observe(pixels, self._format)
        return self._in_groups(
            functools.partial(self._log_mean_weight, number=number),
            {
                "images": images,
                "parameters": self._encoder(images),
                "key": content_noise.content_key(pixels),
            },
            ("importance_weighted_bound",),
            codes=_CODES_A_DRAW,
        )

    @tf.function(autograph=False)
    def kl_weight_slopes(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        """How distortion and rate change with the scale t of the posterior, z = m + e^t (z - m).

        The first is (z - m) . grad_z -log p(x|z), the second (m - z) . grad_z log p(z) less one
        for each dimension, by which the entropy of q grows. Where training has converged at a KL
        weight w, the mean of the first is -w times that of the second.
        """
        pixels = parse_examples(examples, self._format)
        images = observe(pixels, self._format)
        return self._in_groups(
            self._slopes,
            {
                "images": images,
                "parameters": self._encoder(images),
                "noise": self._noise(content_noise.content_key(pixels), 1, 0)[0],
            },
            ("distortion_slope", "rate_slope"),
        )

    @tf.function(autograph=False)
    def describe(self) -> dict[str, tf.Tensor]:
        """What trained the model, and on which images, as JSON."""
        return {"card": tf.constant(self._card)}

    @tf.function(autograph=False)
    def encode(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """Posterior mean and variance of model-ready images."""
        posterior = self._posterior(images)
        return {"mean": posterior.mean, "variance": posterior.variance}

    @tf.function(autograph=False)
    def decode(self, z: tf.Tensor) -> dict[str, tf.Tensor]:
        """Images of codes; the sample's noise is seeded by the code itself."""
        return self._images(z)

    @tf.function(autograph=False)
    def reconstruct(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """Images of the posterior means of images."""
        return self._images(self._posterior(images).mean)

    @tf.function(autograph=False)
    def generate(self, number: tf.Tensor, seed: tf.Tensor) -> dict[str, tf.Tensor]:
        """Images of codes drawn from the prior; image i of a seed is the same for any number."""
        codes = self._prior_codes(number, seed, tf.constant(1.0))
        return {**self._images(codes), "z": codes}

    @tf.function(autograph=False)
    def prior_codes(
        self, number: tf.Tensor, seed: tf.Tensor, temperature: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """Codes of the prior, its standard deviations times the temperature.

        At 1 they are those of `generate`. A mixture's Gaussians are narrowed each about its own
        mean, and keep their weights.
        """
        return {"z": self._prior_codes(number, seed, temperature)}

    @tf.function(autograph=False)
    def encode_stored(self, pixels: tf.Tensor) -> dict[str, tf.Tensor]:
        """Posteriors of stored pixels, and the codes that `evaluate` draws from them."""
        posterior = self._posterior(observe(pixels, self._format))
        noise = self._noise(content_noise.content_key(pixels), 1, 0)[0]
        return {
            "mean": posterior.mean,
            "variance": posterior.variance,
            "code": posterior.sample(noise),
        }

    def _prior_codes(self, number: tf.Tensor, seed: tf.Tensor, temperature: tf.Tensor) -> tf.Tensor:
        """Codes [N, D]; each has its own key, so that code i does not depend on N."""

        def draw(key: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            key = tf.stack([seed, key])
            return (
                tf.random.stateless_normal([self._latent_size], key),
                tf.random.stateless_uniform([], tf.random.fold_in(key, 1)),
            )

        noise, uniform = tf.map_fn(
            draw, tf.range(number), fn_output_signature=(tf.float32, tf.float32)
        )
        noise = tf.ensure_shape(noise, [None, self._latent_size])
        # Every prior's standard deviations multiply its noise.
        return self._prior_sample(temperature * noise, uniform)

    def _posterior(self, images: tf.Tensor):
        return self._posterior_type.from_parameters(self._encoder(images))

    def _noise(self, key: tf.Tensor, count: int, part: tf.Tensor | int) -> tf.Tensor:
        """Standard normal noise of codes, [count, B, D], from the keys [B] of images."""
        noise = content_noise.content_normal(
            key, [count, self._latent_size], content_noise.LATENT_STREAM, part
        )
        return tf.transpose(noise, [1, 0, 2])

    def _score(self, group: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Scores of one code an image, each [B]."""
        images = group["images"]
        posterior = self._posterior_type.from_parameters(group["parameters"])
        codes = posterior.sample(group["noise"])
        parameters = self._decoder(codes)
        mean = self._mean(parameters)
        return {
            "distortion": self._negative_log_likelihood(images, parameters),
            "log_ratio": posterior.log_prob(codes) - self._prior_log_prob(codes),
            "squared_error": _pixel_mean(tf.square(mean - images)),
            "rounded_accuracy": _pixel_mean(tf.round(mean) == tf.round(images)),
        }

    def _log_mean_weight(
        self, group: dict[str, tf.Tensor], number: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """The bound of K codes an image, drawn 50 at a time."""
        images, key = group["images"], group["key"]
        posterior = self._posterior_type.from_parameters(group["parameters"])

        def draw(drawn: tf.Tensor, log_sum: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            count = tf.minimum(number - drawn, _CODES_A_DRAW)
            codes = posterior.sample(
                self._noise(key, _CODES_A_DRAW, drawn // _CODES_A_DRAW)[:count]
            )
            parameters = self._decoder(tf.reshape(codes, [-1, self._latent_size]))
            shape = tf.concat([tf.shape(codes)[:2], tf.shape(parameters)[1:]], axis=0)
            log_weights = (
                self._prior_log_prob(codes)
                - posterior.log_prob(codes)
                - self._negative_log_likelihood(images, tf.reshape(parameters, shape))
            )
            log_sum = tf.reduce_logsumexp(tf.concat([log_sum[None], log_weights], axis=0), axis=0)
            return drawn + count, log_sum

        nothing = tf.fill(tf.shape(key), -math.inf)
        _, log_sum = tf.while_loop(
            lambda drawn, _: drawn < number,
            draw,
            (tf.zeros_like(number), tf.ensure_shape(nothing, [None])),
            parallel_iterations=1,
        )
        return {"importance_weighted_bound": log_sum - tf.math.log(tf.cast(number, tf.float32))}

    def _slopes(self, group: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        posterior = self._posterior_type.from_parameters(group["parameters"])
        codes = posterior.sample(group["noise"])
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(codes)
            distortion = self._negative_log_likelihood(group["images"], self._decoder(codes))
            log_prior = self._prior_log_prob(codes)
        spread = codes - posterior.mean

        def along(value: tf.Tensor) -> tf.Tensor:
            # A decoder that ignores the code has a slope too: zero.
            gradient = tape.gradient(value, codes, unconnected_gradients="zero")
            return tf.reduce_sum(spread * gradient, axis=-1)

        return {
            "distortion_slope": along(distortion),
            "rate_slope": -along(log_prior) - self._latent_size,
        }

    def _in_groups(
        self, function, values: dict[str, tf.Tensor], names: tuple[str, ...], codes: int = 1
    ) -> dict[str, tf.Tensor]:
        """Applies a function to a few images at a time, so that memory does not grow with B.

        Args:
          function: Takes the values of a group; returns tensors [B] by name.
          values: Tensors [B, ...] by name.
          names: Those of the results.
          codes: How many codes an image the function decodes at once.
        """
        size = max(1, _MAX_DECODED_VALUES // (codes * self._format.num_pixels))
        count = tf.shape(values["images"])[0]
        groups = (count + size - 1) // size
        # The last group is filled up with zeros, whose scores are cut off again.
        size = tf.minimum(size, tf.maximum(count, 1))
        surplus = groups * size - count
        grouped = {}
        for name, value in values.items():
            padded = tf.pad(value, [[0, surplus]] + [[0, 0]] * (len(value.shape) - 1))
            shape = tf.concat([[groups, size], tf.shape(value)[1:]], axis=0)
            grouped[name] = tf.ensure_shape(
                tf.reshape(padded, shape), [None, None, *value.shape[1:]]
            )
        scores = tf.map_fn(
            function,
            grouped,
            fn_output_signature={name: tf.TensorSpec([None], tf.float32) for name in names},
            parallel_iterations=1,
        )
        return {name: tf.reshape(value, [-1])[:count] for name, value in scores.items()}

    def _images(self, z: tf.Tensor) -> dict[str, tf.Tensor]:
        parameters = self._decoder(z)
        uniform = content_noise.content_uniform(
            content_noise.float_key(z), list(self._format.shape), content_noise.OUTPUT_STREAM
        )
        return {name: value(parameters, uniform) for name, value in self._statistics}


def _pixel_mean(values: tf.Tensor) -> tf.Tensor:
    """Mean over the pixels of each image, [B]."""
    return tf.reduce_mean(tf.cast(values, tf.float32), axis=[1, 2, 3])


def export(
    model: VariationalAutoencoder, config: TrainingConfig, image_format: ImageFormat, path: str
) -> None:
    """Saves the signatures of a trained model.

    Args:
      model: The model, with the weights that count.
      config: What trained it.
      image_format: What the stored pixels mean.
      path: Folder of the SavedModel.
    """
    module = ExportedVae(model, config, image_format)
    tf.saved_model.save(module, path, signatures=module.signatures())
