"""The requests that a decoder is tried and warmed up with."""

import numpy as np
import tensorflow as tf

from components.errors import InputError

MODEL_NAME = "decoder"
# Inputs that a request may leave out; below they have the values that a server fills in.
OPTIONAL_INPUTS = {"generate": "temperature", "interpolate": "spherical"}

_NUM_CODES = 8
_NUM_GENERATED = 4
_NUM_STEPS = 3
_SIGNATURES = ("serving_default", "decode", "generate", "interpolate")


def requests_of(model) -> dict[str, dict[str, np.ndarray]]:
    """Inputs for every signature, the same on every call.

    Args:
      model: A loaded decoder.

    Raises:
      InputError: If it lacks a signature.
    """
    missing = [name for name in _SIGNATURES if name not in model.signatures]
    if missing:
        raise InputError(
            f"The decoder has no signature {', '.join(missing)}; export it with DecoderExporter."
        )
    codes_spec = model.signatures["decode"].structured_input_signature[1]["z"]
    codes = tf.random.stateless_normal([_NUM_CODES, codes_spec.shape[1]], seed=[0, 1]).numpy()
    return {
        "serving_default": {"z": codes},
        "decode": {"z": codes},
        "generate": {
            "number": np.int64(_NUM_GENERATED),
            "seed": np.int64(0),
            "temperature": np.float32(1.0),
        },
        "interpolate": {
            "start": codes[0],
            "end": codes[1],
            "steps": np.int64(_NUM_STEPS),
            "spherical": np.bool_(True),
        },
    }
