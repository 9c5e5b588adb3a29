"""Cuts the decoder out of a full SavedModel, from its signatures alone."""

import numpy as np
import tensorflow as tf

from components.decoder_exporter.interpolation import codes_between
from components.decoder_exporter.signatures import load_model, save_signatures
from components.errors import InputError

SIGNATURES = ("decode", "generate", "prior_codes")

_SCALAR_INT = tf.TensorSpec([], tf.int64)
_NUM_COMPARED = 4
_TOLERANCE = 1e-5


def export_decoder(model_path: str, decoder_path: str) -> None:
    """Writes the decoder of a full model.

    Args:
      model_path: SavedModel with the signatures of `components.trainer.export.ExportedVae`.
      decoder_path: Where the decoder's SavedModel goes: `serving_default` and `decode`
        (z -> mean, mode, sample), `generate` (number, seed, temperature -> mean, mode, sample, z)
        and `interpolate` (start, end, steps, spherical -> mean, mode, sample, z).

    Raises:
      InputError: If the model lacks a signature, or gives other images of the prior's codes than
        those that it was judged by.
    """
    model = load_model(model_path, SIGNATURES)
    decode, prior_codes = model.signatures["decode"], model.signatures["prior_codes"]
    codes = decode.structured_input_signature[1]["z"]

    @tf.function(
        input_signature=[tf.TensorSpec(codes.shape, tf.float32, name="z")], autograph=False
    )
    def decode_codes(z):
        return decode(z=z)

    # Defaults that are tensors go into the SignatureDef, and a request may leave them out.
    temperature_of_prior, on_circle = tf.constant(1.0), tf.constant(True)

    @tf.function(
        input_signature=[_SCALAR_INT, _SCALAR_INT, tf.TensorSpec([], tf.float32)], autograph=False
    )
    def generate(number, seed, temperature=temperature_of_prior):
        z = prior_codes(number=number, seed=seed, temperature=temperature)["z"]
        return {**decode(z=z), "z": z}

    code = tf.TensorSpec(codes.shape[1:], tf.float32)

    @tf.function(
        input_signature=[code, code, _SCALAR_INT, tf.TensorSpec([], tf.bool)], autograph=False
    )
    def interpolate(start, end, steps, spherical=on_circle):
        z = codes_between(start, end, steps, spherical)
        return {**decode(z=z), "z": z}

    _check_generate(model_path, generate, model.signatures["generate"])
    functions = {
        "serving_default": decode_codes,
        "decode": decode_codes,
        "generate": generate,
        "interpolate": interpolate,
    }
    save_signatures(functions, [decode, prior_codes], decoder_path)


def _check_generate(model_path: str, ours, judged) -> None:
    """Compares with the `generate` that the gate looked at."""
    inputs = {"number": tf.constant(_NUM_COMPARED, tf.int64), "seed": tf.constant(0, tf.int64)}
    expected, given = judged(**inputs), ours(**inputs, temperature=tf.constant(1.0))
    for name in ("z", "mean"):
        if not np.allclose(given[name], expected[name], atol=_TOLERANCE, equal_nan=True):
            raise InputError(
                f"{model_path}: {name} of generate is not that of prior_codes and decode; export "
                "the model with components.trainer.export."
            )
