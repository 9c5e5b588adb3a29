"""The SavedModel: the only thing that later components know of a model."""

import tensorflow as tf

from components import content_noise
from components.image_binarizer.binarize import observe, parse_examples
from components.image_binarizer.image_format import ImageFormat
from components.trainer.config import TrainingConfig
from components.trainer.vae.model import VariationalAutoencoder
from components.trainer.vae.objectives import importance_weighted_bound
from components.trainer.vae.priors import FixedMixture, MixturePrior

# Decoded values that are in memory at once: 64 MiB of float32.
_MAX_DECODED_VALUES = 1 << 24
# Codes an image that are drawn together; part of what a score's noise is, so not to be changed.
_CODES_A_DRAW = 50


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

    def __init__(
        self, model: VariationalAutoencoder, config: TrainingConfig, image_format: ImageFormat
    ):
        """Wraps a model.

        Args:
          model: A trained model.
          config: `importance_samples` is K of the importance-weighted bound.
          image_format: What the stored pixels mean.
        """
        super().__init__(name="vae")
        # Bound methods, because a tracked Keras model would be traced and saved whole.
        self._encoder = model.encoder.__call__
        self._decoder = model.decoder.__call__
        self._posterior_type = model.posterior_type
        self._analytic_rate = model.analytic_rate
        self._num_samples = config.importance_samples
        self._latent_size = model.latent_size
        self._format = image_format
        prior = model.prior
        if isinstance(prior, MixturePrior):
            # A decoder alone must not need the encoder, from which a VampPrior is computed.
            prior = FixedMixture(prior)
        self._prior_log_prob, self._prior_sample = prior.log_prob, prior.sample
        likelihood = model.likelihood
        self._negative_log_likelihood = likelihood.negative_log_likelihood
        self._statistics = {
            "mean": lambda parameters, uniform: likelihood.mean(parameters),
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

        The distortion is averaged over K codes, and so is the rate where it has no closed form; the
        bound is log 1/K sum_k p(x|z_k) p(z_k) / q(z_k|x) (Burda et al. 2016, equation 8).
        """
        pixels = parse_examples(examples, self._format)
        images = observe(pixels, self._format)
        parameters = self._encoder(images)
        posterior = self._posterior_type.from_parameters(parameters)
        key = content_noise.content_key(pixels)
        scores = self._in_groups(
            self._score, {"images": images, "parameters": parameters, "key": key}
        )
        rate = posterior.kl_to_standard_normal() if self._analytic_rate else scores["log_ratio"]
        return {
            "elbo": -(scores["distortion"] + rate),
            "distortion": scores["distortion"],
            "rate": rate,
            "importance_weighted_bound": scores["bound"],
            "posterior_mean": posterior.mean,
            "posterior_variance": posterior.variance,
        }

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
        codes = self._prior_sample(noise, uniform)
        return {**self._images(codes), "z": codes}

    def _posterior(self, images: tf.Tensor):
        return self._posterior_type.from_parameters(self._encoder(images))

    def _score(self, group: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Means over K codes of a group of images, each [B]."""
        images = group["images"]
        posterior = self._posterior_type.from_parameters(group["parameters"])

        def draw(chunk: tf.Tensor, count: int) -> tuple[tf.Tensor, tf.Tensor]:
            noise = content_noise.content_normal(
                group["key"], [count, self._latent_size], content_noise.LATENT_STREAM, chunk
            )
            codes = posterior.sample(tf.transpose(noise, [1, 0, 2]))
            parameters = self._decoder(tf.reshape(codes, [-1, self._latent_size]))
            shape = tf.concat([tf.shape(codes)[:2], tf.shape(parameters)[1:]], axis=0)
            distortion = self._negative_log_likelihood(images, tf.reshape(parameters, shape))
            return distortion, posterior.log_prob(codes) - self._prior_log_prob(codes)

        whole, left = divmod(self._num_samples, _CODES_A_DRAW)
        parts = []
        if whole:
            spec = tf.TensorSpec([_CODES_A_DRAW, None], tf.float32)
            drawn = tf.map_fn(
                lambda chunk: draw(chunk, _CODES_A_DRAW),
                tf.range(whole),
                fn_output_signature=(spec, spec),
                parallel_iterations=1,
            )
            size = whole * _CODES_A_DRAW
            parts.append([tf.reshape(part, [size, tf.shape(images)[0]]) for part in drawn])
        if left:
            parts.append(draw(tf.constant(whole), left))
        distortion, log_ratio = (tf.concat(part, axis=0) for part in zip(*parts, strict=True))
        return {
            "distortion": tf.reduce_mean(distortion, axis=0),
            "log_ratio": tf.reduce_mean(log_ratio, axis=0),
            "bound": importance_weighted_bound(-distortion - log_ratio),
        }

    def _in_groups(self, function, values: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Applies a function to a few images at a time, so that memory does not grow with B."""
        decoded_at_once = min(self._num_samples, _CODES_A_DRAW) * self._format.num_pixels
        size = max(1, _MAX_DECODED_VALUES // decoded_at_once)
        count = tf.shape(values["key"])[0]
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
            fn_output_signature={
                name: tf.TensorSpec([None], tf.float32)
                for name in ("distortion", "log_ratio", "bound")
            },
            parallel_iterations=1,
        )
        return {name: tf.reshape(value, [-1])[:count] for name, value in scores.items()}

    def _images(self, z: tf.Tensor) -> dict[str, tf.Tensor]:
        parameters = self._decoder(z)
        uniform = content_noise.content_uniform(
            content_noise.float_key(z), list(self._format.shape), content_noise.OUTPUT_STREAM
        )
        return {name: value(parameters, uniform) for name, value in self._statistics}


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
