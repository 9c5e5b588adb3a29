"""Commands that ask a served decoder for pictures: what is on disk afterwards."""

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from components.decoder_exporter.export import export_decoder
from components.image_binarizer import ImageFormat
from components.trainer.export import export
from pipelines.cli import main
from serving.client import DecoderClient
from serving.latent_plane import plane_codes
from serving.server import ModelServer
from tests.components.trainer.tiny_models import tiny_config, tiny_model

# Drawn 14 times their size, with a gap of 2.
_FORMAT = ImageFormat(4, 4, 1, "threshold")
_CELL = 4 * 14 + 2


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    """Addresses of served decoders, by their number of latent dimensions."""
    started = {}
    for latent_size in (1, 2, 3):
        folder = tmp_path_factory.mktemp("served")
        config = tiny_config(latent_size=latent_size)
        export(tiny_model(config, _FORMAT), config, _FORMAT, str(folder / "model"))
        export_decoder(str(folder / "model"), str(folder / "base" / "1"))
        started[latent_size] = ModelServer("decoder", folder / "base")
        started[latent_size].start()
    yield {latent_size: server.target for latent_size, server in started.items()}
    for server in started.values():
        server.stop()


def _picture(tmp_path, *arguments):
    """Runs a command; gives what it prints and its picture."""
    file = tmp_path / "a.png"
    result = CliRunner().invoke(main, [*map(str, arguments), "--output", str(file)])
    assert result.exit_code == 0, result.output
    with Image.open(file) as image:
        return result.output, np.asarray(image)


def _cells(pixels):
    """The images [rows, columns, 4, 4] of a picture, as grey values."""
    rows, columns = (size // _CELL for size in pixels.shape)
    cells = pixels[2:, 2:].reshape(rows, _CELL, columns, _CELL)[:, :-2, :, :-2]
    return cells[:, ::14, :, ::14].transpose(0, 2, 1, 3)


def _grey(images):
    return np.rint(images[..., 0] * 255).astype(np.uint8)


def test_generate_at_a_temperature(servers, tmp_path):
    arguments = ("generate", "--server", servers[3], "--number", 4, "--seed", 5)
    output, pixels = _picture(tmp_path, *arguments, "--temperature", 0.5)
    assert output == f"{tmp_path}/a.png: 4 images, 2 rows of 2\n"
    with DecoderClient(servers[3]) as client:
        z = client.draw_codes(4, 5)
        np.testing.assert_array_equal(client.draw_codes(4, 5, 0.5), 0.5 * z)
        expected = _grey(client.decode(0.5 * z)).reshape(2, 2, 4, 4)
        np.testing.assert_array_equal(_cells(pixels), expected)
        plain = _cells(_picture(tmp_path, *arguments)[1])
        np.testing.assert_array_equal(plain, _grey(client.decode(z)).reshape(2, 2, 4, 4))
    assert (plain != expected).any()


@pytest.mark.parametrize("flags", [[], ["--linear"]])
def test_interpolate_is_a_row_from_seed_to_seed(servers, tmp_path, flags):
    arguments = ["interpolate", "--server", servers[3], "--from", 1, "--to", 2, "--steps", 5]
    output, pixels = _picture(tmp_path, *arguments, *flags)
    assert output == f"{tmp_path}/a.png: 5 images from seed 1 to seed 2\n"
    (cells,) = _cells(pixels)
    assert len(cells) == 5
    with DecoderClient(servers[3]) as client:
        start, end = client.draw_codes(1, 1), client.draw_codes(1, 2)
        np.testing.assert_array_equal(cells[0], _grey(client.generate(1, 1))[0])
        np.testing.assert_array_equal(cells[-1], _grey(client.generate(1, 2))[0])
        middle = (start + end) / 2
        if not flags:
            cosine = (start @ end.T) / (np.linalg.norm(start) * np.linalg.norm(end))
            middle = middle / np.cos(np.arccos(cosine) / 2)
        difference = cells[2].astype(int) - _grey(client.decode(middle))[0]
    assert np.abs(difference).max() <= 1


@pytest.mark.parametrize("latent_size", [2, 3])
def test_manifold_is_a_grid_of_quantiles(servers, tmp_path, latent_size):
    chosen = {2: [], 3: ["--dimensions", "2,0"]}[latent_size]
    output, pixels = _picture(tmp_path, "manifold", "--server", servers[latent_size], *chosen)
    assert output == f"{tmp_path}/a.png: 400 images, 20 rows of 20\n"
    with DecoderClient(servers[latent_size]) as client:
        codes = plane_codes(latent_size, (2, 0) if chosen else None)
        expected = _grey(client.decode(codes)).reshape(20, 20, 4, 4)
    np.testing.assert_array_equal(_cells(pixels), expected)


@pytest.mark.parametrize(
    ("latent_size", "arguments", "message"),
    [
        (
            3,
            ["manifold"],
            "The model has 3 latent dimensions and a picture shows two; choose them ",
        ),
        (3, ["manifold", "--dimensions", "0,3"], "0,3 are not two of the model's latent dimensio"),
        (3, ["manifold", "--dimensions", "1,1"], "1,1 are not two of the model's latent dimensio"),
        (1, ["manifold"], "The model has 1 latent dimension, which makes no plane."),
        (2, ["interpolate", "--from", 0, "--to", 1, "--steps", 1], "1 steps leave out an end"),
    ],
)
def test_what_cannot_be_drawn(servers, tmp_path, latent_size, arguments, message):
    target = ["--server", servers[latent_size], "--output", tmp_path / "a.png"]
    result = CliRunner().invoke(main, [str(argument) for argument in [*arguments, *target]])
    assert result.exit_code == 1
    assert result.output.startswith(f"Error: {message}")
    assert len(result.output.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_seeds_are_needed():
    result = CliRunner().invoke(main, ["interpolate", "--from", "1"])
    assert result.exit_code == 2
    assert "Missing option '--to'" in result.output
