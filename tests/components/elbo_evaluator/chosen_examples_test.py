import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from components.elbo_evaluator import examples as model_ready
from components.image_binarizer.image_format import ImageFormat
from tests.components.elbo_evaluator.made_up import examples_of

_FORMAT = ImageFormat(4, 4, 1, "none")


@pytest.fixture(scope="module")
def records():
    pixels = np.random.default_rng(0).integers(0, 256, (200, 4, 4, 1)).astype(np.uint8)
    return examples_of(pixels, _FORMAT, labels=np.arange(200) % 10)


def _write(records, folder, shards):
    folder.mkdir()
    for shard in range(shards):
        path = folder / f"data_tfrecord-{shard:05d}-of-{shards:05d}.gz"
        with tf.io.TFRecordWriter(str(path), tf.io.TFRecordOptions("GZIP")) as writer:
            for record in records[shard::shards]:
                writer.write(record)
    return sorted(str(path) for path in folder.iterdir())


@pytest.fixture(scope="module")
def files(records, tmp_path_factory):
    """The same Examples in one file, in seven, and in another order."""
    folder = tmp_path_factory.mktemp("files")
    order = np.random.default_rng(1).permutation(200)
    return [
        _write(records, folder / "one", 1),
        _write(records, folder / "seven", 7),
        _write(records[order], folder / "other", 3),
    ]


@given(number=st.integers(1, 250))
@settings(deadline=None, max_examples=15)
def test_the_same_examples_whatever_the_files_and_their_order(files, records, number):
    one, *others = (model_ready.choose(paths, number) for paths in files)
    assert len(one) == len(set(one)) == min(number, 200)
    assert set(one) <= set(records)
    for other in others:
        assert list(other) == list(one)


def test_examples_of_many_batches(files, monkeypatch):
    expected = [list(model_ready.choose(files[0], number)) for number in (5, 60, 300)]
    monkeypatch.setattr(model_ready, "_READ_AT_ONCE", 16)
    for paths in files:
        assert [list(model_ready.choose(paths, n)) for n in (5, 60, 300)] == expected


def test_fewer_are_the_first_of_more(files):
    assert list(model_ready.choose(files[0], 30)) == list(model_ready.choose(files[0], 90)[:30])


def test_a_choice_is_not_just_the_first_ones_and_is_of_all_labels(files, records):
    chosen = model_ready.choose(files[0], 100)
    assert list(chosen) != list(records[:100])
    assert np.bincount(model_ready.labels_of(chosen)).min() > 0


def test_equal_examples_are_kept_apart(records, tmp_path):
    paths = _write(np.repeat(records[:3], 4), tmp_path / "equal", 2)
    assert len(model_ready.choose(paths, 100)) == 12
    assert len(model_ready.choose(paths, 5)) == 5


def test_no_examples(tmp_path):
    paths = _write(np.empty(0, object), tmp_path / "empty", 1)
    assert model_ready.choose(paths, 10).shape == (0,)
    assert model_ready.choose([], 10).shape == (0,)


def test_batches_are_all_examples_in_order(files, records):
    batches = list(model_ready.batches(files[0], 64))
    assert [len(batch) for batch in batches] == [64, 64, 64, 8]
    assert list(np.concatenate(batches)) == list(records)


def test_files_of_a_split(tmp_path):
    for name in ("Split-test/b.gz", "Split-test/a.gz", "Split-train/c.gz"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = model_ready.split_files(str(tmp_path), "test")
    assert found == [f"{tmp_path}/Split-test/a.gz", f"{tmp_path}/Split-test/b.gz"]


def test_labels_and_images():
    pixels = np.arange(32).reshape(2, 4, 4, 1).astype(np.uint8)
    labelled, unlabelled = (examples_of(pixels, _FORMAT, labels) for labels in ([3, 0], None))
    np.testing.assert_array_equal(model_ready.labels_of(labelled), [3, 0])
    np.testing.assert_array_equal(model_ready.labels_of(unlabelled), [-1, -1])
    images = model_ready.images_of(labelled, _FORMAT)
    np.testing.assert_allclose(images, pixels / np.float32(255), rtol=1e-6)
