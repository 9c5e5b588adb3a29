"""Executor of ChampionResolver."""

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
from components.tfds_example_gen.executor import DATASET_PROPERTY
from components.trainer.config import Likelihood

EXAMPLES_KEY = "examples"
MODEL_KEY = "model"
CHAMPION_KEY = "champion"
REGISTRY_KEY = "registry"
LIKELIHOOD_KEY = "likelihood"
GAUSSIAN_SCALE_KEY = "gaussian_scale"
CODE_FINGERPRINT_KEY = "code_fingerprint"

KIND_PROPERTY = "kind"
VERSION_PROPERTY = "version"
LIKELIHOOD_PROPERTY = "likelihood"
INDEPENDENT_PIXELS = "independent pixels"
REGISTERED = "registered champion"


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
          exec_properties: `registry`: folder of champions. `likelihood`, `gaussian_scale`: the
            candidate's.

        Raises:
          InputError: If the champion is damaged, or of another data set, kind of image or
            likelihood.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        examples = artifact_utils.get_single_instance(input_dict[EXAMPLES_KEY])
        champion = artifact_utils.get_single_instance(output_dict[CHAMPION_KEY])
        registry = ChampionRegistry(exec_properties[REGISTRY_KEY])
        likelihood = exec_properties[LIKELIHOOD_KEY]
        kind, version = resolve_champion(
            registry,
            examples.uri,
            path_utils.serving_model_dir(champion.uri),
            likelihood,
            exec_properties[GAUSSIAN_SCALE_KEY],
            examples.get_string_custom_property(DATASET_PROPERTY),
        )
        champion.set_string_custom_property(KIND_PROPERTY, kind)
        champion.set_int_custom_property(VERSION_PROPERTY, version)
        champion.set_string_custom_property(LIKELIHOOD_PROPERTY, likelihood)


def describe_champion(kind: str, version: int) -> str:
    """A champion in words, from its custom properties."""
    return f"{kind}, version {version}" if version else kind


def resolve_champion(
    registry: ChampionRegistry,
    examples_uri: str,
    path: str,
    likelihood: Likelihood,
    gaussian_scale: float,
    dataset: str = "",
) -> tuple[str, int]:
    """Writes the newest champion, or the independent-pixel model where there is none.

    Args:
      registry: Where champions are.
      examples_uri: Model-ready Examples that the comparison will use.
      path: Where the SavedModel goes.
      likelihood: The candidate's.
      gaussian_scale: The candidate's, for the likelihood `gaussian`.
      dataset: The data set's name; empty if it is not known, which matches any.

    Returns:
      What kind of champion it is, and its version (0 for the independent-pixel model).

    Raises:
      InputError: If the champion is damaged, or of another data set, kind of image or likelihood.
    """
    image_format = ImageFormat.read(examples_uri)
    newest = registry.newest()
    if newest is None:
        moments = read_pixel_moments(examples_uri, "train")
        IndependentPixels(moments, image_format, likelihood, gaussian_scale).save(path)
        return INDEPENDENT_PIXELS, 0
    theirs = newest.card.get("dataset", {}).get("name", "")
    if newest.image_format != image_format or (dataset and theirs and dataset != theirs):
        raise InputError(
            f"Champion {newest.version} in {registry.folder} is a model of {theirs} "
            f"({newest.image_format}); this data is {dataset} ({image_format}), so their ELBOs "
            "cannot be compared. Start a new line of champions with another --serving-name."
        )
    if _family(newest.likelihood) != _family(likelihood):
        raise InputError(
            f"Champion {newest.version} in {registry.folder} has the likelihood "
            f"{newest.likelihood}; this model has {likelihood}, so their ELBOs cannot be compared. "
            "Start a new line of champions with another --serving-name."
        )
    io_utils.copy_dir(newest.path, path)
    try:
        signatures = tf.saved_model.load(path).signatures
    # A damaged file may make loading fail in any way.
    except Exception as error:
        raise InputError(
            f"Champion {newest.path} cannot be loaded ({type(error).__name__}); restore it, or "
            f"remove {os.path.dirname(newest.path)} to fall back to the champion before it."
        ) from error
    if "evaluate" not in signatures:
        raise InputError(
            f"Champion {newest.path} has no `evaluate` signature; remove "
            f"{os.path.dirname(newest.path)} to fall back to the champion before it."
        )
    return REGISTERED, newest.version


def _family(likelihood: str) -> str:
    """What likelihoods have in common if their ELBOs can be compared.

    The three Gaussians differ in how they come by a scale; all others are on their own.
    """
    return "gaussian" if likelihood.startswith("gaussian") else likelihood
