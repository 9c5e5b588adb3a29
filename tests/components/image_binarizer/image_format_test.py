import dataclasses
import json

import numpy as np
import pytest

from components.errors import InputError
from components.image_binarizer import ImageFormat
from components.image_binarizer.image_format import (
    PixelMoments,
    examples_uri_of,
    read_mean_image,
    read_pixel_moments,
    write_pixel_moments,
)

_FORMATS = [
    ImageFormat(28, 28, 1, "threshold"),
    ImageFormat(5, 7, 3, "threshold", threshold=0.25),
    ImageFormat(1, 1, 1, "stochastic", seed=42),
    ImageFormat(32, 32, 3, "dynamic"),
    ImageFormat(3, 2, 1, "none"),
]


@pytest.mark.parametrize("image_format", _FORMATS, ids=str)
@pytest.mark.parametrize("slash", ["", "/"])
def test_round_trip_through_a_folder(image_format, slash, tmp_path):
    image_format.write(f"{tmp_path}{slash}")
    stored = json.loads((tmp_path / "image_format.json").read_text())
    assert stored == dataclasses.asdict(image_format)
    assert ImageFormat.read(f"{tmp_path}{slash}") == image_format


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"height": 0}, "An image of 0x28 has no pixels."),
        ({"width": -1}, "An image of 28x-1 has no pixels."),
        ({"channels": 4}, "channels must be 1 (grey) or 3 (RGB), not 4."),
        (
            {"binarization": "dithered"},
            "Unknown binarization 'dithered'; choose one of threshold, stochastic, dynamic, none.",
        ),
        ({"threshold": 1.0}, "threshold must be in [0, 1), not 1.0."),
        ({"threshold": -0.1}, "threshold must be in [0, 1), not -0.1."),
        ({"threshold": float("nan")}, "threshold must be in [0, 1), not nan."),
    ],
)
def test_impossible_formats(changes, text):
    with pytest.raises(InputError) as caught:
        dataclasses.replace(_FORMATS[0], **changes)
    assert str(caught.value) == text


def test_reading_a_folder_without_a_format(tmp_path):
    with pytest.raises(InputError) as caught:
        ImageFormat.read(str(tmp_path))
    assert str(caught.value) == (
        f"{tmp_path} has no image_format.json; give the Examples that ImageBinarizer wrote."
    )


@pytest.mark.parametrize(
    ("image_format", "text", "encoding", "max_value", "is_binary"),
    [
        (_FORMATS[0], "28x28x1, threshold 0.5", "bits", 1.0, True),
        (_FORMATS[1], "5x7x3, threshold 0.25", "bits", 1.0, True),
        (_FORMATS[2], "1x1x1, stochastic, seed 42", "bits", 1.0, True),
        (_FORMATS[3], "32x32x3, dynamic", "uint8", 255.0, True),
        (_FORMATS[4], "3x2x1, none", "uint8", 255.0, False),
    ],
)
def test_derived_values(image_format, text, encoding, max_value, is_binary):
    assert str(image_format) == text
    assert image_format.encoding == encoding
    assert image_format.max_value == max_value
    assert image_format.is_binary == is_binary
    assert image_format.shape == (image_format.height, image_format.width, image_format.channels)
    assert image_format.num_pixels == np.prod(image_format.shape)


def test_pixel_moments_round_trip(tmp_path):
    means = {"train": np.random.default_rng(0).random((3, 4, 1)), "eval": np.zeros((3, 4, 1))}
    for split, mean in means.items():
        moments = PixelMoments(mean, mean / 2, len(split))
        write_pixel_moments(f"{tmp_path}/", split, moments)
    for split, mean in means.items():
        read = read_pixel_moments(str(tmp_path), split)
        np.testing.assert_array_equal(read.mean, mean)
        np.testing.assert_array_equal(read.mean_square, mean / 2)
        assert read.count == len(split)
        mean_image, count = read_mean_image(str(tmp_path), split)
        np.testing.assert_array_equal(mean_image, mean)
        assert count == len(split)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "mean_image-eval.npz",
        "mean_image-train.npz",
    ]


@pytest.mark.parametrize("folder", ["relative/examples/3", "/runs/examples/3", "gs://bucket/ex/3"])
def test_folder_of_a_split_pattern(folder):
    assert examples_uri_of(f"{folder}/Split-train/*") == folder
