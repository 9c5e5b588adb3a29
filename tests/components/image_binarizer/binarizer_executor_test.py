import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_metadata.proto.v0 import anomalies_pb2
from tfx import types
from tfx.components.util import examples_utils
from tfx.types import artifact_utils, standard_artifacts

from components.errors import InputError
from components.image_binarizer import ImageBinarizer, ImageFormat
from components.image_binarizer.executor import Executor, check_dead_letters, raise_for_anomalies
from components.image_binarizer.image_format import read_mean_image, read_pixel_moments
from tests.conftest import SPLITS
from tests.example_files import binarize_examples, png, raw_example, write_examples

_FORMAT = ImageFormat(4, 4, 1, "threshold")


def _read(artifact, split):
    files = [str(file) for file in Path(artifact.uri, f"Split-{split}").glob("*")]
    records = tf.data.TFRecordDataset(files, compression_type="GZIP").as_numpy_iterator()
    return [tf.train.Example.FromString(record).features.feature for record in records]


def _images(artifact, split):
    return [features["image"].bytes_list.value[0] for features in _read(artifact, split)]


def _labels(artifact, split):
    return [features["label"].int64_list.value[0] for features in _read(artifact, split)]


def _split_sizes(artifact):
    return json.loads(artifact.get_string_custom_property("split_sizes"))


def _raw(folder, good, bad=0, splits=("train",)):
    """`good` grey images and then `bad` undecodable ones in every split."""
    return write_examples(
        folder,
        {
            split: [
                *(
                    raw_example(png(np.full((4, 4), i, np.uint8)), i, f"ok-{i}")
                    for i in range(good)
                ),
                *(raw_example(b"junk", 9, f"{split}-bad-{i}") for i in range(bad)),
            ]
            for split in splits
        },
    )


def _bits_of_digits(raw, split):
    """What the executor should make of 8x8 digits, by TensorFlow and NumPy alone."""
    pixels = [tf.io.decode_png(image) for image in _images(raw, split)]
    resized = tf.image.resize(tf.stack(pixels), (28, 28), antialias=True)
    return np.clip(np.round(resized), 0, 255).astype(np.uint8) >= 128


@pytest.fixture(scope="module")
def binarized(raw_digits, tmp_path_factory):
    folder = tmp_path_factory.mktemp("binarized")
    return binarize_examples(raw_digits, folder, ImageFormat(28, 28, 1, "threshold"))


def test_files_and_properties(binarized):
    ready, dead = binarized
    for artifact in binarized:
        assert artifact_utils.decode_split_names(artifact.split_names) == list(SPLITS)
        assert examples_utils.get_payload_format_string(artifact) == "FORMAT_TF_EXAMPLE"
        for split in SPLITS:
            files = [path.name for path in Path(artifact.uri, f"Split-{split}").iterdir()]
            assert files == ["data_tfrecord-00000-of-00001.gz"]
    assert sorted(path.name for path in Path(ready.uri).iterdir() if path.is_file()) == [
        "image_format.json",
        "mean_image-eval.npz",
        "mean_image-test.npz",
        "mean_image-train.npz",
    ]
    assert ImageFormat.read(ready.uri) == ImageFormat(28, 28, 1, "threshold")
    properties = {
        key: ready.get_string_custom_property(key)
        for key in ("height", "width", "channels", "binarization", "threshold", "seed", "encoding")
    }
    assert ready.get_string_custom_property("dataset") == "digits"
    assert properties == {
        "height": "28",
        "width": "28",
        "channels": "1",
        "binarization": "threshold",
        "threshold": "0.5",
        "seed": "0",
        "encoding": "bits",
    }
    assert _split_sizes(ready) == SPLITS
    assert _split_sizes(dead) == dict.fromkeys(SPLITS, 0)


@pytest.mark.parametrize("split", list(SPLITS))
def test_records_and_mean_image(binarized, raw_digits, split):
    ready, dead = binarized
    expected = _bits_of_digits(raw_digits, split)
    packed = [np.packbits(bits).tobytes() for bits in expected]
    assert {len(record) for record in packed} == {98}
    found = sorted(zip(_images(ready, split), _labels(ready, split), strict=True))
    assert found == sorted(zip(packed, _labels(raw_digits, split), strict=True))
    assert all(set(features) == {"image", "label"} for features in _read(ready, split))
    assert _read(dead, split) == []
    mean, count = read_mean_image(ready.uri, split)
    assert count == SPLITS[split]
    np.testing.assert_array_equal(mean, expected.mean(axis=0))
    # A bit is its own square.
    np.testing.assert_array_equal(read_pixel_moments(ready.uri, split).mean_square, mean)
    assert 0.05 < mean.mean() < 0.95


