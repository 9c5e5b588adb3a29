"""Curated TFMD schemas, one folder a data set."""

from pathlib import Path

GENERIC = "image_folder"


def schema_file(dataset: str) -> Path:
    """Finds the schema of a data set's raw examples.

    Args:
      dataset: A TFDS name, with or without version and configuration (`mnist`, `mnist:3.0.1`),
        or anything else, such as the path of a folder.

    Returns:
      `schemas/<name>/schema.pbtxt` if that exists, else the generic schema of image folders. A
      path (it starts with `/`, `.` or `~`, ends with `/` or holds `://`) always gets the generic
      one, since a folder may be called like a data set.
    """
    is_path = dataset.startswith(("/", ".", "~")) or dataset.endswith("/") or "://" in dataset
    name = GENERIC if is_path else dataset.partition(":")[0].partition("/")[0]
    here = Path(__file__).parent
    file = here / name / "schema.pbtxt"
    return file if name and file.is_file() else here / GENERIC / "schema.pbtxt"
