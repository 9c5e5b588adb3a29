"""Publishes a decoder version and registers its champion; safe to interrupt and to repeat."""

import dataclasses
import json
import os
from typing import Any

from tfx.dsl.io import fileio

from components.champion_resolver.registry import ChampionRegistry
from components.saved_models import (
    numbered_folders,
    publish_folder,
    remove_folder,
    remove_leftovers,
    version_numbers,
)

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
    keep_versions: int | None = None,
) -> Push:
    """Pushes a decoder and registers the model that it came from.

    The version appears whole, then the champion. A push that was killed between the two is found by
    its model's fingerprint, and only what is missing is done.

    Args:
      decoder_path: The decoder's SavedModel, with warm-up requests.
      model_path: The full SavedModel that it came from.
      card: The model card; its `source_model_fingerprint` identifies the full model.
      serving_dir: The folder that a model server watches.
      registry: Where champions are.
      keep_versions: How many of the newest versions stay; None keeps all.

    Returns:
      The version: a new one, unless the newest is of this very model.
    """
    version = _pushed_version(serving_dir, registry, card[SOURCE_KEY])
    if version is None:
        version = publish_version(decoder_path, card, serving_dir, registry)
    if version not in registry.versions():
        registry.register(version, model_path, {**card, "version": version})
    registry.remember(version)
    if keep_versions is not None:
        remove_old_versions(serving_dir, registry, keep_versions)
    remove_leftovers(serving_dir)
    registry.remove_leftovers()
    return Push(version, os.path.join(serving_dir, str(version)))


def publish_version(
    decoder_path: str, card: dict[str, Any], serving_dir: str, registry: ChampionRegistry
) -> int:
    """Publishes a decoder under the next number.

    Args:
      decoder_path: The decoder's SavedModel.
      card: The model card, without the version.
      serving_dir: The folder that a model server watches.
      registry: Knows the highest number so far.

    Returns:
      The version.
    """
    # An unfinished folder's number is not given again: a server that tried it may have given it up.
    version = max([registry.highest_ever(), *numbered_folders(serving_dir)]) + 1
    text = json.dumps({**card, "version": version}, indent=2) + "\n"
    publish_folder({"": decoder_path}, {CARD_FILE: text}, serving_dir, str(version))
    return version


def remove_old_versions(serving_dir: str, registry: ChampionRegistry, keep: int) -> None:
    """Removes all but the newest versions, with their champions.

    A champion without its decoder could not be rolled back to. The newest champion stays, whatever
    is served.

    Args:
      serving_dir: The folder that a model server watches.
      registry: Where champions are.
      keep: How many versions stay.
    """
    served = version_numbers(serving_dir)
    kept = served[-keep:]
    for version in served[:-keep]:
        remove_folder(serving_dir, str(version))
    for version in registry.versions()[:-1]:
        if version not in kept:
            registry.remove(version)


def read_card(serving_dir: str, version: int) -> dict[str, Any]:
    """The model card of a pushed version; empty if another tool put the version there."""
    path = os.path.join(serving_dir, str(version), CARD_FILE)
    if not fileio.exists(path):
        return {}
    with fileio.open(path, "r") as file:
        return json.loads(file.read())


def _pushed_version(serving_dir: str, registry: ChampionRegistry, source: str) -> int | None:
    """The newest version, if it came from a model and no champion is newer."""
    version = max(version_numbers(serving_dir), default=None)
    if version is None or version < max(registry.versions(), default=0):
        return None
    return version if read_card(serving_dir, version).get(SOURCE_KEY) == source else None
