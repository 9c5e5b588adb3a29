"""Signatures of one SavedModel made of those of another, with the weights that they use."""

import tensorflow as tf

from components.errors import InputError


def load_model(model_path: str, names: tuple[str, ...]):
    """Loads a SavedModel, which must be held as long as its signatures: it owns their variables.

    Args:
      model_path: The SavedModel.
      names: The signatures that it must have.

    Raises:
      InputError: If the model lacks a signature.
    """
    model = tf.saved_model.load(model_path)
    missing = [name for name in names if name not in model.signatures]
    if missing:
        raise InputError(
            f"{model_path} has no signature {', '.join(missing)}; export the model with "
            "components.trainer.export."
        )
    return model


def save_signatures(functions: dict, taken: list, path: str) -> None:
    """Saves functions, and of the weights only those that are used.

    Args:
      functions: tf.functions with an input signature, by signature name. Inputs whose Python
        default is a tensor may be left out of a request.
      taken: The loaded signatures that the functions call.
      path: Folder of the new SavedModel.
    """
    module = tf.Module(name="part")
    module.functions = functions
    # By identity: variables do not compare.
    used = {id(variable): variable for signature in taken for variable in signature.variables}
    module.weights = list(used.values())
    tf.saved_model.save(module, path, signatures=functions)
