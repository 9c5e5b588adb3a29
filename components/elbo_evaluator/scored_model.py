"""A SavedModel as the gate sees it: signatures that score images, and a card."""

import json
import os
import threading
import weakref
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from components.champion_resolver.executor import CHAMPION_SIGNATURES
from components.errors import InputError
from components.image_binarizer.image_format import ImageFormat

# Independent pixels lack the others: they have no code, and are no candidate.
CANDIDATE_SIGNATURES = (
    *CHAMPION_SIGNATURES,
    "importance_weighted_bound",
    "kl_weight_slopes",
    "encode",
    "decode",
    "reconstruct",
    "generate",
)


_LOADED: weakref.WeakValueDictionary[str, "ScoredModel"] = weakref.WeakValueDictionary()
_LOADING = threading.Lock()


def load_scored_model(path: str) -> "ScoredModel":
    """Loads a model, or gives the one that this process has loaded from there and still uses.

    Args:
      path: Folder of the SavedModel.

    Raises:
      InputError: If it cannot be loaded, or lacks what a champion needs.
    """
    with _LOADING:
        model = _LOADED.get(path)
        if model is None:
            model = _LOADED[path] = ScoredModel(path)
        return model


class ScoredModel:
    """A loaded model, with the signatures that a champion needs.

    Attributes:
      path: Its SavedModel.
      card: What it says of itself: `image_format` and `training`.
    """

    def __init__(self, path: str):
        """Loads a model.

        Args:
          path: Folder of the SavedModel.

        Raises:
          InputError: If it cannot be loaded, or lacks what a champion needs.
        """
        self.path = path
        try:
            loaded = tf.saved_model.load(path)
        # A damaged file may make loading fail in any way.
        except Exception as error:
            raise InputError(
                f"{path} cannot be loaded ({type(error).__name__}: {error})"
            ) from error
        # The signatures alone would not keep the variables alive.
        self._loaded = loaded
        self.signatures = loaded.signatures
        self.check_signatures(CHAMPION_SIGNATURES)
        try:
            self.card: Mapping[str, Any] = json.loads(self.call("describe")["card"])
            self.image_format = ImageFormat(**self.card["image_format"])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(
                f"{path} has a signature `describe` that gives no card ({error!r})"
            ) from error

    def check_signatures(self, needed: tuple[str, ...]) -> None:
        """Refuses a model without some signatures.

        Raises:
          InputError: Naming those that are missing and those that are there.
        """
        missing = [name for name in needed if name not in self.signatures]
        if missing:
            raise InputError(
                f"{self.path} has no signature {', '.join(missing)}; it has "
                f"{', '.join(sorted(self.signatures)) or 'none'}"
            )

    @property
    def training(self) -> Mapping[str, Any]:
        """What trained it: fields of TrainingConfig."""
        return self.card.get("training", {})

    def non_finite_weights(self) -> int:
        """How many weights hold NaN or infinity.

        A rectifier may turn NaN into 0 on one kind of device and not on another.
        """
        reader = tf.train.load_checkpoint(os.path.join(self.path, "variables", "variables"))
        types = reader.get_variable_to_dtype_map()
        names = [name for name, dtype in types.items() if dtype.is_floating]
        return sum(not np.isfinite(reader.get_tensor(name)).all() for name in names)

    def call(self, signature: str, **inputs: Any) -> dict[str, np.ndarray]:
        """Calls a signature with tensors by name."""
        outputs = self.signatures[signature](**{k: tf.constant(v) for k, v in inputs.items()})
        return {name: value.numpy() for name, value in outputs.items()}

    def score(self, examples: np.ndarray) -> dict[str, np.ndarray]:
        """Scores of serialized Examples, object array [B]: see `evaluate`."""
        return self.call("evaluate", examples=examples)

    def bound(self, examples: np.ndarray, number: int) -> dict[str, np.ndarray]:
        """The importance-weighted bound of serialized Examples, object array [B], with K codes."""
        return self.call("importance_weighted_bound", examples=examples, number=np.int64(number))

    def slopes(self, examples: np.ndarray) -> dict[str, np.ndarray]:
        """What the KL weight is read off from, of serialized Examples, object array [B]."""
        return self.call("kl_weight_slopes", examples=examples)
