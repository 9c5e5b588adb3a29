"""A TFDS data set: opening it, preparing it, and which of its features are used."""

import difflib
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from absl import logging

from components.errors import InputError

_MANUAL_FILES_SHOWN = 4
_DESCRIPTION = "dataset_info.json"


class TfdsData:
    """An opened TFDS data set with one image feature and, unless unlabelled, one label.

    Opening looks at the data set's description only: nothing is downloaded or written.

    Attributes:
      kind: What sort of source this is, in words.
      builder: The TFDS builder.
      image_key: The feature with the image.
      label_key: The feature with the label; None if the data is taken without labels.
    """

    def __init__(
        self,
        builder: Any,
        *,
        kind: str,
        manual_dir: str | None = None,
        download: bool = True,
        label_key: str | None = None,
        unlabelled: bool = False,
    ):
        """Chooses the features.

        Args:
          builder: A TFDS builder, prepared or not.
          kind: What sort of source this is, in words.
          manual_dir: A folder with the files that TFDS would download.
          download: Whether `prepare` may prepare data that is not prepared yet.
          label_key: The label's feature; found by itself if None.
          unlabelled: Take the images without labels.

        Raises:
          InputError: If there is not exactly one image feature, or no usable label.
        """
        self.kind = kind
        self.builder = builder
        self._manual_dir = manual_dir
        self._download = download
        self.image_key = _find_image_key(builder)
        self.label_key = None if unlabelled else _find_label_key(builder, label_key)

    @property
    def name(self) -> str:
        """The data set's name, with its configuration if it has one: `name/config`."""
        config = self.builder.info.config_name
        return f"{self.builder.name}/{config}" if config else self.builder.name

    @property
    def version(self) -> str:
        """The data set's version, for instance `3.0.1`."""
        return str(self.builder.version)

    @property
    def split_infos(self) -> Mapping[str, Any]:
        """The stored splits, name -> `tfds.core.SplitInfo`; empty before `prepare`."""
        return dict(self.builder.info.splits) if self.is_prepared() else {}

    def is_prepared(self) -> bool:
        """Tells whether the data is there; TFDS writes its description last."""
        # The builder's own is_prepared() refuses folders that are not called like a version.
        return (self.builder.data_path / _DESCRIPTION).exists()

    def label_names(self) -> list[str]:
        """Returns the class names in the order of their numbers; empty if there are none."""
        if self.label_key is None:
            return []
        return list(getattr(self.builder.info.features[self.label_key], "names", None) or [])

    def fingerprint(self) -> str:
        """Hashes name, version and, once prepared, splits and features to 16 hex digits."""
        content: dict[str, Any] = {"name": self.name, "version": self.version}
        if self.is_prepared():
            content["splits"] = [
                [info.name, list(info.shard_lengths), int(info.num_bytes)]
                for _, info in sorted(self.builder.info.splits.items())
            ]
            content["features"] = self.builder.info.features.to_json()
            content["label_names"] = self.label_names()
        text = json.dumps(content, sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def prepare(self) -> None:
        """Downloads and prepares the data unless that was done before.

        TFDS writes into a temporary folder and renames it, so an interrupted call leaves no
        half-prepared data set behind and can simply be repeated.

        Raises:
          InputError: If the data cannot be prepared, or what is there is incomplete.
        """
        if not self.is_prepared():
            if not self._download:
                raise InputError(
                    f"{self.name}:{self.version} is not prepared in "
                    f"{self.builder.data_path.parent} and downloading is off; allow the download, "
                    "or give the data_dir that holds it."
                )
            self._check_manual_files()
            self._download_and_prepare()
        self._check_complete()

    def _download_and_prepare(self) -> None:
        import tensorflow_datasets as tfds

        logging.info("Preparing %s:%s in %s.", self.name, self.version, self.builder.data_path)
        config = tfds.download.DownloadConfig(manual_dir=self._manual_dir)
        try:
            self.builder.download_and_prepare(download_config=config)
        except Exception as error:  # Any of TFDS, requests, tarfile, the disk, ...
            if self.is_prepared():  # Another process was faster; its data is as good.
                self.builder.info.read_from_directory(self.builder.data_path)
                return
            raise InputError(self._failure_text(error)) from error

    def _failure_text(self, error: Exception) -> str:
        reason = f"{type(error).__name__}: {_first_line(error)}"
        if type(error).__name__ == "NonMatchingChecksumError":
            where = self._manual_dir or self.builder.data_path.parent.parent / "downloads"
            return (
                f"A file of {self.name}:{self.version} is not the one that TFDS registered "
                f"({reason}); remove it from {where} and fetch it again."
            )
        return (
            f"Could not prepare {self.name}:{self.version} ({reason}); check the network and the "
            "disk, or put the original files in a folder and give it as manual_dir."
        )

    def _check_manual_files(self) -> None:
        # Without this, a wrong folder shows only after minutes of attempts at the network.
        if self._manual_dir is None or self.builder.MANUAL_DOWNLOAD_INSTRUCTIONS:
            return
        names = sorted({info.filename for info in self.builder.url_infos.values()})
        folder = Path(self._manual_dir).expanduser()
        if names and not any((folder / name).exists() for name in names):
            shown = ", ".join(names[:_MANUAL_FILES_SHOWN])
            more = ", ..." if len(names) > _MANUAL_FILES_SHOWN else ""
            raise InputError(
                f"manual_dir {self._manual_dir} holds no file of {self.name}; put {shown}{more} "
                "there."
            )

    def _check_complete(self) -> None:
        path = self.builder.data_path
        expected = {
            os.path.basename(name)
            for info in self.split_infos.values()
            if info.num_examples
            for name in info.filenames
        }
        present = {file.name for file in path.iterdir()} if path.exists() else set()
        missing = sorted(expected - present)
        if missing or not self.is_prepared():
            what = missing[0] if missing else _DESCRIPTION
            raise InputError(
                f"The prepared data set in {path} is incomplete ({what} is missing); remove that "
                "folder and prepare it again."
            )


def open_by_name(name: str, data_dir: str | None) -> Any:
    """Opens a builder by its TFDS name, without preparing it.

    Args:
      name: A TFDS name such as `mnist` or `mnist:3.0.1`, or `digits`.
      data_dir: Where TFDS keeps prepared data; TFDS's own default if None.

    Returns:
      The builder, or None if TFDS has no data set of that name.

    Raises:
      InputError: If the data set exists, but not in that version or configuration, or needs
        a package that is not installed.
    """
    import tensorflow_datasets as tfds

    from components.tfds_example_gen import digits  # noqa: F401 (registers `digits`)

    if not _is_parsable(name):
        return None
    try:
        return tfds.builder(name, data_dir=data_dir)
    except tfds.core.DatasetNotFoundError:
        return None
    except ImportError as error:
        raise InputError(
            f"Data set {name!r} needs a package that is missing ({_first_line(error)}); install it."
        ) from error
    except Exception as error:  # AssertionError, ValueError or RuntimeError, by the cause.
        raise InputError(
            f"TFDS cannot open {name!r} ({_first_line(error)}); correct its version or "
            "configuration."
        ) from error


def suggest_names(name: str) -> list[str]:
    """Lists up to three registered TFDS names that are close to a mistyped one."""
    import tensorflow_datasets as tfds

    bare = name.partition(":")[0].partition("/")[0].lower()
    known = tfds.list_builders(with_community_datasets=False)
    return difflib.get_close_matches(bare, known, n=3)


def _is_parsable(name: str) -> bool:
    from tensorflow_datasets.core import naming

    try:
        naming.parse_builder_name_kwargs(name)
    except Exception:  # Whatever it is, this is no TFDS name.
        return False
    return True


def _find_image_key(builder: Any) -> str:
    import tensorflow_datasets as tfds

    features = builder.info.features
    keys = [
        key
        for key, feature in (features.items() if hasattr(features, "items") else ())
        if isinstance(feature, tfds.features.Image)
        and not isinstance(feature, tfds.features.LabeledImage)
        and "float" not in str(feature.np_dtype)  # Stored as four bytes a pixel, not as an image.
    ]
    if len(keys) != 1:
        what = f"several image features ({', '.join(sorted(keys))})" if keys else "no image feature"
        raise InputError(
            f"Data set {builder.name} has {what}; choose one with a single image an example."
        )
    return keys[0]


def _find_label_key(builder: Any, wanted: str | None) -> str:
    import tensorflow_datasets as tfds

    features = builder.info.features
    usable = sorted(key for key, feature in features.items() if _is_scalar_integer(feature))
    if wanted is not None:
        if wanted not in usable:
            raise InputError(
                f"Data set {builder.name} has no integer feature {wanted!r} to take as label; "
                f"choose from: {', '.join(usable) or 'none'}."
            )
        return wanted
    classes = [key for key in usable if isinstance(features[key], tfds.features.ClassLabel)]
    if len(classes) == 1:
        return classes[0]
    if "label" in usable:
        return "label"
    if classes:
        raise InputError(
            f"Data set {builder.name} has several labels ({', '.join(classes)}); choose one with "
            "--label-key, or pass --unlabelled."
        )
    raise InputError(f"Data set {builder.name} has no label; pass --unlabelled.")


def _is_scalar_integer(feature: Any) -> bool:
    try:
        import numpy as np

        return feature.shape == () and np.issubdtype(feature.np_dtype, np.integer)
    except (AttributeError, NotImplementedError, TypeError):  # Nested features have no shape.
        return False


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines()]
    return next((line for line in lines if line), type(error).__name__).rstrip(".")
