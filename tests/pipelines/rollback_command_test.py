"""`tfx-vae rollback` from the command line."""

import json

import pytest
from click.testing import CliRunner

from components.champion_resolver.registry import ChampionRegistry
from components.decoder_pusher.push import push_decoder
from pipelines.cli import main
from pipelines.places import Places

_FORMAT = {"height": 28, "width": 28, "channels": 1, "binarization": "threshold"}


@pytest.fixture
def places(tmp_path):
    """Places with versions 1 and 2; the pusher loads no model."""
    places = Places.under(str(tmp_path / "root"), "decoder")
    for name in ("first", "second"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "saved_model.pb").write_text(name)
        card = {"image_format": _FORMAT, "source_model_fingerprint": name}
        registry = ChampionRegistry(places.registry)
        push_decoder(str(folder), str(folder), card, places.serving_dir, registry)
    return places


def _rollback(tmp_path, *more):
    arguments = ["rollback", "--recipe", "digits", "--pipeline-root", str(tmp_path / "root"), *more]
    return CliRunner().invoke(main, arguments)


def test_it_says_what_serves(places, tmp_path):
    result = _rollback(tmp_path)
    assert result.exit_code == 0, result.output
    assert result.output.splitlines() == [
        "Version 3 serves. It is version 1 again, rolled back from version 2.",
        f"Decoder:  {places.serving_dir}/3",
    ]
    with open(f"{places.serving_dir}/3/model_card.json") as file:
        card = json.load(file)
    assert (card["version"], card["rolled_back_from"], card["rolled_back_to"]) == (3, 2, 1)
    assert ChampionRegistry(places.registry).newest().card == card
    again = _rollback(tmp_path).output
    assert again.startswith("Version 3 serves already; nothing was changed. It is version 1 again")


def test_another_version_by_its_number(places, tmp_path):
    result = _rollback(tmp_path, "--to", "2")
    assert result.exit_code == 0
    assert result.output.startswith("Version 2 serves already; nothing was changed.\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--to", "7"], "has no version 7; choose one of 1, 2."),
        (["--serving-name", "other"], "serving/other has no version; push one with tfx-vae run"),
        (["--recipe", "nope"], "There is no recipe 'nope'"),
    ],
)
def test_mistakes_end_with_one_line_and_change_nothing(places, tmp_path, arguments, message):
    before = sorted((tmp_path / "root").rglob("*"))
    result = _rollback(tmp_path, *arguments)
    # A recipe that does not exist is told even where its results are named.
    assert (result.exit_code, message in result.output) == (1, True), result.output
    assert len(result.output.strip().splitlines()) == 1
    assert sorted((tmp_path / "root").rglob("*")) == before
