"""Folders of SavedModels: what identifies one, and how a copy of one appears whole."""

import hashlib
import os
import uuid
from collections.abc import Mapping

from tfx.dsl.io import fileio
from tfx.utils import io_utils

_STAGING_PREFIX = ".staging-"
_READ_BYTES = 1 << 20


def model_fingerprint(path: str) -> str:
    """Identifies a SavedModel by the names and bytes of its files.

    Args:
      path: Folder with `saved_model.pb`.

    Returns:
      Sixteen hexadecimal digits.
    """
    digest = hashlib.sha256()
    for folder, _, files in sorted(fileio.walk(path)):
        # Warm-up requests are added after export and do not change what the model computes.
        if os.path.basename(folder.rstrip("/")) == "assets.extra":
            continue
        for name in sorted(files):
            file_path = os.path.join(folder, name)
            digest.update(f"{os.path.relpath(file_path, path)}\0".encode())
            with fileio.open(file_path, "rb") as file:
                while block := file.read(_READ_BYTES):
                    digest.update(block)
    return digest.hexdigest()[:16]


def version_numbers(folder: str) -> list[int]:
    """Version folders, that is those named by a number, in ascending order."""
    if not fileio.exists(folder):
        return []
    names = (name.rstrip("/") for name in fileio.listdir(folder))
    return sorted(int(name) for name in names if name.isdecimal())


def publish_folder(
    folders: Mapping[str, str], texts: Mapping[str, str], parent: str, name: str
) -> str:
    """Makes `<parent>/<name>` appear whole, by a rename, or not at all.

    Args:
      folders: Relative path within the new folder ("" for its top) to the folder to copy there.
      texts: Relative path to the text of a file.
      parent: Where it goes; made if need be. Leftovers of killed copies in it are removed.
      name: The new folder's name.

    Returns:
      The new folder's path.
    """
    fileio.makedirs(parent)
    for leftover in fileio.listdir(parent):
        if leftover.startswith(_STAGING_PREFIX):
            fileio.rmtree(os.path.join(parent, leftover))
    staging = os.path.join(parent, f"{_STAGING_PREFIX}{uuid.uuid4().hex}")
    for relative, source in folders.items():
        io_utils.copy_dir(source, os.path.join(staging, relative) if relative else staging)
    for relative, text in texts.items():
        io_utils.write_string_file(os.path.join(staging, relative), text)
    destination = os.path.join(parent, name)
    fileio.rename(staging, destination)
    return destination
