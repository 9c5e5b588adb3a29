"""Cuts the decoder out of a full SavedModel, from its signatures alone."""

import tensorflow as tf

from components.errors import InputError

SIGNATURES = ("decode", "generate")


class Decoder(tf.Module):
    """Signatures of another SavedModel, with only the weights that they use."""

    def __init__(self, model, names: tuple[str, ...]):
        """Takes signatures over.

        Args:
          model: A loaded SavedModel.
          names: The signatures to keep.
        """
        super().__init__(name="decoder")
        self.functions = {name: self._take_over(model.signatures[name]) for name in names}
        used = (variable for name in names for variable in model.signatures[name].variables)
        # By identity: variables do not compare.
        self.weights = list({id(variable): variable for variable in used}.values())

    @staticmethod
    def _take_over(signature):
        inputs = signature.structured_input_signature[1]
        names = sorted(inputs)
        specs = [tf.TensorSpec(inputs[name].shape, inputs[name].dtype, name=name) for name in names]

        @tf.function(input_signature=specs, autograph=False)
        def call(*tensors):
            return signature(**dict(zip(names, tensors, strict=True)))

        return call


def export_decoder(model_path: str, decoder_path: str) -> None:
    """Writes the decoder of a full model.

    Args:
      model_path: SavedModel with the signatures of `components.trainer.export.ExportedVae`.
      decoder_path: Where the decoder's SavedModel goes: `serving_default` and `decode`
        (z -> mean, mode, sample) and `generate` (number, seed -> mean, mode, sample, z).

    Raises:
      InputError: If the model lacks a signature.
    """
    model = tf.saved_model.load(model_path)
    missing = [name for name in SIGNATURES if name not in model.signatures]
    if missing:
        raise InputError(
            f"{model_path} has no signature {', '.join(missing)}; export the model with "
            "components.trainer.export."
        )
    decoder = Decoder(model, SIGNATURES)
    signatures = {
        name: function.get_concrete_function() for name, function in decoder.functions.items()
    }
    tf.saved_model.save(
        decoder, decoder_path, signatures={**signatures, "serving_default": signatures["decode"]}
    )
