"""Ways in which VAEs go wrong: trainings with one fault each, and faults put into a trained model.

A training fault is a function that changes a built model before it is trained; what is exported
is whatever it has become. A model fault takes a trained SavedModel and writes another one.
"""

import math
import types
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from components.trainer.vae.posteriors import DiagonalNormal


def _with_loss(loss: Callable) -> Callable:
    """A fault in the training loss, given the mean distortion [B], the rate [B] and the model."""

    def sabotage(model) -> None:
        model.objective = types.SimpleNamespace(
            loss=lambda terms, _: loss(tf.reduce_mean(terms.distortion, axis=0), terms.rate, model)
        )

    return sabotage


def _with_batches(change: Callable[[dict], dict]) -> Callable:
    """A fault in what the model is given in training and validation."""

    def sabotage(model) -> None:
        propagate, terms = model.propagate, model.terms
        model.propagate = lambda batch: propagate(change(batch))
        model.terms = lambda batch, training=False: terms(change(batch), training)

    return sabotage


def _num_pixels(model) -> int:
    return math.prod(model.decoder.output_shape[1:])


def _permuted(images: tf.Tensor) -> tf.Tensor:
    shape = images.shape[1:]
    order = np.random.default_rng(3).permutation(shape.num_elements())
    flat = tf.reshape(images, [-1, shape.num_elements()])
    return tf.reshape(tf.gather(flat, order, axis=1), [-1, *shape])


class _ScaleForVariance(DiagonalNormal):
    """Draws codes with the variance where the standard deviation belongs."""

    def sample(self, noise: tf.Tensor) -> tf.Tensor:
        return self.mean + self.variance * noise


def _log_sigma_for_log_variance(model) -> None:
    model.posterior_type = _ScaleForVariance


def _ignore_code(model) -> None:
    decoder = model.decoder
    model.decoder = _Net(decoder, lambda codes: decoder(tf.zeros_like(codes)))


def _constant_encoder(model) -> None:
    encoder = model.encoder
    model.encoder = _Net(encoder, lambda images: encoder(tf.zeros_like(images)))


class _Net(tf.Module):
    """A net in a broken wrapper; `variables` are the net's."""

    def __init__(self, net, call: Callable[[tf.Tensor], tf.Tensor]):
        super().__init__()
        self._net = net
        self._call = call

    def __call__(self, inputs: tf.Tensor, **_) -> tf.Tensor:
        return self._call(inputs)


TRAINING_FAULTS: dict[str, Callable] = {
    "weight 1e-4": _with_loss(lambda distortion, rate, model: distortion + 1e-4 * rate),
    "weight 20": _with_loss(lambda distortion, rate, model: distortion + 20.0 * rate),
    "averaged pixels": _with_loss(
        lambda distortion, rate, model: distortion / _num_pixels(model) + rate
    ),
    "averaged rate": _with_loss(
        lambda distortion, rate, model: distortion + rate / model.latent_size
    ),
    "no rate": _with_loss(lambda distortion, rate, model: distortion),
    "rate counted twice": _with_loss(lambda distortion, rate, model: distortion + 2.0 * rate),
    "one noise for all": _with_batches(
        lambda batch: {**batch, "noise": tf.zeros_like(batch["noise"]) + batch["noise"][:1]}
    ),
    "log sigma for log variance": _log_sigma_for_log_variance,
    "inverted pixels": _with_batches(lambda batch: {**batch, "images": 1.0 - batch["images"]}),
    "shuffled pixels": _with_batches(lambda batch: {**batch, "images": _permuted(batch["images"])}),
    "decoder ignores the code": _ignore_code,
    "constant encoder": _constant_encoder,
}


def worsen(path: str, new_path: str, examples: np.ndarray, nats: float) -> None:
    """Writes a copy that is worse by so many nats an image, by a shift of the output bias."""

    def change(loaded) -> None:
        def mean_elbo():
            scores = loaded.signatures["evaluate"](examples=tf.constant(examples))
            return float(tf.reduce_mean(scores["elbo"]))

        bias = [variable for variable in loaded.weights if variable.shape.rank == 1][-1]
        own, shift = mean_elbo(), 0.5
        for _ in range(6):
            bias.assign_add(tf.fill(bias.shape, shift))
            loss = own - mean_elbo()
            bias.assign_sub(tf.fill(bias.shape, shift))
            # A loss near an optimum grows with the square of the shift.
            shift *= (nats / loss) ** 0.5
        bias.assign_add(tf.fill(bias.shape, shift))

    change_weights(path, new_path, change)


def _nan_weight(loaded) -> None:
    kernel = next(variable for variable in loaded.weights if variable.shape.rank == 2)
    kernel.assign(tf.tensor_scatter_nd_update(kernel, [[3, 5]], [np.nan]))


def _quantise(loaded) -> None:
    """Two bits a weight."""
    for variable in loaded.weights:
        step = tf.reduce_max(tf.abs(variable)) / 1.5 + 1e-9
        variable.assign(tf.round(variable / step) * step)


def change_weights(path: str, new_path: str, change: Callable) -> None:
    """Writes a copy of an exported model with other weights."""
    loaded = tf.saved_model.load(path)
    change(loaded)
    tf.saved_model.save(loaded, new_path, signatures=loaded.signatures)


def change_signatures(path: str, new_path: str, changes: dict[str, Callable | None]) -> None:
    """Writes a copy of an exported model with other outputs of some signatures; None drops one."""
    module = tf.Module()
    module.loaded = tf.saved_model.load(path)
    signatures = {}
    for name, signature in module.loaded.signatures.items():
        change = changes.get(name, lambda inputs, outputs: outputs)
        if change is None:
            continue

        def call(signature=signature, change=change, **inputs):
            return change(inputs, signature(**inputs))

        specs = signature.structured_input_signature[1]
        signatures[name] = tf.function(call, autograph=False).get_concrete_function(**specs)
    tf.saved_model.save(module, new_path, signatures=signatures)


def _nan_for_one_image(inputs: dict, outputs: dict) -> dict:
    keys = tf.strings.to_hash_bucket_fast(inputs["examples"], 100)
    return {**outputs, "elbo": tf.where(keys == 7, np.nan, outputs["elbo"])}


def _inverted(inputs: dict, outputs: dict) -> dict:
    return {**outputs, "mean": 1.0 - outputs["mean"]}


def _averaged_scores(inputs: dict, outputs: dict) -> dict:
    pixels = 64.0
    return {
        **outputs,
        **{name: outputs[name] / pixels for name in ("elbo", "distortion", "rate")},
    }


WEIGHT_FAULTS: dict[str, Callable] = {
    "NaN in one weight": _nan_weight,
    "two bits a weight": _quantise,
}
SIGNATURE_FAULTS: dict[str, dict] = {
    "NaN for some images": {"evaluate": _nan_for_one_image},
    "decoder exported inverted": {"decode": _inverted, "serving_default": _inverted},
    "averaged scores": {"evaluate": _averaged_scores},
    "no evaluate": {"evaluate": None},
    "no generate": {"generate": None},
}