def test_moments_of_intensities(tmp_path):
    raw = _raw(tmp_path / "raw", good=40)
    ready, _ = binarize_examples(raw, tmp_path, ImageFormat(2, 3, 3, "none"))
    records = np.stack([np.frombuffer(image, np.uint8) for image in _images(ready, "train")])
    moments = read_pixel_moments(ready.uri, "train")
    assert (moments.count, moments.mean.shape) == (40, (2, 3, 3))
    np.testing.assert_allclose(moments.mean.ravel(), records.mean(axis=0) / 255, rtol=1e-12)
    squares = np.square(records / 255).mean(axis=0)
    np.testing.assert_allclose(moments.mean_square.ravel(), squares, rtol=1e-12)
    assert ready.get_string_custom_property("encoding") == "uint8"


def _with_shards(raw, folder, shards):
    """The raw Examples of the eval split, in reverse order and another number of files."""
    artifact = standard_artifacts.Examples()
    artifact.copy_from(raw)
    artifact.uri = str(folder)
    artifact.split_names = artifact_utils.encode_split_names(["eval"])
    files = [str(file) for file in Path(raw.uri, "Split-eval").glob("*")]
    dataset = tf.data.TFRecordDataset(files, compression_type="GZIP")
    records = list(dataset.as_numpy_iterator())[::-1]
    target = folder / "Split-eval"
    target.mkdir(parents=True)
    for shard in range(shards):
        path = target / f"data_tfrecord-{shard:05d}-of-{shards:05d}.gz"
        with tf.io.TFRecordWriter(str(path), tf.io.TFRecordOptions("GZIP")) as writer:
            for record in records[shard::shards]:
                writer.write(record)
    return artifact


def test_shards_and_order_do_not_change_the_records(raw_digits, tmp_path):
    image_format = ImageFormat(9, 9, 1, "stochastic", seed=1)
    pairs, means = [], []
    for shards in (1, 7):
        raw = _with_shards(raw_digits, tmp_path / f"raw-{shards}", shards)
        ready, _ = binarize_examples(raw, tmp_path / str(shards), image_format)
        pairs.append(sorted(zip(_images(ready, "eval"), _labels(ready, "eval"), strict=True)))
        means.append(read_mean_image(ready.uri, "eval")[0])
    assert len(pairs[0]) == 100
    assert pairs[0] == pairs[1]
    np.testing.assert_array_equal(*means)


def test_payload_and_file_format_are_carried_over(tmp_path):
    raw = _raw(tmp_path / "raw", good=2)
    raw.set_string_custom_property("file_format", "tfrecords_gzip,of_another_kind")
    raw.set_string_custom_property("payload_format", "FORMAT_PROTO")
    for artifact in binarize_examples(raw, tmp_path, _FORMAT):
        for key in ("file_format", "payload_format"):
            expected = raw.get_string_custom_property(key)
            assert artifact.get_string_custom_property(key) == expected


def test_dead_letters_within_the_share_are_kept_apart(tmp_path):
    raw = _raw(tmp_path / "raw", good=8, bad=2, splits=("train", "eval"))
    ready, dead = binarize_examples(raw, tmp_path, _FORMAT, max_undecodable_share=0.2)
    assert _split_sizes(ready) == {"train": 8, "eval": 8}
    assert _split_sizes(dead) == {"train": 2, "eval": 2}
    for split in ("train", "eval"):
        assert sorted(_labels(ready, split)) == list(range(8))
        letters = _read(dead, split)
        assert [letter["image"].bytes_list.value[0] for letter in letters] == [b"junk"] * 2
        assert {letter["name"].bytes_list.value[0] for letter in letters} == {
            f"{split}-bad-{i}".encode() for i in range(2)
        }
        assert {letter["reason"].bytes_list.value[0] for letter in letters} == {
            b"not an image in any format that Pillow reads"
        }
        summary = json.loads(Path(dead.uri, f"summary-{split}.json").read_text())
        assert summary["count"] == 2
        assert [name for name, _ in summary["first"]] == [f"{split}-bad-{i}" for i in range(2)]


def test_dead_letters_above_the_share_stop_the_pipeline(tmp_path):
    raw = _raw(tmp_path / "raw", good=4, bad=1)
    with pytest.raises(InputError) as caught:
        binarize_examples(raw, tmp_path, _FORMAT, max_undecodable_share=0.1)
    assert str(caught.value) == (
        "1 of 5 images cannot be decoded: train-bad-0 (not an image in any format that Pillow "
        "reads). Replace or remove them, or tolerate a share of them with "
        "--max-undecodable-share (now 0.1)."
    )


