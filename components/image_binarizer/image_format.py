"""What the bytes of model-ready Examples mean; stored once beside them, not in each record."""

import dataclasses
import io
import json
import math
from typing import Literal, NamedTuple, get_args

import numpy as np

from components.errors import InputError

Binarization = Literal["threshold", "stochastic", "dynamic", "none"]

_FILE_NAME = "image_format.json"


@dataclasses.dataclass(frozen=True)
class ImageFormat:
    """Size and coding of every image of an Examples artifact.

    Attributes:
      height: Rows.
      width: Columns.
      channels: 1 for grey, 3 for RGB.
      binarization: `threshold` (1 where intensity > threshold) or `stochastic` (one seeded
        Bernoulli draw per pixel), both stored as packed bits; `dynamic` (8-bit intensities, a new
        Bernoulli draw each epoch) or `none` (8-bit intensities), both stored as bytes.
      threshold: Intensity in [0, 1] above which `threshold` gives a one.
      seed: Seed of the draw of `stochastic`.
    """

    height: int
    width: int
    channels: int
    binarization: Binarization
    threshold: float = 0.5
    seed: int = 0

    def __post_init__(self):
        if self.height < 1 or self.width < 1:
            raise InputError(f"An image of {self.height}x{self.width} has no pixels.")
        if self.channels not in (1, 3):
            raise InputError(f"channels must be 1 (grey) or 3 (RGB), not {self.channels}.")
        if self.binarization not in get_args(Binarization):
            raise InputError(
                f"Unknown binarization {self.binarization!r}; choose one of "
                f"{', '.join(get_args(Binarization))}."
            )

        if not 0.0 <= self.threshold < 1.0:
            raise InputError(f"threshold must be in [0, 1), not {self.threshold}.")

    def __str__(self):
        binarization = self.binarization
        if binarization == "threshold":
            binarization = f"threshold {self.threshold:g}"
        elif binarization == "stochastic":
            binarization = f"stochastic, seed {self.seed}"
        return f"{self.height}x{self.width}x{self.channels}, {binarization}"

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width, channels."""
        return self.height, self.width, self.channels

    @property
    def num_pixels(self) -> int:
        """Values per image, channels counted."""
        return self.height * self.width * self.channels

    @property
    def encoding(self) -> str:
        """`bits`: eight values a byte, first value in the highest bit; `uint8`: one a byte."""
        return "bits" if self.binarization in ("threshold", "stochastic") else "uint8"

    @property
    def record_bytes(self) -> int:
        """Bytes of one stored image."""
        return math.ceil(self.num_pixels / 8) if self.encoding == "bits" else self.num_pixels

    @property
    def max_value(self) -> float:
        """The stored value of a white pixel."""
        return 1.0 if self.encoding == "bits" else 255.0

    @property
    def is_binary(self) -> bool:
        """Whether a model sees only zeros and ones."""
        return self.binarization != "none"

    def write(self, examples_uri: str) -> None:
        """Writes the format into an Examples artifact's folder."""
        with _open(_path(examples_uri), "w") as file:
            file.write(json.dumps(dataclasses.asdict(self), indent=2) + "\n")

    @classmethod
    def read(cls, examples_uri: str) -> "ImageFormat":
        """Reads the format from an Examples artifact's folder.

        Raises:
          InputError: If the folder was not written by ImageBinarizer.
        """
        from tfx.dsl.io import fileio

        if not fileio.exists(_path(examples_uri)):
            raise InputError(
                f"{examples_uri} has no {_FILE_NAME}; give the Examples that ImageBinarizer wrote."
            )
        with _open(_path(examples_uri), "r") as file:
            return cls(**json.loads(file.read()))


class PixelMoments(NamedTuple):
    """What a split's pixels are on average.

    Attributes:
      mean: Mean intensity, float64 [H, W, C] in [0, 1].
      mean_square: Mean squared intensity, float64 [H, W, C] in [0, 1].
      count: Number of images behind the means.
    """

    mean: np.ndarray
    mean_square: np.ndarray
    count: int


def _open(path: str, mode: str):
    # Imported here so that a recipe can name an ImageFormat without waiting for TFX.
    from tfx.dsl.io import fileio

    return fileio.open(path, mode)


def _path(examples_uri: str) -> str:
    return f"{examples_uri.rstrip('/')}/{_FILE_NAME}"


def examples_uri_of(split_pattern: str) -> str:
    """The artifact's folder, from a file pattern such as `.../Split-train/*`."""
    # Not by pathlib, which makes one slash of the two in gs://.
    return split_pattern.rsplit("/", 2)[0]


def write_pixel_moments(examples_uri: str, split: str, moments: PixelMoments) -> None:
    """Stores a split's pixel moments beside its Examples."""
    buffer = io.BytesIO()
    np.savez(
        buffer,
        mean_image=moments.mean,
        mean_square_image=moments.mean_square,
        count=moments.count,
    )
    with _open(_mean_image_path(examples_uri, split), "wb") as file:
        file.write(buffer.getvalue())


def read_pixel_moments(examples_uri: str, split: str) -> PixelMoments:
    """The pixel moments of a split."""
    with _open(_mean_image_path(examples_uri, split), "rb") as file:
        buffer = io.BytesIO(file.read())
    with np.load(buffer) as stored:
        return PixelMoments(stored["mean_image"], stored["mean_square_image"], int(stored["count"]))


def read_mean_image(examples_uri: str, split: str) -> tuple[np.ndarray, int]:
    """The mean image [H, W, C] in [0, 1] of a split and the number of images behind it."""
    moments = read_pixel_moments(examples_uri, split)
    return moments.mean, moments.count


def _mean_image_path(examples_uri: str, split: str) -> str:
    return f"{examples_uri.rstrip('/')}/mean_image-{split}.npz"
