"""The PNG grid that `tfx-vae generate` writes."""

import numpy as np
import pytest
from PIL import Image

from serving.image_grid import write_image_grid


@pytest.mark.parametrize(
    ("number", "expected"), [(1, (1, 1)), (5, (2, 3)), (16, (4, 4)), (17, (4, 5))]
)
def test_the_grid_is_as_square_as_can_be(number, expected, tmp_path):
    images = np.zeros((number, 28, 28, 1), np.float32)
    assert write_image_grid(images, tmp_path / "a.png") == expected


def test_rows_of_a_given_length(tmp_path):
    images = np.zeros((5, 28, 28, 1), np.float32)
    assert write_image_grid(images, tmp_path / "a.png", columns=5) == (1, 5)
    assert write_image_grid(images, tmp_path / "a.png", columns=3) == (2, 3)


def test_images_keep_their_order_place_and_polarity(tmp_path):
    images = np.zeros((4, 28, 28, 1), np.float32)
    images[1] = 1.0
    images[2] = 0.5
    write_image_grid(images, tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as image:
        assert image.mode == "L"
        pixels = np.asarray(image)
    # 28 pixels are drawn twice their size, with a gap of 2 around each.
    assert pixels.shape == (118, 118)
    corners = pixels[10, 10], pixels[10, 70], pixels[70, 10], pixels[70, 70]
    assert corners == (0, 255, 128, 0)
    assert pixels[0, 0] == pixels[59, 59] == 128


def test_colour_images_and_values_out_of_range(tmp_path):
    images = np.zeros((1, 64, 64, 3), np.float32)
    images[..., 0], images[..., 1] = 2.0, -1.0
    write_image_grid(images, tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as image:
        assert image.getpixel((30, 30)) == (255, 0, 0)
