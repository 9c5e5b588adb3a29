"""Where the images come from: a TFDS name, a prepared TFDS folder or a folder of images."""

import dataclasses
import os
from collections.abc import Mapping
from typing import Any

from absl import logging

from components.errors import InputError
from components.tfds_example_gen import image_folder, split_expressions, tfds_data


@dataclasses.dataclass(frozen=True)
class DataSource:
    """Where the images come from.

    Attributes:
      dataset: A TFDS name (`mnist`, `mnist:3.0.1`, `digits`), a folder with a prepared TFDS data
        set (it holds `dataset_info.json`), or a folder of images. A name that TFDS knows wins
        over a folder of the same name; write `./mnist` for the folder.
      data_dir: Where TFDS keeps prepared data; TFDS's own default if None. Names only.
      manual_dir: A folder with the files that TFDS would download, under their original names;
        what lies there is not downloaded. Names only.
      download: Whether `prepare` may prepare data that is not prepared yet. Names only.
      label_key: The feature with the label. If None, the only ClassLabel feature, else an
        integer feature called `label`. TFDS data only.
      unlabelled: Take images without labels: the label is -1 for every image.
    """

    dataset: str
    data_dir: str | None = None
    manual_dir: str | None = None
    download: bool = True
    label_key: str | None = None
    unlabelled: bool = False

    def open(self) -> "tfds_data.TfdsData | image_folder.ImageFolder":
        """Finds the data without downloading or writing anything.

        Returns:
          An opened data set; it does not notice changes that are made after this call.

        Raises:
          InputError: If there is no such data, or it has no image or no label.
        """
        if self.label_key is not None and self.unlabelled:
            raise InputError("--label-key and --unlabelled exclude each other; drop one of them.")
        if not self.dataset:
            raise InputError("The data set's name is empty; give a TFDS name or a folder.")
        if not _is_written_as_path(self.dataset):
            builder = tfds_data.open_by_name(self.dataset, self.data_dir)
            if builder is not None:
                return self._make_tfds_data(builder, "TFDS name")
        return self._open_folder()

    def check(self) -> None:
        """Checks everything that can be told without downloading or writing.

        Raises:
          InputError: If the data cannot be found or used, or a given folder does not exist.
        """
        self._open_checked()

    def prepare(self) -> None:
        """Downloads and prepares the data if that is needed; safe to repeat or interrupt.

        Raises:
          InputError: If the data cannot be found, used, downloaded or prepared.
        """
        self.open_prepared()

    def open_prepared(self) -> "tfds_data.TfdsData | image_folder.ImageFolder":
        """Prepares the data if needed and opens it; see `prepare` and `open`."""
        data = self._open_checked()
        data.prepare()
        return data

    def split_sizes(self, splits: Mapping[str, str]) -> dict[str, int]:
        """Counts the examples of each output split.

        Args:
          splits: Output split -> TFDS split expression, e.g. `{"train": "train[:90%]"}`.

        Returns:
          Output split -> number of examples, at least 1.

        Raises:
          InputError: If the data is not prepared, or an expression is malformed, names a split
            that does not exist, or selects nothing.
        """
        return count_splits(self.open(), splits)

    def fingerprint(self) -> str:
        """Returns 16 hex digits that change when the data changes.

        Prepared data: version, splits, features. Image folder: path, size and time of change of
        every image. A name that is not prepared yet: name and version only, so the fingerprint
        of a name changes once, when it is prepared.

        Raises:
          InputError: If the data cannot be found or used.
        """
        return self.open().fingerprint()

    def describe(self) -> dict[str, str]:
        """Returns `name`, `version` and `kind` of the data.

        Raises:
          InputError: If the data cannot be found or used.
        """
        data = self.open()
        return {"name": data.name, "version": data.version, "kind": data.kind}

    def _open_checked(self) -> "tfds_data.TfdsData | image_folder.ImageFolder":
        data = self.open()
        if data.kind == "TFDS name":
            _check_folder("data_dir", self.data_dir, "create it, or leave data_dir out")
            _check_folder("manual_dir", self.manual_dir, "put the original files there")
        return data

    def _open_folder(self) -> "tfds_data.TfdsData | image_folder.ImageFolder":
        from etils import epath

        folder = epath.Path(self.dataset).expanduser()
        if not folder.is_dir():
            raise InputError(self._not_found_text())
        if (folder / "dataset_info.json").exists():
            return self._make_tfds_data(_open_directory(folder), "prepared TFDS folder")
        if "://" in self.dataset:
            raise InputError(
                f"{self.dataset} is not a prepared TFDS folder, and an image folder has to be "
                "local; copy or mount it."
            )
        return image_folder.ImageFolder(self.dataset, unlabelled=self.unlabelled)

    def _make_tfds_data(self, builder: Any, kind: str) -> tfds_data.TfdsData:
        return tfds_data.TfdsData(
            builder,
            kind=kind,
            manual_dir=self.manual_dir,
            download=self.download,
            label_key=self.label_key,
            unlabelled=self.unlabelled,
        )

    def _not_found_text(self) -> str:
        if _is_written_as_path(self.dataset):
            return f"There is no folder {self.dataset}; correct the path."
        close = tfds_data.suggest_names(self.dataset)
        remedy = f"did you mean {' or '.join(close)}?" if close else "check its spelling."
        return f"Data set {self.dataset!r} is neither a TFDS name nor a folder; {remedy}"


def count_splits(
    data: "tfds_data.TfdsData | image_folder.ImageFolder", splits: Mapping[str, str]
) -> dict[str, int]:
    """Counts the examples of each output split of opened data; see `DataSource.split_sizes`."""
    infos = data.split_infos
    if not infos:
        raise InputError(f"{data.name} is not prepared yet; prepare it first.")
    resolved = {
        name: split_expressions.resolve_split(expression, infos)
        for name, expression in splits.items()
    }
    for one, other in split_expressions.find_overlaps(resolved):
        logging.warning(
            "Output splits %r (%s) and %r (%s) share examples.",
            one,
            splits[one],
            other,
            splits[other],
        )
    return {name: split_expressions.count_examples(slices) for name, slices in resolved.items()}


def _open_directory(folder: Any) -> Any:
    import tensorflow_datasets as tfds

    try:
        return tfds.builder_from_directory(os.fspath(folder))
    except Exception as error:  # A damaged description fails in many ways.
        raise InputError(
            f"Cannot read the prepared data set in {folder}; remove that folder and prepare it "
            "again."
        ) from error


def _check_folder(parameter: str, folder: str | None, remedy: str) -> None:
    from etils import epath

    if folder is not None and not epath.Path(folder).expanduser().is_dir():
        raise InputError(f"{parameter} {folder} does not exist; {remedy}.")


def _is_written_as_path(dataset: str) -> bool:
    return dataset.startswith(("/", ".", "~")) or dataset.endswith("/") or "://" in dataset
