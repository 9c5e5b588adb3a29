"""Publishes a decoder version and registers its champion; safe to interrupt and to repeat."""

import dataclasses
import json
import os
from typing import Any

from tfx.dsl.io import fileio

from components.champion_resolver.registry import ChampionRegistry
from components.saved_models import publish_folder, version_numbers

CARD_FILE = "model_card.json"
SOURCE_KEY = "source_model_fingerprint"


@dataclasses.dataclass(frozen=True)
class Push:
    """Where a decoder went.

    Attributes:
      version: Its version number.
      path: Its folder, `<serving_dir>/<version>`.
    """

    version: int
    path: str


def push_decoder(
    decoder_path: str,
    model_path: str,
    card: dict[str, Any],
    serving_dir: str,
    registry: ChampionRegistry,
) -> Push:
    """Pushes a decoder and registers the model that it came from.

    The version folder appears by a rename, then the champion by another. A push that was killed
    between the two is found by its model's fingerprint, and only what is missing is done.

    Args:
      decoder_path: The decoder's SavedModel, with warm-up requests.
      model_path: The full SavedModel that it came from.
      card: The model card; its `source_model_fingerprint` identifies the full model.
      serving_dir: The folder that a model server watches.
      registry: Where champions are.

    Returns:
      The version: a new one, unless the newest is of this very model.
    """
    version = _pushed_version(serving_dir, card[SOURCE_KEY])
    if version is None:
        taken = version_numbers(serving_dir) + registry.versions()
        version = max(taken, default=0) + 1
        card = {**card, "version": version}
        text = json.dumps(card, indent=2) + "\n"
        publish_folder({"": decoder_path}, {CARD_FILE: text}, serving_dir, str(version))
    if version not in registry.versions():
        registry.register(version, model_path, {**card, "version": version})
    return Push(version, os.path.join(serving_dir, str(version)))


def _pushed_version(serving_dir: str, source: str) -> int | None:
    """The newest version, if it came from a model."""
    version = max(version_numbers(serving_dir), default=None)
    if version is None:
        return None
    path = os.path.join(serving_dir, str(version), CARD_FILE)
    if not fileio.exists(path):
        return None
    with fileio.open(path, "r") as file:
        return version if json.loads(file.read()).get(SOURCE_KEY) == source else None
