"""Pushes and rollbacks killed before any of their steps, on disk and on an object store."""

import pytest

from components.decoder_pusher.rollback import roll_back
from tests.object_store import Killed, ObjectStore, killed_at


def _push_first(shelf):
    shelf.push("a")


def _push_second(shelf):
    shelf.push("b")


def _push_and_prune(shelf):
    shelf.push("d", keep_versions=2)


def _roll_back(shelf):
    roll_back(shelf.serving_dir, shelf.registry)


_CASES = {
    "the first push": ("", _push_first, ["a"]),
    "another push": ("a", _push_second, ["a", "b"]),
    "a push that keeps two": ("abc", _push_and_prune, ["c", "d"]),
    "a rollback": ("ab", _roll_back, ["a", "b", "a"]),
}


@pytest.mark.parametrize("name", _CASES)
def test_killed_before_any_step_and_repeated(make_shelf, monkeypatch, name):
    before, command, after = _CASES[name]
    step = 0
    while True:
        step += 1
        shelf = make_shelf()
        for model in before:
            shelf.push(model)
        was_served = shelf.served()
        try:
            with monkeypatch.context() as patch, killed_at(step, patch):
                command(shelf)
            break
        except Killed:
            pass
        # Nothing is visible in part (`served` and `champions` check that), and the newest stays.
        served = shelf.served()
        assert max(served, default=0) >= max(was_served, default=0), step
        assert all(served.get(version, name) == name for version, name in was_served.items()), step
        command(shelf)
        _check_done(shelf, after, was_served, step)
    assert step > 7
    _check_done(shelf, after, was_served, step)


def _check_done(shelf, after, was_served, step):
    served, champions = shelf.served(), shelf.champions()
    assert list(served.values()) == after, step
    assert served == champions, step
    assert max(served) > max(was_served, default=0), step
    assert not [name for name in shelf.names() if name.startswith(".staging-")], step
    numbers = [int(name) for name in shelf.names() if name.isdecimal()]
    assert sorted(numbers) == sorted([*served, *champions]), step


@pytest.mark.parametrize("make_shelf", ["objects"], indirect=True)
def test_an_unfinished_number_is_not_given_again_on_an_object_store(make_shelf):
    shelf = make_shelf()
    shelf.push("a")
    ObjectStore.objects[f"{shelf.serving_dir}/2/variables/variables.index"] = b"half"
    assert shelf.served() == {1: "a"}
    assert shelf.push("b").version == 3
    assert shelf.served() == {1: "a", 3: "b"}
    assert "2" not in shelf.names()


@pytest.mark.parametrize("make_shelf", ["objects"], indirect=True)
def test_a_folder_is_written_with_its_model_last_on_an_object_store(make_shelf, monkeypatch):
    shelf = make_shelf()
    shelf.push("a")
    names = [name.rpartition("/decoder/")[2] for name in ObjectStore.objects]
    assert names == [
        "1/model_card.json",
        "1/variables/variables.index",
        "1/saved_model.pb",
        "1/Format-Serving/saved_model.pb",
        "1/Format-Serving/variables/variables.index",
        "1/champion.json",
        "highest_version",
    ]
