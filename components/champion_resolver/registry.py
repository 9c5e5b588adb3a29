"""The folder that remembers champions: every model that was pushed, newest last.

    <registry>/<version>/
      champion.json     the model card of the push, with the source model's fingerprint
      Format-Serving/   the full SavedModel, so that it can be scored again
    <registry>/highest_version   the highest number that was ever pushed

A version appears whole, by a rename, or on an object store with its champion.json, which is written
last. DecoderPusher writes, ChampionResolver reads.
"""

import dataclasses
import json
import os
from typing import Any

from tfx.dsl.io import fileio
from tfx.utils import io_utils

from components.errors import InputError
from components.image_binarizer.image_format import ImageFormat
from components.saved_models import (
    numbered_folders,
    publish_folder,
    remove_folder,
    remove_leftovers,
    renames_whole,
    version_numbers,
)

_CARD_FILE = "champion.json"
_HIGHEST_FILE = "highest_version"
_MODEL_FOLDER = "Format-Serving"


@dataclasses.dataclass(frozen=True)
class Champion:
    """A registered model.

    Attributes:
      version: The version under which its decoder was pushed.
      path: Its full SavedModel.
      image_format: The images that it was trained and scored on.
      card: What its push knew of it.
    """

    version: int
    path: str
    image_format: ImageFormat
    card: dict[str, Any]

    @property
    def likelihood(self) -> str:
        """What its p(x|z) is; cards that do not say are of when there was only Bernoulli."""
        return self.card.get("training", {}).get("likelihood", "bernoulli")


class ChampionRegistry:
    """Champions of one line of models."""

    def __init__(self, folder: str):
        """Names the folder; it need not exist yet."""
        self.folder = folder

    def versions(self) -> list[int]:
        """Registered versions, oldest first."""
        return version_numbers(self.folder, _CARD_FILE)

    def highest_ever(self) -> int:
        """The highest number that was ever pushed, removed or not; 0 before the first.

        Raises:
          InputError: If the file that remembers it is damaged.
        """
        return max([self._remembered(), *numbered_folders(self.folder)])

    def newest(self) -> Champion | None:
        """The champion, or None before the first push.

        Raises:
          InputError: If the newest entry is damaged.
        """
        versions = self.versions()
        return self.read(versions[-1]) if versions else None

    def read(self, version: int) -> Champion:
        """One champion.

        Raises:
          InputError: If the entry is damaged.
        """
        entry = os.path.join(self.folder, str(version))
        model = os.path.join(entry, _MODEL_FOLDER)
        try:
            for needed in (_CARD_FILE, f"{_MODEL_FOLDER}/saved_model.pb"):
                if not fileio.exists(os.path.join(entry, needed)):
                    raise OSError(f"it has no {needed}")
            with fileio.open(os.path.join(entry, _CARD_FILE), "r") as file:
                card = json.loads(file.read())
            image_format = ImageFormat(**card.get("image_format", {}))
        # gfile raises OpError subclasses of its own next to OSError; JSON raises ValueError, and a
        # card without an image format TypeError or AttributeError.
        except Exception as error:
            raise InputError(
                f"Champion {entry} is damaged ({error}); restore it, or remove its folder to fall "
                "back to the champion before it."
            ) from error
        return Champion(version, model, image_format, card)

    def register(self, version: int, model_path: str, card: dict[str, Any]) -> None:
        """Adds a champion, whole or not at all.

        Args:
          version: Its version; later champions have higher ones.
          model_path: The full SavedModel, copied.
          card: What is known of it; must hold `image_format`, the fields of ImageFormat.
        """
        publish_folder(
            {_MODEL_FOLDER: model_path},
            {_CARD_FILE: json.dumps(card, indent=2) + "\n"},
            self.folder,
            str(version),
            last_file=_CARD_FILE,
        )

    def remember(self, version: int) -> None:
        """Keeps the number of a version from being given again once the version is removed."""
        if version <= self._remembered():
            return
        path = os.path.join(self.folder, _HIGHEST_FILE)
        if not renames_whole(path):
            # One object is written whole or not at all.
            io_utils.write_string_file(path, f"{version}\n")
            return
        io_utils.write_string_file(f"{path}.new", f"{version}\n")
        fileio.rename(f"{path}.new", path, overwrite=True)

    def remove(self, version: int) -> None:
        """Removes a champion, whole or not at all."""
        remove_folder(self.folder, str(version), last_file=_CARD_FILE)

    def remove_leftovers(self) -> None:
        """Removes what killed registrations and removals left behind."""
        remove_leftovers(self.folder, _CARD_FILE)

    def _remembered(self) -> int:
        path = os.path.join(self.folder, _HIGHEST_FILE)
        if not fileio.exists(path):
            return 0
        with fileio.open(path, "r") as file:
            text = file.read().strip()
        if not text.isdecimal():
            raise InputError(
                f"{path} is damaged (it should hold a version number); write the highest version "
                "that was ever pushed into it."
            )
        return int(text)
