"""Executor of ChampionResolver."""

import dataclasses
import os
from typing import Any

import tensorflow as tf
from tfx import types
from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils
from tfx.utils import io_utils, path_utils

from components.champion_resolver.independent_pixels import IndependentPixels
from components.champion_resolver.registry import ChampionRegistry
from components.errors import InputError
from components.image_binarizer.image_format import ImageFormat, read_pixel_moments
from components.saved_models import version_numbers
from components.trainer.config import Likelihood

EXAMPLES_KEY = "examples"
MODEL_KEY = "model"
CHAMPION_KEY = "champion"
REGISTRY_KEY = "registry"
LIKELIHOOD_KEY = "likelihood"
GAUSSIAN_SCALE_KEY = "gaussian_scale"
SERVING_DIR_KEY = "serving_dir"
NEW_LINE_KEY = "new_line"
CODE_FINGERPRINT_KEY = "code_fingerprint"

KIND_PROPERTY = "kind"
VERSION_PROPERTY = "version"
LIKELIHOOD_PROPERTY = "likelihood"
DATASET_PROPERTY = "dataset"
INDEPENDENT_PIXELS = "independent pixels"
REGISTERED = "registered champion"

# What the gate needs of a model that it only compares with.
CHAMPION_SIGNATURES = ("evaluate", "describe")


class Executor(base_executor.BaseExecutor):
    """Copies the model to beat into an artifact."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes the champion.

        Args:
          input_dict: `examples`: model-ready Examples. `model`: the candidate; it is here so that
            the champion is looked up anew for every new candidate and only then.
          output_dict: `champion`: Model.
          exec_properties: `registry`: folder of champions. `serving_dir`: the folder that a model
            server watches. `likelihood`, `gaussian_scale`: the candidate's. `new_line`: 1 to leave
            all champions so far aside.

        Raises:
          InputError: If the champion is damaged or missing.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        examples = artifact_utils.get_single_instance(input_dict[EXAMPLES_KEY])
        champion = artifact_utils.get_single_instance(output_dict[CHAMPION_KEY])
        resolved = resolve_champion(
            ChampionRegistry(exec_properties[REGISTRY_KEY]),
            exec_properties[SERVING_DIR_KEY],
            examples.uri,
            path_utils.serving_model_dir(champion.uri),
            exec_properties[LIKELIHOOD_KEY],
            exec_properties[GAUSSIAN_SCALE_KEY],
            bool(exec_properties[NEW_LINE_KEY]),
        )
        champion.set_string_custom_property(KIND_PROPERTY, resolved.kind)
        champion.set_int_custom_property(VERSION_PROPERTY, resolved.version)
        champion.set_string_custom_property(LIKELIHOOD_PROPERTY, resolved.likelihood)
        champion.set_string_custom_property(DATASET_PROPERTY, resolved.dataset)


@dataclasses.dataclass(frozen=True)
class Resolved:
    """The model to beat.

    Attributes:
      kind: `independent pixels` or `registered champion`.
      version: Of the newest champion, whether it is to be beaten or left aside; 0 for none.
      likelihood: What its p(x|z) is.
      dataset: Name of its data set; empty if it is not known, which matches any.
    """

    kind: str
    version: int
    likelihood: str
    dataset: str


def describe_champion(kind: str, version: int) -> str:
    """A champion in words, from its custom properties."""
    if kind == INDEPENDENT_PIXELS:
        return f"{kind}, a new line after version {version}" if version else kind
    return f"{kind}, version {version}"


def resolve_champion(
    registry: ChampionRegistry,
    serving_dir: str,
    examples_uri: str,
    path: str,
    likelihood: Likelihood,
    gaussian_scale: float,
    new_line: bool = False,
) -> Resolved:
    """Writes the newest champion, or the independent-pixel model where there is none.

    Whether the two can be compared is for the gate to say.

    Args:
      registry: Where champions are.
      serving_dir: The folder that a model server watches; a version in it had a champion.
      examples_uri: Model-ready Examples that the comparison will use.
      path: Where the SavedModel goes.
      likelihood: The candidate's.
      gaussian_scale: The candidate's, for the likelihood `gaussian`.
      new_line: Whether to leave all champions so far aside.

    Raises:
      InputError: If the champion is damaged or missing.
    """
    versions = registry.versions()
    served = version_numbers(serving_dir)
    if served and not versions and not new_line:
        raise InputError(
            f"{serving_dir} has version {served[-1]}, but {registry.folder} has no champion: it "
            "was removed, or a push was interrupted. Restore it, run what was pushed again, or "
            "start a new line of champions with --new-line."
        )
    if new_line or not versions:
        image_format = ImageFormat.read(examples_uri)
        moments = read_pixel_moments(examples_uri, "train")
        IndependentPixels(moments, image_format, likelihood, gaussian_scale).save(path)
        return Resolved(INDEPENDENT_PIXELS, versions[-1] if versions else 0, likelihood, "")
    newest = registry.read(versions[-1])
    io_utils.copy_dir(newest.path, path)
    try:
        signatures = tf.saved_model.load(path).signatures
    # A damaged file may make loading fail in any way.
    except Exception as error:
        raise InputError(
            f"Champion {newest.path} cannot be loaded ({type(error).__name__}); restore it, or "
            f"remove {os.path.dirname(newest.path)} to fall back to the champion before it."
        ) from error
    missing = [name for name in CHAMPION_SIGNATURES if name not in signatures]
    if missing:
        raise InputError(
            f"Champion {newest.path} has no signature {', '.join(missing)}; remove "
            f"{os.path.dirname(newest.path)} to fall back to the champion before it, or start a "
            "new line of champions with --new-line."
        )
    dataset = newest.card.get("dataset", {}).get("name", "")
    return Resolved(REGISTERED, newest.version, newest.likelihood, dataset)
