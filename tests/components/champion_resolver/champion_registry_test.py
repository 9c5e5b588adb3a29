import dataclasses
import json
import shutil
from pathlib import Path

import pytest

from components import saved_models
from components.champion_resolver.registry import ChampionRegistry
from components.errors import InputError
from components.image_binarizer.image_format import ImageFormat
from components.saved_models import model_fingerprint

_FORMAT = ImageFormat(28, 28, 1, "threshold", 0.25)
_CARD = {"image_format": dataclasses.asdict(_FORMAT), "elbo": -80.5}


@pytest.fixture
def model(tmp_path):
    """The files of a SavedModel; the registry does not load one."""
    folder = tmp_path / "model"
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"graph")
    (folder / "variables" / "variables.index").write_bytes(b"weights")
    return str(folder)


@pytest.fixture
def registry(tmp_path):
    return ChampionRegistry(str(tmp_path / "champions" / "decoder"))


def _names(registry):
    folder = Path(registry.folder)
    return sorted(entry.name for entry in folder.iterdir()) if folder.exists() else []


def test_nothing_is_registered_at_first(registry):
    assert registry.versions() == []
    assert registry.newest() is None
    assert _names(registry) == []


def test_a_registered_champion_is_read_back(registry, model):
    registry.register(3, model, _CARD)
    champion = registry.newest()
    assert (champion.version, champion.card, champion.image_format) == (3, _CARD, _FORMAT)
    assert champion.path == f"{registry.folder}/3/Format-Serving"
    assert model_fingerprint(champion.path) == model_fingerprint(model)


def test_the_newest_is_the_highest_number(registry, model):
    for version in (9, 10, 2):
        registry.register(version, model, {**_CARD, "elbo": -version})
    assert registry.versions() == [2, 9, 10]
    assert (registry.newest().version, registry.newest().card["elbo"]) == (10, -10)
    assert registry.read(2).card["elbo"] == -2


def _no_card(entry):
    (entry / "champion.json").unlink()


def _half_a_card(entry):
    (entry / "champion.json").write_text('{"image_format": {"hei')


def _no_image_format(entry):
    (entry / "champion.json").write_text(json.dumps({"elbo": -80.5}))


def _unknown_image_format(entry):
    (entry / "champion.json").write_text(json.dumps({"image_format": {"depth": 3}}))


def _a_list(entry):
    (entry / "champion.json").write_text("[]")


def _no_model(entry):
    (entry / "Format-Serving" / "saved_model.pb").unlink()


def _nothing(entry):
    shutil.rmtree(entry)
    entry.mkdir()


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (_no_card, "it has no champion.json"),
        (_half_a_card, "Unterminated string"),
        (_no_image_format, "missing 4 required .*'height'"),
        (_unknown_image_format, "unexpected keyword argument 'depth'"),
        (_a_list, "'list' object"),
        (_no_model, "it has no Format-Serving/saved_model.pb"),
        (_nothing, "it has no champion.json"),
    ],
)
def test_a_damaged_champion_is_named_with_the_remedy(registry, model, tmp_path, damage, reason):
    registry.register(1, model, _CARD)
    registry.register(2, model, _CARD)
    damage(tmp_path / "champions" / "decoder" / "2")
    with pytest.raises(
        InputError, match=rf"decoder/2 is damaged \(.*{reason}.*restore it, or remove its folder"
    ) as info:
        registry.newest()
    assert "\n" not in str(info.value)
    # The remedy holds.
    shutil.rmtree(f"{registry.folder}/2")
    assert registry.newest().version == 1


def _fail_on_call(number, function):
    """The function, but its n-th call fails."""
    calls = []

    def failing(*args, **kwargs):
        calls.append(args)
        if len(calls) == number:
            raise OSError("the power is gone")
        return function(*args, **kwargs)

    return failing


@pytest.mark.parametrize(
    ("name", "number"), [("copy", 1), ("copy", 2), ("makedirs", 3), ("rename", 1)]
)
def test_registration_is_whole_or_not_at_all(registry, model, monkeypatch, name, number):
    registry.register(1, model, _CARD)
    fileio = saved_models.fileio
    with monkeypatch.context() as patch:
        patch.setattr(fileio, name, _fail_on_call(number, getattr(fileio, name)))
        with pytest.raises(OSError, match="the power is gone"):
            registry.register(2, model, _CARD)
    assert registry.versions() == [1]
    assert registry.newest().version == 1
    (leftover,) = (entry for entry in _names(registry) if entry != "1")
    assert leftover.startswith(".staging-")
    registry.register(2, model, _CARD)
    assert _names(registry) == ["1", "2"]
    assert model_fingerprint(registry.newest().path) == model_fingerprint(model)


def test_the_highest_number_is_remembered_when_its_champion_is_gone(registry, model):
    assert registry.highest_ever() == 0
    registry.register(7, model, _CARD)
    assert registry.highest_ever() == 7
    registry.remember(7)
    registry.remove(7)
    assert (registry.versions(), registry.highest_ever()) == ([], 7)
    registry.remember(3)
    assert registry.highest_ever() == 7
    assert _names(registry) == ["highest_version"]


def test_a_highest_number_that_is_damaged_is_named(registry, model):
    registry.register(1, model, _CARD)
    Path(registry.folder, "highest_version").write_text("")
    with pytest.raises(InputError, match=r"highest_version is damaged .*; write the highest"):
        registry.highest_ever()
    assert registry.newest().version == 1
