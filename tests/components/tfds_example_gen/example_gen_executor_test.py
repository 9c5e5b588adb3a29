import json
import time
from pathlib import Path

import apache_beam as beam
import dill
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from apache_beam.testing.util import assert_that, equal_to
from PIL import Image
from tfx.types import standard_artifacts

from components.errors import InputError
from components.tfds_example_gen import DataSource, TfdsExampleGen, executor, transforms


def _run(source, splits, folder):
    component = TfdsExampleGen(source, splits)
    artifact = standard_artifacts.Examples()
    artifact.uri = str(folder)
    executor.Executor().Do({}, {"examples": [artifact]}, dict(component.exec_properties))
    return artifact


def _read(folder, split):
    files = [str(file) for file in Path(folder, f"Split-{split}").glob("*")]
    records = tf.data.TFRecordDataset(files, compression_type="GZIP").as_numpy_iterator()
    return [tf.train.Example.FromString(record) for record in records]


def _parts(example):
    features = example.features.feature
    return (
        features["image"].bytes_list.value[0],
        features["label"].int64_list.value[0],
        features["name"].bytes_list.value[0],
    )


def _image_and_label(example):
    image, label, _ = _parts(example)
    return image, label


def _stored_digits(data_dir, split):
    dataset = tfds.builder("digits", data_dir=data_dir).as_dataset(
        split=split, decoders={"image": tfds.decode.SkipDecoding()}
    )
    return sorted((e["image"], int(e["label"])) for e in tfds.as_numpy(dataset))


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "images"
    for split in ("train", "test"):
        for label, name, mode in [("b", "1.jpg", "RGB"), ("a", "2.png", "RGBA")]:
            file = root / split / label / name
            file.parent.mkdir(parents=True)
            Image.new(mode, (5, 4)).save(file)
    for name, mode in [("3.bmp", "L"), ("4.gif", "P")]:
        Image.new(mode, (6, 4)).save(root / "train" / "a" / name)
    (root / "train" / "a" / "notes.txt").write_text("ignored")
    return root


def test_digits_in_parts(digits_dir, tmp_path):
    splits = {"train": "train[:90%]", "eval": "train[90%:]"}
    source = DataSource("digits", data_dir=digits_dir)
    artifact = _run(source, splits, tmp_path)
    assert json.loads(artifact.split_names) == ["train", "eval"]
    names = set()
    for split, count in {"train": 1617, "eval": 180}.items():
        assert (tmp_path / f"Split-{split}" / "data_tfrecord-00000-of-00001.gz").is_file()
        parts = [_parts(example) for example in _read(tmp_path, split)]
        assert len(parts) == count
        stored = _stored_digits(digits_dir, splits[split])
        assert sorted((image, label) for image, label, _ in parts) == stored
        names.update(name for _, _, name in parts)
    assert len(names) == 1797
    properties = {
        key: artifact.get_string_custom_property(key)
        for key in ("dataset", "dataset_version", "fingerprint", "split_sizes", "label_names")
    }
    assert properties == {
        "dataset": "digits",
        "dataset_version": "1.0.0",
        "fingerprint": source.fingerprint(),
        "split_sizes": '{"train": 1617, "eval": 180}',
        "label_names": json.dumps([str(digit) for digit in range(10)]),
    }
    assert artifact.get_string_custom_property("payload_format") == "FORMAT_TF_EXAMPLE"


