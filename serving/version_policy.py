"""Which versions of a model are wanted, and in which order they are loaded and unloaded."""

from __future__ import annotations

from collections.abc import Collection, Set
from dataclasses import dataclass

from tensorflow_serving.config.file_system_storage_path_source_pb2 import (
    FileSystemStoragePathSourceConfig,
)

VersionPolicy = FileSystemStoragePathSourceConfig.ServableVersionPolicy


@dataclass(frozen=True)
class Load:
    """Load a version next."""

    version: int


@dataclass(frozen=True)
class Unload:
    """Unload a version next."""

    version: int


def wanted_versions(policy: VersionPolicy, present: Collection[int]) -> set[int]:
    """Picks versions as file_system_storage_path_source.cc does (TF Serving 2.16.1).

    Args:
      policy: `latest` (the default, with one version), `all` or `specific`.
      present: The versions on disk.

    Returns:
      Those to serve.
    """
    choice = policy.WhichOneof("policy_choice")
    if choice == "all":
        return set(present)
    if choice == "specific":
        return set(policy.specific.versions) & set(present)
    return set(sorted(present, reverse=True)[: max(policy.latest.num_versions, 1)])


def next_action(wanted: Set[int], serving: Set[int], loadable: Set[int]) -> Load | Unload | None:
    """Decides the next step so that some version always serves.

    These are the rules of availability_preserving_policy.cc (TF Serving 2.16.1).

    Args:
      wanted: The versions that the policy picks.
      serving: The versions that answer now.
      loadable: Those of `wanted` that neither serve nor have failed.

    Returns:
      The step, or None when there is nothing left to do.
    """
    unwanted = serving - wanted
    if unwanted and (not wanted or serving & wanted or len(unwanted) > 1):
        return Unload(min(unwanted))
    return Load(max(loadable)) if loadable else None
