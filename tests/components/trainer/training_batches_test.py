"""The input pipeline: every image once an epoch, in a new order, from any step on."""

import numpy as np
import pytest
import tensorflow as tf

from components.errors import InputError
from components.image_binarizer import ImageFormat
from components.trainer.input import evaluation_batches, load_records, training_batches


@pytest.fixture(scope="module")
def data(ready_digits):
    return [f"{ready_digits.uri}/Split-train/*"], ImageFormat(28, 28, 1, "threshold")


def batches(data, count, batch_size=100, first_step=0, seed=0):
    patterns, image_format = data
    records = load_records(patterns, image_format)
    stream = training_batches(records, image_format, batch_size, seed, first_step)
    return [batch.numpy() for batch in stream.take(count)]


def keys(batch):
    return [image.tobytes() for image in batch]


def test_an_epoch_holds_every_image_once(data):
    patterns, image_format = data
    everything = np.concatenate(
        [batch.numpy() for batch in evaluation_batches(patterns, image_format, 64)]
    )
    epoch = np.concatenate(batches(data, 4))
    assert sorted(keys(epoch)) == sorted(keys(everything))
    assert len(epoch) == 400


def test_each_epoch_mixes_images_anew(data):
    first, second = np.split(np.concatenate(batches(data, 8)), 2)
    assert sorted(keys(first)) == sorted(keys(second))
    assert keys(first) != keys(second)
    # Batches are mixed from images, not just reordered.
    assert set(keys(first[:100])) not in [set(keys(b)) for b in np.split(second, 4)]


def test_partial_batches_are_left_to_another_epoch(data):
    shapes = {batch.shape for batch in batches(data, 10, batch_size=150)}
    assert shapes == {(150, 28, 28, 1)}


@pytest.mark.parametrize("first_step", [3, 4, 9])
def test_a_stream_can_be_entered_at_any_step(data, first_step):
    whole = batches(data, 12)
    entered = batches(data, 12 - first_step, first_step=first_step)
    for expected, given in zip(whole[first_step:], entered, strict=True):
        np.testing.assert_array_equal(expected, given)


def test_another_seed_gives_another_order(data):
    assert keys(batches(data, 1)[0]) != keys(batches(data, 1, seed=1)[0])


def test_batches_do_not_depend_on_shards_or_their_order(data, tmp_path):
    (file,) = tf.io.gfile.glob(data[0][0])
    records = list(tf.data.TFRecordDataset(file, "GZIP").as_numpy_iterator())
    shuffled = [records[i] for i in np.random.default_rng(0).permutation(len(records))]
    for shard in range(3):
        path = str(tmp_path / f"data_tfrecord-{shard:05d}-of-00003.gz")
        with tf.io.TFRecordWriter(path, tf.io.TFRecordOptions("GZIP")) as writer:
            for record in shuffled[shard::3]:
                writer.write(record)
    again = batches(([f"{tmp_path}/*"], data[1]), 5)
    for expected, given in zip(batches(data, 5), again, strict=True):
        np.testing.assert_array_equal(expected, given)


def test_evaluation_keeps_the_last_partial_batch(data):
    patterns, image_format = data
    sizes = [len(batch) for batch in evaluation_batches(patterns, image_format, 150)]
    assert sizes == [150, 150, 100]


def test_pixels_are_the_stored_bits(data, ready_digits):
    patterns, image_format = data
    record = next(iter(tf.data.TFRecordDataset(tf.io.gfile.glob(patterns[0]), "GZIP")))
    packed = tf.train.Example.FromString(record.numpy()).features.feature["image"]
    bits = np.unpackbits(np.frombuffer(packed.bytes_list.value[0], np.uint8)).reshape(28, 28, 1)
    first = next(iter(evaluation_batches(patterns, image_format, 1)))
    np.testing.assert_array_equal(first[0], bits)


def test_missing_files_are_named(tmp_path):
    with pytest.raises(InputError, match=r"No files match .*nothing/\*"):
        evaluation_batches([f"{tmp_path}/nothing/*"], ImageFormat(8, 8, 1, "threshold"), 1)