def test_the_first_five_of_all_splits_are_named():
    first = {split: [[f"{split}-{i}", "broken"] for i in range(4)] for split in ("train", "eval")}
    summaries = {split: {"count": len(names), "first": names} for split, names in first.items()}
    named = (
        "train-0 (broken); train-1 (broken); train-2 (broken); train-3 (broken); eval-0 (broken)"
    )
    with pytest.raises(InputError) as caught:
        check_dead_letters({"train": 4, "eval": 0}, summaries, 0.0)
    assert f"8 of 12 images cannot be decoded: {named} and 3 more. " in str(caught.value)


def test_a_share_that_is_just_met_is_tolerated():
    for num_dead in range(101):
        summaries = {"train": {"count": num_dead, "first": [["name", "reason"]]}}
        counts = {"train": 100 - num_dead, "eval": 0}
        # The empty split is found only after the share has been let through.
        with pytest.raises(InputError, match=r"^Split .*eval has no image"):
            check_dead_letters(counts, summaries, float(f"{num_dead / 100:.2f}"))
        if num_dead:
            with pytest.raises(InputError, match=f"^{num_dead} of 100 images"):
                check_dead_letters(counts, summaries, float(f"{(num_dead - 1) / 100:.2f}"))


def test_a_split_without_an_image(tmp_path):
    records = [raw_example(png(np.zeros((4, 4), np.uint8)), 0, "one")]
    raw = write_examples(tmp_path / "raw", {"train": records, "eval": []})
    with pytest.raises(InputError) as caught:
        binarize_examples(raw, tmp_path, _FORMAT)
    assert str(caught.value) == "Split eval has no image; choose another split expression."


def _anomalies(folder, **splits):
    artifact = standard_artifacts.ExampleAnomalies()
    artifact.uri = str(folder)
    artifact.split_names = artifact_utils.encode_split_names(list(splits))
    for split, descriptions in splits.items():
        proto = anomalies_pb2.Anomalies()
        for feature, description in descriptions.items():
            if feature is None:
                proto.dataset_anomaly_info.description = description
            else:
                proto.anomaly_info[feature].description = description
        path = Path(folder, f"Split-{split}", "SchemaDiff.pb")
        path.parent.mkdir(parents=True)
        path.write_bytes(proto.SerializeToString())
    return artifact


def _run(raw, folder, anomalies):
    ready, dead = standard_artifacts.Examples(), standard_artifacts.Examples()
    for artifact, name in ((ready, "ready"), (dead, "dead")):
        artifact.uri = str(folder / name)
        (folder / name).mkdir()
    component = ImageBinarizer(
        examples=types.Channel(standard_artifacts.Examples),
        anomalies=types.Channel(standard_artifacts.ExampleAnomalies),
        image_format=_FORMAT,
    )
    Executor().Do(
        {"examples": [raw], "anomalies": [anomalies]},
        {"model_ready_examples": [ready], "dead_letters": [dead]},
        dict(component.exec_properties),
    )
    return ready


def test_anomalies_stop_the_pipeline_before_anything_is_written(tmp_path):
    anomalies = _anomalies(
        tmp_path / "anomalies", train={"label": "Missing", "image": "Empty"}, eval={}
    )
    raw = _raw(tmp_path / "raw", good=1)
    with pytest.raises(InputError) as caught:
        _run(raw, tmp_path, anomalies)
    assert str(caught.value) == (
        "The data does not fit its schema (train: image: Empty; train: label: Missing). "
        "Mend the data, or the schema.pbtxt of this data set if the data is right."
    )
    assert list((tmp_path / "ready").iterdir()) == []


def test_anomalies_of_every_split_and_of_the_data_set_are_named(tmp_path):
    anomalies = _anomalies(tmp_path, train={None: "Too few"}, eval={"label": "Not an int"})
    with pytest.raises(
        InputError, match=r"\(train: the data set: Too few; eval: label: Not an int\)"
    ):
        raise_for_anomalies(anomalies)


def test_without_anomalies_the_component_runs(tmp_path):
    anomalies = _anomalies(tmp_path / "anomalies", train={}, eval={})
    ready = _run(_raw(tmp_path / "raw", good=3), tmp_path, anomalies)
    assert _split_sizes(ready) == {"train": 3}
    assert ImageFormat.read(ready.uri) == _FORMAT
