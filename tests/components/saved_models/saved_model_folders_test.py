import errno
import shutil

import pytest

from components import saved_models
from components.saved_models import (
    model_fingerprint,
    numbered_folders,
    publish_folder,
    remove_folder,
    remove_leftovers,
    renames_whole,
    version_numbers,
)
from tests.object_store import ObjectStore, register_object_store


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "model"
    for name, content in {
        "saved_model.pb": b"graph",
        "variables/variables.index": b"index",
        "variables/variables.data-00000-of-00001": b"weights" * 1000,
        "assets/names.txt": b"a\nb\n",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def test_a_copy_has_the_same_fingerprint(model, tmp_path):
    fingerprint = model_fingerprint(str(model))
    assert len(fingerprint) == 16
    assert int(fingerprint, 16)
    shutil.copytree(model, tmp_path / "elsewhere" / "copy")
    assert model_fingerprint(str(tmp_path / "elsewhere" / "copy")) == fingerprint
    assert model_fingerprint(f"{model}/") == fingerprint


def test_one_byte_changes_the_fingerprint(model):
    fingerprint = model_fingerprint(str(model))
    weights = model / "variables" / "variables.data-00000-of-00001"
    weights.write_bytes(weights.read_bytes()[:-1] + b"S")
    assert model_fingerprint(str(model)) != fingerprint


def test_a_byte_beyond_the_first_read_counts(model, monkeypatch):
    monkeypatch.setattr(saved_models, "_READ_BYTES", 16)
    test_one_byte_changes_the_fingerprint(model)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("variables/variables.index", "variables/variables.jndex"),
        ("variables/variables.index", "variables.index"),
        ("assets", "assets2"),
    ],
)
def test_another_name_changes_the_fingerprint(model, old, new):
    fingerprint = model_fingerprint(str(model))
    (model / old).rename(model / new)
    assert model_fingerprint(str(model)) != fingerprint


def test_an_added_file_changes_the_fingerprint(model):
    fingerprint = model_fingerprint(str(model))
    (model / "assets" / "more.txt").write_bytes(b"")
    assert model_fingerprint(str(model)) != fingerprint


def test_warm_up_requests_do_not_change_the_fingerprint(model):
    fingerprint = model_fingerprint(str(model))
    (model / "assets.extra").mkdir()
    (model / "assets.extra" / "tf_serving_warmup_requests").write_bytes(b"requests")
    assert model_fingerprint(str(model)) == fingerprint


def test_version_numbers_are_in_numeric_order(tmp_path):
    for name in ("9", "10", "1", ".staging-12", "-3", "2.5", "1e3", "latest", "v7", "temp-8"):
        (tmp_path / name).mkdir()
    assert version_numbers(str(tmp_path)) == [1, 9, 10]


def test_no_folder_has_no_versions(tmp_path):
    assert version_numbers(str(tmp_path / "absent")) == []
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_published_with_its_texts(model, tmp_path):
    parent = tmp_path / "serving" / "decoder"
    path = publish_folder({"": str(model)}, {"card.json": "{}"}, str(parent), "3")
    assert path == str(parent / "3")
    assert [entry.name for entry in parent.iterdir()] == ["3"]
    assert (parent / "3" / "card.json").read_text() == "{}"
    (parent / "3" / "card.json").unlink()
    assert model_fingerprint(path) == model_fingerprint(str(model))


def test_a_published_folder_is_never_replaced(model, tmp_path):
    publish_folder({"": str(model)}, {"card.json": "first"}, str(tmp_path / "out"), "1")
    # Of a type that depends on whether TensorFlow is there to open the files.
    with pytest.raises(Exception, match="already exists"):
        publish_folder({"": str(model)}, {"card.json": "second"}, str(tmp_path / "out"), "1")
    assert (tmp_path / "out" / "1" / "card.json").read_text() == "first"


def test_a_failed_copy_is_invisible_and_cleared_away_by_the_next(model, tmp_path, monkeypatch):
    parent = tmp_path / "out"

    def no_space(path, text):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(saved_models.io_utils, "write_string_file", no_space)
        with pytest.raises(OSError, match="No space left"):
            publish_folder({"": str(model)}, {"card.json": "{}"}, str(parent), "1")
    assert version_numbers(str(parent)) == []
    (leftover,) = parent.iterdir()
    assert leftover.name.startswith(".staging-")
    publish_folder({"": str(model)}, {"card.json": "{}"}, str(parent), "1")
    assert [entry.name for entry in parent.iterdir()] == ["1"]


@pytest.mark.parametrize(
    ("path", "whole"),
    [
        ("runs/digits", True),
        ("/runs/digits", True),
        ("hdfs://cluster/digits", True),
        ("gs://bucket/digits", False),
        ("s3://bucket/digits", False),
    ],
)
def test_where_a_rename_is_one_step(path, whole):
    assert renames_whole(path) == whole


def test_a_folder_is_removed(model, tmp_path):
    parent = str(tmp_path / "out")
    for name in ("1", "2"):
        publish_folder({"": str(model)}, {}, parent, name)
    remove_folder(parent, "1")
    assert [entry.name for entry in (tmp_path / "out").iterdir()] == ["2"]


def test_a_removal_that_was_killed_is_invisible_and_finished_later(model, tmp_path, monkeypatch):
    parent = tmp_path / "out"
    publish_folder({"": str(model)}, {}, str(parent), "1")
    with monkeypatch.context() as patch:
        patch.setattr(saved_models.fileio, "rmtree", None)
        with pytest.raises(TypeError):
            remove_folder(str(parent), "1")
    assert version_numbers(str(parent)) == []
    remove_leftovers(str(parent))
    assert list(parent.iterdir()) == []


def test_on_an_object_store_a_version_counts_from_its_last_file_on(model):
    register_object_store()
    parent = "objects://bucket/decoder"
    assert version_numbers(parent) == []
    path = publish_folder({"": str(model)}, {"card.json": "{}"}, parent, "3")
    assert path == f"{parent}/3"
    assert list(ObjectStore.objects)[-1] == f"{parent}/3/saved_model.pb"
    ObjectStore.objects[f"{parent}/4/variables/variables.index"] = b"half"
    assert version_numbers(parent) == [3]
    assert numbered_folders(parent) == [3, 4]
    with pytest.raises(FileExistsError, match="3 already exists"):
        publish_folder({"": str(model)}, {}, parent, "3")
    assert numbered_folders(parent) == [3]
    del ObjectStore.objects[f"{parent}/3/card.json"]
    assert model_fingerprint(path) == model_fingerprint(str(model))
    remove_folder(parent, "3")
    assert ObjectStore.objects == {}
