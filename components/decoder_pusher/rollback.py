"""Serves an earlier version's decoder again, as a new version; safe to interrupt and to repeat."""

import dataclasses
import os
from typing import Any

from components.champion_resolver.registry import Champion, ChampionRegistry
from components.decoder_pusher.push import publish_version, read_card
from components.errors import InputError
from components.saved_models import version_numbers

FROM_KEY = "rolled_back_from"
TO_KEY = "rolled_back_to"


@dataclasses.dataclass(frozen=True)
class Rollback:
    """What serves after a rollback.

    Attributes:
      version: The newest version.
      path: Its folder.
      card: Its model card.
      changed: Whether anything was written.
    """

    version: int
    path: str
    card: dict[str, Any]
    changed: bool


def roll_back(serving_dir: str, registry: ChampionRegistry, to: int | None = None) -> Rollback:
    """Publishes an earlier version again, and makes its full model the champion.

    A server loads the highest number, so an old version comes back under a new one. What is asked
    for and serves already is not published again, so a repeated rollback changes nothing; one that
    was killed between decoder and champion is finished.

    Args:
      serving_dir: The folder that a model server watches.
      registry: Where champions are.
      to: The version to go back to; None for the one before the newest. None keeps a newest that is
        a rollback itself, because the one before it is what was rolled back.

    Returns:
      What serves now.

    Raises:
      InputError: If there is no such version, or its full model is missing or damaged.
    """
    versions = version_numbers(serving_dir)
    if not versions:
        raise InputError(f"{serving_dir} has no version; push one with tfx-vae run first.")
    newest = versions[-1]
    finished = finish_rollback(serving_dir, registry)
    newest_card = read_card(serving_dir, newest)
    went_to = newest_card.get(TO_KEY)
    if to == newest or (went_to is not None and to in (None, went_to)):
        return Rollback(newest, os.path.join(serving_dir, str(newest)), newest_card, finished)
    if to is None and len(versions) == 1:
        raise InputError(
            f"{serving_dir} has version {newest} alone, so there is nothing to go back to; push a "
            "better model with tfx-vae run."
        )
    to = versions[-2] if to is None else to
    if to not in versions:
        raise InputError(
            f"{serving_dir} has no version {to}; choose one of {', '.join(map(str, versions))}."
        )
    champion = _champion(registry, to)
    card = {**champion.card, FROM_KEY: newest, TO_KEY: to}
    version = publish_version(os.path.join(serving_dir, str(to)), card, serving_dir, registry)
    _register(registry, version, champion, card)
    return Rollback(
        version, os.path.join(serving_dir, str(version)), {**card, "version": version}, True
    )


def describe_rollback(rollback: Rollback) -> str:
    """One line on what serves now."""
    line = f"Version {rollback.version} serves" + (
        "" if rollback.changed else " already; nothing was changed"
    )
    if TO_KEY not in rollback.card:
        return f"{line}."
    went_from, went_to = rollback.card[FROM_KEY], rollback.card[TO_KEY]
    return f"{line}. It is version {went_to} again, rolled back from version {went_from}."


def finish_rollback(serving_dir: str, registry: ChampionRegistry) -> bool:
    """Registers the champion of a rollback that was killed before it did.

    Args:
      serving_dir: The folder that a model server watches.
      registry: Where champions are.

    Returns:
      Whether there was one.

    Raises:
      InputError: If the model is missing or damaged.
    """
    version = max(version_numbers(serving_dir), default=None)
    if version is None or version in registry.versions():
        return False
    card = read_card(serving_dir, version)
    if TO_KEY not in card:
        return False
    _register(registry, version, _champion(registry, card[TO_KEY]), card)
    return True


def _register(
    registry: ChampionRegistry, version: int, champion: Champion, card: dict[str, Any]
) -> None:
    registry.register(version, champion.path, {**card, "version": version})
    registry.remember(version)


def _champion(registry: ChampionRegistry, version: int) -> Champion:
    if version not in registry.versions():
        raise InputError(
            f"{registry.folder} has no champion {version}, so later models would have nothing to "
            "beat; restore its folder, or go back to another version with --to."
        )
    return registry.read(version)
