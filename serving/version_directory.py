"""The version directories of a model, as they are on disk."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_INTEGER = re.compile(r"\s*[+-]?[0-9]+\s*", re.ASCII)
_INT64 = range(-(2**63), 2**63)


@dataclass(frozen=True)
class VersionDirectory:
    """A child of the base path whose name is a number.

    Attributes:
      version: The number; `00000123` is 123.
      path: The directory.
      fingerprint: Modification time and size of `saved_model.pb`, or None when it is not there.
        TFX's Pusher copies that file last, so a directory without it is a push that is not
        finished.
    """

    version: int
    path: Path
    fingerprint: tuple[int, int] | None


def list_versions(base_path: Path) -> dict[int, VersionDirectory]:
    """Lists the versions under a base path.

    Args:
      base_path: The directory that holds the version directories.

    Returns:
      Directories by version. If two names mean the same number, the first in alphabetical order
      counts.

    Raises:
      OSError: The base path cannot be listed.
    """
    versions: dict[int, VersionDirectory] = {}
    for child in sorted(base_path.iterdir()):
        if (
            not _INTEGER.fullmatch(child.name)
            or int(child.name) not in _INT64
            or not child.is_dir()
        ):
            continue
        number = int(child.name)
        versions.setdefault(number, VersionDirectory(number, child, _fingerprint(child)))
    return versions


def _fingerprint(path: Path) -> tuple[int, int] | None:
    try:
        stat = (path / "saved_model.pb").stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size
