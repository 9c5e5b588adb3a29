"""Folders of SavedModels: what identifies one, and how a copy of one appears whole."""

import hashlib
import os
import uuid
from collections.abc import Mapping

from tfx.dsl.io import fileio
from tfx.utils import io_utils

SAVED_MODEL_FILE = "saved_model.pb"
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


def renames_whole(path: str) -> bool:
    """Whether a folder's rename is one step there.

    On an object store it is a copy and a removal of each file in turn.
    """
    return "://" not in path or path.startswith(("file://", "hdfs://"))


def version_numbers(folder: str, last_file: str = SAVED_MODEL_FILE) -> list[int]:
    """Versions, that is folders named by a number, in ascending order.

    Args:
      folder: Holds them.
      last_file: The `last_file` of `publish_folder`; where a rename is not one step, a folder
        without it is not a version yet.
    """
    numbers = numbered_folders(folder)
    if renames_whole(folder):
        return numbers
    return [number for number in numbers if _has(folder, str(number), last_file)]


def numbered_folders(folder: str) -> list[int]:
    """The numbers of all version folders, unfinished ones too, in ascending order."""
    return sorted(int(name) for name in _names(folder) if name.isdecimal())


def publish_folder(
    folders: Mapping[str, str],
    texts: Mapping[str, str],
    parent: str,
    name: str,
    last_file: str = SAVED_MODEL_FILE,
) -> str:
    """Makes `<parent>/<name>` appear whole or not at all.

    By a rename where that is one step. On an object store the files are written in place, and a
    folder counts from its last file on.

    Args:
      folders: Relative path within the new folder ("" for its top) to the folder to copy there.
      texts: Relative path to the text of a file; instead of a copied one of that path, if any.
      parent: Where it goes; made if need be. Leftovers of killed copies in it are removed.
      name: The new folder's name.
      last_file: Relative path of the file that is written last.

    Returns:
      The new folder's path.

    Raises:
      FileExistsError: If it is there already.
    """
    fileio.makedirs(parent)
    remove_leftovers(parent, last_file)
    destination = os.path.join(parent, name)
    if fileio.exists(destination):
        raise FileExistsError(f"{destination} already exists")
    if renames_whole(parent):
        staging = _staging(parent)
        _write(folders, texts, staging, last_file)
        fileio.rename(staging, destination)
    else:
        _write(folders, texts, destination, last_file)
    return destination


def remove_folder(parent: str, name: str, last_file: str = SAVED_MODEL_FILE) -> None:
    """Makes `<parent>/<name>` disappear whole, the inverse of `publish_folder`.

    Args:
      parent: Where it is.
      name: The folder's name.
      last_file: As in `publish_folder`; the file that is removed first.
    """
    folder = os.path.join(parent, name)
    if renames_whole(parent):
        staging = _staging(parent)
        fileio.rename(folder, staging)
        fileio.rmtree(staging)
    else:
        fileio.remove(os.path.join(folder, last_file))
        fileio.rmtree(folder)


def remove_leftovers(parent: str, last_file: str = SAVED_MODEL_FILE) -> None:
    """Removes what killed calls of `publish_folder` and `remove_folder` left behind.

    Args:
      parent: The folder to clear.
      last_file: As in `publish_folder`.
    """
    in_place = not renames_whole(parent)
    for name in _names(parent):
        unfinished = in_place and name.isdecimal() and not _has(parent, name, last_file)
        if unfinished or name.startswith(_STAGING_PREFIX):
            fileio.rmtree(os.path.join(parent, name))


def _staging(parent: str) -> str:
    return os.path.join(parent, f"{_STAGING_PREFIX}{uuid.uuid4().hex}")


def _names(folder: str) -> list[str]:
    # An object store's folders end with a slash.
    return [name.rstrip("/") for name in fileio.listdir(folder)] if fileio.exists(folder) else []


def _has(parent: str, name: str, file: str) -> bool:
    return fileio.exists(os.path.join(parent, name, file))


def _write(
    folders: Mapping[str, str], texts: Mapping[str, str], destination: str, last_file: str
) -> None:
    sources = {
        os.path.normpath(os.path.join(relative, os.path.relpath(path, source))): path
        for relative, source in folders.items()
        for path in _files(source)
    }
    for relative in sorted(
        sources.keys() | texts.keys(), key=lambda name: (name == last_file, name)
    ):
        target = os.path.join(destination, relative)
        if relative in texts:
            io_utils.write_string_file(target, texts[relative])
        else:
            io_utils.copy_file(sources[relative], target)


def _files(folder: str) -> list[str]:
    return [
        os.path.join(parent, name) for parent, _, names in fileio.walk(folder) for name in names
    ]
