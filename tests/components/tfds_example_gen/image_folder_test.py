import itertools
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from components.errors import InputError
from components.tfds_example_gen.image_folder import ImageFolder
from components.tfds_example_gen.source import DataSource


def _save(path, mode="L"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, (4, 3)).save(path)


def _class_folder(root, counts):
    for label, count in counts.items():
        for index in range(count):
            path = root / label / f"{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"never opened")
    return root


@pytest.fixture(scope="module")
def hundred_images(tmp_path_factory):
    root = _class_folder(tmp_path_factory.mktemp("hundred"), {"cat": 61, "dog": 39})
    return ImageFolder(str(root))


def test_class_folders_are_one_split_with_sorted_labels(tmp_path):
    folder = ImageFolder(str(_class_folder(tmp_path, {"dog": 2, "cat": 3})))
    assert folder.label_names() == ["cat", "dog"]
    assert {name: info.num_examples for name, info in folder.split_infos.items()} == {"train": 5}
    assert all(
        file.label == ["cat", "dog"].index(file.path.split("/")[0])
        for file in folder.list_images("train")
    )


def test_labels_are_numbered_over_all_splits(tmp_path):
    _save(tmp_path / "train" / "b" / "1.png")
    _save(tmp_path / "test" / "a" / "1.png")
    folder = ImageFolder(str(tmp_path))
    assert folder.label_names() == ["a", "b"]
    assert folder.list_images("train") == [("train/b/1.png", 1)]
    assert folder.list_images("test") == [("test/a/1.png", 0)]
    assert len(folder.list_images("train+test")) == 2


def test_every_mode_and_extension_counts_and_others_are_reported(tmp_path, caplog):
    for name, mode in {"a.jpg": "RGB", "b.PNG": "RGBA", "c.bmp": "L", "d.gif": "P"}.items():
        _save(tmp_path / "x" / name, mode)
    (tmp_path / "x" / "notes.txt").write_text("not an image")
    (tmp_path / "x" / ".hidden.png").write_text("not looked at")
    (tmp_path / ".git").mkdir()
    with caplog.at_level("INFO", logger="absl"):
        folder = ImageFolder(str(tmp_path))
    assert len(folder.list_images("train")) == 4
    assert folder.skipped == 1
    assert "skipped 1 files that are not images" in caplog.text


def test_flat_folder_needs_unlabelled(tmp_path):
    _save(tmp_path / "1.png")
    with pytest.raises(InputError, match=r"have no labels; .* pass --unlabelled"):
        ImageFolder(str(tmp_path))
    folder = ImageFolder(str(tmp_path), unlabelled=True)
    assert folder.list_images("train") == [("1.png", -1)]
    assert folder.label_names() == []


def test_folders_called_like_splits_are_no_classes(tmp_path):
    _save(tmp_path / "train" / "1.png")
    _save(tmp_path / "test" / "1.png")
    with pytest.raises(InputError, match="have no labels"):
        ImageFolder(str(tmp_path))
    assert set(ImageFolder(str(tmp_path), unlabelled=True).split_infos) == {"train", "test"}


def test_unlabelled_wins_over_label_folders(tmp_path):
    folder = ImageFolder(str(_class_folder(tmp_path, {"a": 1, "b": 1})), unlabelled=True)
    assert [file.label for file in folder.list_images("train")] == [-1, -1]


def test_mixed_depths_are_refused(tmp_path):
    _save(tmp_path / "1.png")
    _save(tmp_path / "a" / "2.png")
    with pytest.raises(InputError, match=r"\(see 1.png and a/2.png\); arrange them as"):
        ImageFolder(str(tmp_path))


def test_a_folder_deeper_than_any_layout_is_refused(tmp_path):
    _save(tmp_path / "a" / "b" / "c" / "2.png")
    with pytest.raises(InputError, match="do not all lie at the depth"):
        ImageFolder(str(tmp_path))


def test_a_link_to_the_parent_ends(tmp_path):
    _class_folder(tmp_path, {"a": 1})
    os.symlink(tmp_path, tmp_path / "a" / "loop")
    with pytest.raises(InputError, match="do not all lie at the depth"):
        ImageFolder(str(tmp_path))


def test_folder_without_image(tmp_path):
    (tmp_path / "notes.txt").write_text("text")
    with pytest.raises(InputError, match=r"holds no image \(only 1 other files\); fill it as"):
        ImageFolder(str(tmp_path))


def test_folder_above_a_prepared_data_set_names_it(tmp_path):
    (tmp_path / "1.0.0").mkdir()
    (tmp_path / "1.0.0" / "dataset_info.json").write_text("{}")
    with pytest.raises(InputError, match=r"for the prepared data set, give .*1\.0\.0"):
        ImageFolder(str(tmp_path))


def test_fingerprint_follows_the_files(tmp_path):
    _class_folder(tmp_path, {"a": 2})
    source = DataSource(str(tmp_path))
    first = source.fingerprint()
    assert len(first) == 16
    assert source.fingerprint() == first
    os.utime(tmp_path / "a" / "0.png", ns=(1, 1))
    second = source.fingerprint()
    assert second != first
    (tmp_path / "a" / "1.png").rename(tmp_path / "a" / "3.png")
    assert source.fingerprint() not in (first, second)


def test_order_depends_on_names_alone(tmp_path, hundred_images):
    other = ImageFolder(str(_class_folder(tmp_path, {"dog": 39, "cat": 61})))
    assert other.list_images("train") == hundred_images.list_images("train")


def test_a_part_mixes_the_classes(hundred_images):
    assert {file.label for file in hundred_images.list_images("train[:20%]")} == {0, 1}


@given(percent=st.integers(1, 99))
@settings(deadline=None)
def test_percent_parts_are_disjoint_and_complete(hundred_images, percent):
    head = hundred_images.list_images(f"train[:{percent}%]")
    tail = hundred_images.list_images(f"train[{percent}%:]")
    assert head + tail == hundred_images.list_images("train")
    assert not set(head) & set(tail)


@given(cuts=st.sets(st.integers(1, 99), min_size=1, max_size=5))
@settings(deadline=None)
def test_absolute_parts_are_disjoint_and_complete(hundred_images, cuts):
    edges = [0, *sorted(cuts), 100]
    parts = [f"train[{a}:{b}]" for a, b in itertools.pairwise(edges)]
    joined = hundred_images.list_images("+".join(parts))
    assert joined == hundred_images.list_images("train")


def test_real_horses_or_humans(pytestconfig):
    root = pytestconfig.rootpath.parent / "shared" / "data" / "horses_or_humans"
    if not root.is_dir():
        pytest.skip("the real images in ../shared/data/horses_or_humans are absent")
    folder = ImageFolder(str(root))
    assert folder.label_names() == ["horses", "humans"]
    assert set(folder.split_infos) == {"train", "validation"}
    assert len(folder.list_images("train+validation")) == 112