def test_prepared_folder_unlabelled_as_one_split(digits_dir, tmp_path):
    source = DataSource(f"{digits_dir}/digits/1.0.0", unlabelled=True)
    artifact = _run(source, {"train": "train[:50]"}, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["Split-train"]
    assert [_parts(example)[1] for example in _read(tmp_path, "train")] == [-1] * 50
    assert artifact.get_string_custom_property("label_names") == "[]"


def test_image_folder(folder, tmp_path):
    out = tmp_path / "out"
    artifact = _run(DataSource(str(folder)), {"train": "train", "eval": "test"}, out)
    parts = {
        name.decode(): (image, label) for image, label, name in map(_parts, _read(out, "train"))
    }
    assert set(parts) == {"train/a/2.png", "train/a/3.bmp", "train/a/4.gif", "train/b/1.jpg"}
    for name, (image, label) in parts.items():
        assert image == (folder / name).read_bytes()
        assert label == "ab".index(name.split("/")[1])
    assert len(_read(out, "eval")) == 2
    assert artifact.get_string_custom_property("label_names") == '["a", "b"]'
    assert artifact.get_string_custom_property("dataset") == str(folder)


def test_the_same_split_twice_is_counted_right(folder, tmp_path):
    _run(DataSource(str(folder)), {"train": "train", "eval": "train"}, tmp_path / "out")
    assert len(_read(tmp_path / "out", "eval")) == 4


def test_real_horses_or_humans(pytestconfig, tmp_path):
    root = pytestconfig.rootpath.parent / "shared" / "data" / "horses_or_humans"
    if not root.is_dir():
        pytest.skip("the real images in ../shared/data/horses_or_humans are absent")
    artifact = _run(DataSource(str(root)), {"train": "train", "eval": "validation"}, tmp_path)
    sizes = json.loads(artifact.get_string_custom_property("split_sizes"))
    assert sum(sizes.values()) == 112
    for split, size in sizes.items():
        parts = [_parts(example) for example in _read(tmp_path, split)]
        assert len(parts) == size
        assert all(image == (root / name.decode()).read_bytes() for image, _, name in parts)


def test_nothing_is_written_when_a_split_is_wrong(digits_dir, tmp_path):
    source = DataSource("digits", data_dir=digits_dir)
    for expression in ("validation", "train[:0.01%]", "train["):
        with pytest.raises(InputError, match=r"Existing splits: train"):
            _run(source, {"train": "train", "eval": expression}, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_count_is_noticed(digits_dir, tmp_path, monkeypatch):
    monkeypatch.setattr(executor, "count_splits", lambda data, splits: {"train": 7})
    source = DataSource("digits", data_dir=digits_dir)
    with pytest.raises(RuntimeError, match=r"Read 9 examples of split 'train\[:9\]' where 7"):
        _run(source, {"train": "train[:9]"}, tmp_path)


def test_transforms_in_beam(digits_dir, folder):
    digits = DataSource("digits", data_dir=digits_dir).open()
    images = DataSource(str(folder)).open()
    with beam.Pipeline() as pipeline:
        read = pipeline | "Digits" >> transforms.ReadExamples(digits, "train[10:30]")
        pairs = read | beam.Map(_image_and_label)
        assert_that(pairs, equal_to(_stored_digits(digits_dir, "train[10:30]")), "digits")
        names = pipeline | "Folder" >> transforms.ReadExamples(images, "test")
        names |= "Name" >> beam.Map(lambda example: _parts(example)[2])
        assert_that(names, equal_to([b"test/a/2.png", b"test/b/1.jpg"]), "folder")


def test_transforms_pickle(digits_dir, folder):
    for source in (DataSource("digits", data_dir=digits_dir), DataSource(str(folder))):
        assert dill.loads(dill.dumps(transforms.ReadExamples(source.open(), "train")))


@pytest.mark.slow
def test_real_mnist(pytestconfig, tmp_path):
    manual = pytestconfig.rootpath.parent / "shared" / "data" / "mnist"
    if not manual.is_dir():
        pytest.skip("the real files in ../shared/data/mnist are absent")
    data = tmp_path / "tfds"
    data.mkdir()
    source = DataSource("mnist", data_dir=str(data), manual_dir=str(manual))
    splits = {"train": "train[:90%]", "eval": "train[90%:]", "test": "test"}
    source.prepare()
    started = time.monotonic()
    artifact = _run(source, splits, tmp_path / "out")
    print(f"MNIST took {time.monotonic() - started:.1f} s through the executor.")
    sizes = json.loads(artifact.get_string_custom_property("split_sizes"))
    assert sizes == {"train": 54_000, "eval": 6_000, "test": 10_000}
    assert {split: len(_read(tmp_path / "out", split)) for split in sizes} == sizes
