"""Training batches: every image once an epoch, in a new order, from any step on."""

import math

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from components.errors import InputError
from components.image_binarizer import ImageFormat
from components.image_binarizer.binarize import pack
from components.trainer.input import load_records, training_batches

FORMAT = ImageFormat(3, 5, 1, "threshold")
NOISE = (2, 3)


def records_of(count, image_format=FORMAT, seed=0):
    """Stored images that are all different."""
    rng = np.random.default_rng(seed)
    top = 2 if image_format.encoding == "bits" else 256
    pixels = rng.integers(0, top, (4 * count + 40, *image_format.shape), np.uint8)
    pixels = np.unique(pixels, axis=0)
    pixels = pixels[rng.permutation(len(pixels))[:count]]
    assert len(pixels) == count
    return np.stack([np.frombuffer(row, np.uint8) for row in pack(pixels, image_format)]), pixels


def batches(records, count, batch_size, image_format=FORMAT, seed=0, **kwargs):
    stream = training_batches(records, image_format, batch_size, NOISE, seed, **kwargs)
    return list(stream.take(count).as_numpy_iterator())


def real(batch):
    return [
        image.tobytes()
        for image, weight in zip(batch["images"], batch["weight"], strict=True)
        if weight
    ]


def images_of(stream):
    return [image for batch in stream for image in real(batch)]


@settings(deadline=None, max_examples=8)
@given(
    count=st.integers(1, 60),
    batch_size=st.integers(1, 60),
    replicas=st.integers(1, 3),
    seed=st.integers(0, 2**31),
)
def test_each_epoch_holds_every_image_once(count, batch_size, replicas, seed):
    records, pixels = records_of(count)
    batch_size = min(batch_size, count)
    steps = math.ceil(count / batch_size)
    stream = batches(records, 2 * steps, batch_size, seed=seed, num_replicas=replicas)
    everything = sorted(image.astype(np.float32).tobytes() for image in pixels)
    for epoch in (stream[:steps], stream[steps:]):
        assert sorted(images_of(epoch)) == everything
        sizes = [len(real(batch)) for batch in epoch]
        assert sizes[:-1] == [batch_size] * (steps - 1)
    padded = math.ceil(batch_size / replicas) * replicas
    for batch in stream:
        assert batch["images"].shape == (padded, 3, 5, 1)
        assert batch["noise"].shape == (padded, *NOISE)
        assert batch["weight"].mean() == pytest.approx(1.0, rel=1e-5)
        assert len(set(batch["weight"][batch["weight"] > 0])) == 1


def test_the_last_batch_of_an_epoch_is_padded_with_weights_of_zero():
    records, _ = records_of(25)
    *_, last = batches(records, 3, 10)
    assert last["weight"].tolist() == [2.0] * 5 + [0.0] * 5


def test_every_epoch_mixes_images_and_not_batches():
    records, _ = records_of(400)
    stream = batches(records, 12, 100)
    epochs = [stream[:4], stream[4:8], stream[8:]]
    orders = [tuple(images_of(epoch)) for epoch in epochs]
    assert len(set(orders)) == 3
    first = set(real(epochs[0][0]))
    for batch in epochs[1]:
        # A quarter of each batch on average, with a standard deviation of four.
        assert 5 <= len(first & set(real(batch))) <= 45
    position = {image: index for index, image in enumerate(orders[0])}
    moved = [position[image] for image in orders[1]]
    assert abs(np.corrcoef(moved, np.arange(400))[0, 1]) < 0.25


@settings(deadline=None, max_examples=4)
@given(first_step=st.integers(0, 9), replicas=st.integers(1, 2))
@pytest.mark.parametrize("binarization", ["threshold", "dynamic"])
def test_a_stream_entered_at_any_step_is_the_whole_stream(binarization, first_step, replicas):
    image_format = ImageFormat(3, 5, 1, binarization)
    records, _ = records_of(25, image_format)
    options = {"image_format": image_format, "num_replicas": replicas}
    whole = batches(records, 10, 10, **options)
    entered = batches(records, 10 - first_step, 10, first_step=first_step, **options)
    for expected, batch in zip(whole[first_step:], entered, strict=True):
        for name in ("images", "noise", "weight"):
            np.testing.assert_array_equal(batch[name], expected[name])


def test_another_seed_gives_another_order_and_other_noise():
    records, _ = records_of(60)
    one, other = (batches(records, 1, 60, seed=seed)[0] for seed in (0, 1))
    assert real(one) != real(other)
    assert not np.isin(one["noise"], other["noise"]).any()


