"""Fixtures of the trainer's tests."""

import pytest

from components.image_binarizer import ImageFormat
from tests.example_files import binarize_examples


@pytest.fixture(scope="session")
def grey_digits(raw_digits, tmp_path_factory):
    """Model-ready Examples of `raw_digits`: 8x8, intensities."""
    folder = tmp_path_factory.mktemp("grey_digits")
    return binarize_examples(raw_digits, folder, ImageFormat(8, 8, 1, "none"))[0]
