"""Cuts the encoder out of a full SavedModel, and puts what ImageBinarizer does before it."""

import json

import numpy as np
import tensorflow as tf

from components.decoder_exporter.image_input import stored_pixels, stored_pixels_of_files
from components.decoder_exporter.signatures import load_model, save_signatures
from components.image_binarizer.image_format import ImageFormat
from components.serving_warmup import write_warmup_requests

ENCODER_SIGNATURES = ("encode_stored", "describe")

_LEAST_VARIANCE = np.finfo(np.float32).tiny


def export_encoder(model_path: str, encoder_path: str) -> None:
    """Writes the encoder of a full model.

    Args:
      model_path: SavedModel with the signatures of `components.trainer.export.ExportedVae`.
      encoder_path: Where the encoder's SavedModel goes: `serving_default` and `encode` (files) and
        `encode_pixels` (uint8 pixels), both to mean, log_variance, code; with warm-up requests.

    Raises:
      InputError: If the model lacks a signature.
    """
    model = load_model(model_path, ENCODER_SIGNATURES)
    card = json.loads(model.signatures["describe"]()["card"].numpy())
    image_format = ImageFormat(**card["image_format"])
    encode_stored = model.signatures["encode_stored"]

    def posterior(pixels: tf.Tensor) -> dict[str, tf.Tensor]:
        outputs = encode_stored(pixels=pixels)
        return {
            "mean": outputs["mean"],
            # The variance of a point posterior is 0, and JSON has no infinity.
            "log_variance": tf.math.log(tf.maximum(outputs["variance"], _LEAST_VARIANCE)),
            "code": outputs["code"],
        }

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)], autograph=False)
    def encode(images):
        return posterior(stored_pixels_of_files(images, image_format))

    @tf.function(input_signature=[tf.TensorSpec([None] * 4, tf.uint8)], autograph=False)
    def encode_pixels(pixels):
        return posterior(stored_pixels(pixels, image_format))

    functions = {"serving_default": encode, "encode": encode, "encode_pixels": encode_pixels}
    save_signatures(functions, [encode_stored], encoder_path)
    pixels = np.zeros([1, *image_format.shape], np.uint8)
    files = np.array([tf.io.encode_png(pixels[0]).numpy()], dtype=object)
    requests = {
        "serving_default": {"images": files},
        "encode": {"images": files},
        "encode_pixels": {"pixels": pixels},
    }
    write_warmup_requests(encoder_path, "encoder", requests)
