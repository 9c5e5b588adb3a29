"""A folder of images as a data set: its layout, splits, labels and order."""

import functools
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from absl import logging

from components.errors import InputError
from components.tfds_example_gen import split_expressions

# First-level folders with these names are splits, never classes.
SPLIT_FOLDERS = frozenset({"train", "test", "validation", "valid", "val", "eval", "dev"})
# Pillow lists these as readable, but has no decoder for them without outside programs.
_UNDECODABLE_FORMATS = frozenset({"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"})
_LAYOUTS = "DIR/<label>/*.png or DIR/<split>/<label>/*.png"
_DEEPEST = 3
NO_LABEL = -1


class ImageFile(NamedTuple):
    """One image: its path below the folder with forward slashes, and its label."""

    path: str
    label: int


class _FoundFile(NamedTuple):
    path: str
    size: int
    mtime_ns: int


class ImageFolder:
    """The images of a folder, listed once when constructed; no image is opened.

    Layouts: `DIR/<split>/<label>/*`, `DIR/<label>/*` (one split, `train`), `DIR/*` (one split,
    `train`, no labels) and `DIR/<split>/*` (no labels), the last one if every first-level folder
    is named like a split. Labels are numbered by the sorted names of the label folders of all
    splits. Within a split, images are ordered by the SHA-256 of their relative path, so a part
    of a split mixes the classes and is the same part on each machine.

    Attributes:
      kind: What sort of source this is, in words.
      name: The absolute path of the folder.
      version: Always `unversioned`; the fingerprint tells contents apart.
      skipped: How many visible files were left out since Pillow cannot read their extension.
    """

    kind = "image folder"
    version = "unversioned"

    def __init__(self, folder: str, *, unlabelled: bool = False):
        """Lists the images.

        Args:
          folder: A local or mounted folder; `~` is expanded.
          unlabelled: Give every image the label -1 and do not ask for label folders.

        Raises:
          InputError: If there is no image, if the images lie at different depths, or if they
            have no labels and `unlabelled` is false.
        """
        self.root = Path(folder).expanduser().absolute()
        self.name = str(self.root)
        self._found, self.skipped = _find_images(self.root)
        if not self._found:
            raise InputError(_no_image_text(folder, self.root, self.skipped))
        if self.skipped:
            logging.info("%s: skipped %d files that are not images.", self.name, self.skipped)
        splits, labels = self._read_layout(folder)
        if labels is None and not unlabelled:
            raise InputError(
                f"The images in {folder} have no labels; arrange them as {_LAYOUTS}, or pass "
                "--unlabelled."
            )
        self._labels = None if unlabelled else labels
        self._files: dict[str, list[ImageFile]] = {}
        numbers = {name: number for number, name in enumerate(self.label_names())}
        for index, (path, _, _) in enumerate(self._found):
            label = numbers[self._labels[index]] if self._labels else NO_LABEL
            self._files.setdefault(splits[index], []).append(ImageFile(path, label))
        for files in self._files.values():
            files.sort(key=lambda file: hashlib.sha256(os.fsencode(file.path)).digest())

    def prepare(self) -> None:
        """Does nothing: a folder is ready as it is."""

    def label_names(self) -> list[str]:
        """Returns the names of the label folders in the order of their numbers; may be empty."""
        return sorted(set(self._labels or ()))

    @functools.cached_property
    def split_infos(self) -> Mapping[str, Any]:
        """The stored splits, name -> `tfds.core.SplitInfo`."""
        return split_expressions.make_split_infos(
            {name: len(files) for name, files in sorted(self._files.items())}
        )

    def list_images(self, expression: str) -> list[ImageFile]:
        """Lists the images that a split expression selects, in the order of the split.

        Args:
          expression: A TFDS split expression, for instance `train[:90%]`.

        Returns:
          At least one image.

        Raises:
          InputError: If the expression cannot be resolved or selects nothing.
        """
        slices = split_expressions.resolve_split(expression, self.split_infos)
        return [file for part in slices for file in self._files[part.split][part.start : part.stop]]

    def fingerprint(self) -> str:
        """Hashes every image's relative path, size and time of change to 16 hex digits."""
        digest = hashlib.sha256()
        for path, size, mtime_ns in self._found:
            digest.update(os.fsencode(path) + f"\0{size}\0{mtime_ns}\0".encode())
        return digest.hexdigest()[:16]

    def _read_layout(self, folder: str) -> tuple[list[str], list[str] | None]:
        """Returns the split and the label name of each found file; no labels if it has none."""
        parts = [file.path.split("/") for file in self._found]
        by_depth = {len(part): file.path for part, file in zip(parts, self._found, strict=True)}
        if len(by_depth) > 1 or max(by_depth) > _DEEPEST:
            examples = " and ".join(by_depth[depth] for depth in sorted(by_depth)[:2])
            raise InputError(
                f"The images in {folder} do not all lie at the depth of one layout (see "
                f"{examples}); arrange them as {_LAYOUTS}."
            )
        (depth,) = by_depth
        if depth == 1:
            return ["train"] * len(parts), None
        if depth == _DEEPEST:
            return [part[0] for part in parts], [part[1] for part in parts]
        if {part[0] for part in parts} <= SPLIT_FOLDERS:
            return [part[0] for part in parts], None
        return ["train"] * len(parts), [part[0] for part in parts]


def _find_images(root: Path) -> tuple[list[_FoundFile], int]:
    """Returns the images below a folder, sorted by path, and the number of other files."""
    extensions = _readable_extensions()
    found, skipped = [], 0
    pending = [("", root)]
    while pending:
        prefix, folder = pending.pop()
        try:
            with os.scandir(folder) as scan:
                entries = [entry for entry in scan if not entry.name.startswith(".")]
        except OSError as error:
            raise InputError(
                f"Cannot list {folder} ({error.strerror}); check its permissions."
            ) from error
        for entry in entries:
            path = prefix + entry.name
            if entry.is_dir():
                if path.count("/") < _DEEPEST:  # A bound, so that a link to a parent ends.
                    pending.append((path + "/", Path(entry.path)))
            elif entry.is_file() and os.path.splitext(entry.name)[1].lower() in extensions:
                status = entry.stat()
                found.append(_FoundFile(path, status.st_size, status.st_mtime_ns))
            else:
                skipped += 1
    return sorted(found), skipped


def _readable_extensions() -> frozenset[str]:
    from PIL import Image

    extensions = Image.registered_extensions()  # Loads all of Pillow's plug-ins.
    readable = set(Image.OPEN) - _UNDECODABLE_FORMATS
    return frozenset(ext for ext, image_format in extensions.items() if image_format in readable)


def _no_image_text(folder: str, root: Path, skipped: int) -> str:
    for pattern in ("*/dataset_info.json", "*/*/dataset_info.json"):
        prepared = next(iter(sorted(root.glob(pattern))), None)
        if prepared:
            return f"{folder} holds no image; for the prepared data set, give {prepared.parent}."
    others = f" (only {skipped} other files)" if skipped else ""
    return f"{folder} holds no image{others}; fill it as {_LAYOUTS}."