def test_codes_have_a_standard_normal_number_each():
    records, _ = records_of(100)
    noise = np.concatenate([batch["noise"] for batch in batches(records, 60, 50)])
    assert noise.shape == (3000, *NOISE)
    # One vector an image and a step: none is given twice.
    assert len(np.unique(noise)) > 0.999 * noise.size
    assert abs(noise.mean()) < 5 / math.sqrt(noise.size)
    assert abs(noise.var() - 1) < 5 * math.sqrt(2 / noise.size)
    flat = noise.reshape(len(noise), -1)
    correlation = np.corrcoef(flat.T) - np.eye(6)
    assert np.abs(correlation).max() < 5 / math.sqrt(len(noise))


def test_noise_does_not_follow_an_image_from_epoch_to_epoch():
    records, _ = records_of(1)
    first, second = batches(records, 2, 1)
    assert real(first) == real(second)
    assert (first["noise"] != second["noise"]).all()


def dynamic_draws(levels, steps):
    image_format = ImageFormat(1, len(levels), 1, "dynamic")
    records = np.tile(np.array(levels, np.uint8), (50, 1))
    stream = batches(records, steps, 50, image_format)
    return np.stack([batch["images"][:, 0, :, 0] for batch in stream])


def test_dynamic_pixels_are_one_with_their_intensity():
    levels = [0, 25, 128, 230, 255]
    draws = dynamic_draws(levels, 80)
    assert set(np.unique(draws)) == {0.0, 1.0}
    share, expected = draws.mean(axis=(0, 1)), np.array(levels) / 255
    error = np.sqrt(expected * (1 - expected) / (80 * 50))
    assert (np.abs(share - expected) <= 5 * error).all()
    # Bright is one: not the other way round.
    assert share[3] > 0.8 > 0.2 > share[1]


def test_dynamic_pixels_are_drawn_anew_for_each_image_and_epoch():
    draws = dynamic_draws([128] * 64, 2)
    assert len({image.tobytes() for image in draws.reshape(100, 64)}) == 100
    # And independently for each pixel.
    correlation = np.corrcoef(draws.reshape(100, 64).T) - np.eye(64)
    assert np.abs(correlation).max() < 6 / math.sqrt(100)


def test_grey_pixels_are_their_intensities():
    image_format = ImageFormat(3, 5, 3, "none")
    records, pixels = records_of(6, image_format)
    (batch,) = batches(records, 1, 6, image_format)
    expected = sorted((pixels / 255).astype(np.float32).tolist())
    assert sorted(batch["images"].tolist()) == expected
    assert batch["images"].dtype == np.float32


def write(path, examples):
    with tf.io.TFRecordWriter(str(path), tf.io.TFRecordOptions("GZIP")) as writer:
        for example in examples:
            writer.write(example)


def test_batches_do_not_depend_on_shards_or_their_order(ready_digits, tmp_path):
    image_format = ImageFormat(28, 28, 1, "threshold")
    pattern = f"{ready_digits.uri}/Split-train/*"
    (file,) = tf.io.gfile.glob(pattern)
    examples = list(tf.data.TFRecordDataset(file, "GZIP").as_numpy_iterator())
    shuffled = [examples[i] for i in np.random.default_rng(0).permutation(len(examples))]
    for shard in range(3):
        write(tmp_path / f"data_tfrecord-{shard:05d}-of-00003.gz", shuffled[shard::3])
    one = load_records([pattern], image_format)
    other = load_records([f"{tmp_path}/*-0000[02]-*", f"{tmp_path}/*-00001-*"], image_format)
    assert one.shape == (400, 98)
    np.testing.assert_array_equal(one, other)
    # Sorted by all bytes, also those after a zero.
    assert sorted(map(bytes, one)) == [bytes(record) for record in one]


def test_records_are_the_stored_bytes(ready_digits):
    pattern = f"{ready_digits.uri}/Split-eval/*"
    stored = [
        tf.train.Example.FromString(record).features.feature["image"].bytes_list.value[0]
        for record in tf.data.TFRecordDataset(tf.io.gfile.glob(pattern), "GZIP").as_numpy_iterator()
    ]
    records = load_records([pattern], ImageFormat(28, 28, 1, "threshold"))
    assert sorted(map(bytes, records)) == sorted(stored)


def test_missing_files_are_named(tmp_path):
    with pytest.raises(InputError, match=r"No files match .*nothing/\*; run ImageBinarizer"):
        load_records([f"{tmp_path}/nothing/*"], FORMAT)


def test_an_empty_split_is_named_with_a_remedy(tmp_path):
    write(tmp_path / "data_tfrecord-00000-of-00001.gz", [])
    with pytest.raises(InputError, match=r"There are no images in .*; widen the split, for inst"):
        load_records([f"{tmp_path}/*"], FORMAT)
