import json
import shutil
from pathlib import Path

import pytest

from components.decoder_pusher.rollback import roll_back
from components.errors import InputError
from tests.object_store import ObjectStore


@pytest.fixture
def shelf(make_shelf):
    """Versions 1 to 3, of the models a to c."""
    shelf = make_shelf()
    for name in "abc":
        shelf.push(name)
    return shelf


def _roll_back(shelf, to=None):
    return roll_back(shelf.serving_dir, shelf.registry, to)


def _remove(folder):
    if not folder.startswith("objects://"):
        shutil.rmtree(folder)
        return
    for name in [name for name in ObjectStore.objects if name.startswith(f"{folder}/")]:
        del ObjectStore.objects[name]


def test_the_version_before_the_newest_serves_again_as_a_new_one(shelf):
    result = _roll_back(shelf)
    assert (result.version, result.changed) == (4, True)
    assert result.path == f"{shelf.serving_dir}/4"
    assert shelf.served() == shelf.champions() == {1: "a", 2: "b", 3: "c", 4: "b"}
    card = shelf.registry.newest().card
    assert (card["rolled_back_from"], card["rolled_back_to"], card["version"]) == (3, 2, 4)
    assert result.card == card


def test_a_version_by_its_number(shelf):
    assert _roll_back(shelf, 1).version == 4
    assert shelf.served() == shelf.champions() == {1: "a", 2: "b", 3: "c", 4: "a"}


@pytest.mark.parametrize("to", [None, 2])
def test_repeated_it_changes_nothing(shelf, to):
    _roll_back(shelf, to)
    again = _roll_back(shelf, to)
    assert (again.version, again.changed) == (4, False)
    assert list(shelf.served()) == [1, 2, 3, 4]


def test_the_newest_is_served_already(shelf):
    result = _roll_back(shelf, 3)
    assert (result.version, result.changed) == (3, False)
    assert list(shelf.served()) == [1, 2, 3]


def test_further_back_and_forth(shelf):
    _roll_back(shelf)
    _roll_back(shelf, 1)
    result = _roll_back(shelf, 3)
    assert list(shelf.served().values()) == list("abcbac")
    assert (result.card["rolled_back_from"], result.card["rolled_back_to"]) == (5, 3)


def test_a_push_after_it_has_a_higher_number_and_no_note(shelf):
    _roll_back(shelf)
    assert shelf.push("d").version == 5
    assert "rolled_back_to" not in shelf.registry.newest().card
    assert _roll_back(shelf).card["rolled_back_to"] == 4
    assert shelf.served()[6] == "b"


@pytest.mark.parametrize("make_shelf", ["local"], indirect=True)
def test_the_warm_up_requests_come_along(make_shelf):
    shelf = make_shelf()
    shelf.push("a")
    shelf.push("b")
    requests = Path(shelf.serving_dir, "1", "assets.extra", "tf_serving_warmup_requests")
    requests.parent.mkdir()
    requests.write_bytes(b"requests")
    result = _roll_back(shelf)
    again = Path(result.path, "assets.extra", "tf_serving_warmup_requests")
    assert again.read_bytes() == b"requests"
    assert json.loads(Path(result.path, "model_card.json").read_text()) == result.card


def _refused(shelf, message, to=None):
    served = list(shelf.served())
    with pytest.raises(InputError, match=message) as info:
        _roll_back(shelf, to)
    assert "\n" not in str(info.value)
    assert list(shelf.served()) == served


def test_no_version(make_shelf):
    _refused(make_shelf(), "serving/decoder has no version; push one")


def test_only_one_version(make_shelf):
    shelf = make_shelf()
    shelf.push("a")
    _refused(shelf, "has version 1 alone, so there is nothing to go back to")


def test_no_such_version(shelf):
    _refused(shelf, "has no version 7; choose one of 1, 2, 3", to=7)


def test_a_version_that_was_removed(shelf):
    shelf.push("d", keep_versions=2)
    _refused(shelf, "has no version 1; choose one of 3, 4", to=1)


def test_a_champion_that_is_missing(shelf):
    _remove(f"{shelf.registry.folder}/2")
    _refused(shelf, "champions/decoder has no champion 2, .*; restore its folder, or go back to")
    assert _roll_back(shelf, 1).version == 4


def test_a_champion_that_is_damaged(shelf):
    _remove(f"{shelf.registry.folder}/2/Format-Serving")
    _refused(shelf, "2 is damaged .it has no Format-Serving/saved_model.pb")
