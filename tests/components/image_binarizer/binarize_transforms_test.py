import json

import apache_beam as beam
import numpy as np
import pytest
import tensorflow as tf
from apache_beam.testing.util import assert_that
from PIL import Image

from components.image_binarizer import transforms
from components.image_binarizer.binarize import unpack
from components.image_binarizer.decode import decode_image
from components.image_binarizer.image_format import ImageFormat, read_pixel_moments
from tests.example_files import png, raw_example

_SHAPES = [(8, 8), (8, 8, 3), (5, 9), (12, 4, 3), (6, 6, 4)]


def _mixed(count=20):
    """Raw Examples of several sizes and modes; label = place in the list."""
    rng = np.random.default_rng(0)
    return [
        raw_example(png(rng.integers(0, 256, _SHAPES[i % 5], np.uint8)), i, f"image-{i}")
        for i in range(count)
    ]


def _features(serialized):
    return tf.train.Example.FromString(serialized).features.feature


def _image(serialized):
    return _features(serialized)["image"].bytes_list.value[0]


def _label(serialized):
    return _features(serialized)["label"].int64_list.value[0]


def _alone(serialized, image_format):
    """The record of one image, by the functions that the transform batches."""
    pixels = tf.constant(decode_image(_image(serialized))[None])
    ready = transforms.resize_and_convert(pixels, image_format)
    return transforms.pack(transforms.binarize(ready, image_format).numpy(), image_format)[0]


def _total(sums):
    return sum(s for s, _ in sums), sum(count for _, count in sums)


@pytest.mark.parametrize(
    ("binarization", "channels"), [("threshold", 1), ("stochastic", 3), ("none", 1)]
)
def test_mixed_sizes_and_modes(binarization, channels):
    raw = _mixed()
    image_format = ImageFormat(7, 6, channels, binarization)
    expected = {_label(r): _alone(r, image_format) for r in raw}
    pixels = unpack(tf.io.decode_raw(list(expected.values()), tf.uint8), image_format).numpy()
    pixels = pixels.astype(np.int64)
    power_sums = [pixels.sum(axis=0), (pixels * pixels).sum(axis=0)]

    def check_examples(examples):
        assert len(examples) == len(raw)
        assert {_label(e): _image(e) for e in examples} == expected
        assert all(set(_features(e)) == {"image", "label"} for e in examples)

    def check_sums(sums):
        total, count = _total(sums)
        assert count == len(raw)
        np.testing.assert_array_equal(total, power_sums)

    def check_none(dead):
        assert dead == []

    with beam.Pipeline() as pipeline:
        results = (
            pipeline
            | beam.Create(raw)
            | beam.Reshuffle()
            | transforms.BinarizeExamples(image_format)
        )
        assert_that(results["examples"], check_examples, label="examples")
        assert_that(results["sums"], check_sums, label="sums")
        assert_that(results["dead_letters"], check_none, label="dead")


def test_dead_letters_keep_bytes_name_and_label_and_say_why():
    whole = png(np.zeros((4, 4), np.uint8))
    bad = {
        "not-an-image": (b"hello", "not an image in any format that Pillow reads"),
        "truncated": (_truncated(), "OSError: image file is truncated"),
        "empty": (b"", "not an image in any format that Pillow reads"),
    }
    raw = [raw_example(whole, 1, "good")]
    raw += [raw_example(data, 5, name) for name, (data, _) in bad.items()]

    def check_dead(dead):
        found = {}
        for letter in map(_features, dead):
            assert letter["label"].int64_list.value[:] == [5]
            found[letter["name"].bytes_list.value[0].decode()] = (
                letter["image"].bytes_list.value[0],
                letter["reason"].bytes_list.value[0].decode(),
            )
        assert set(found) == set(bad)
        for name, (data, reason) in bad.items():
            assert found[name][0] == data
            assert found[name][1].startswith(reason)

    def check_good(examples):
        assert [_label(e) for e in examples] == [1]

    with beam.Pipeline() as pipeline:
        results = (
            pipeline
            | beam.Create(raw)
            | transforms.BinarizeExamples(ImageFormat(4, 4, 1, "threshold"))
        )
        assert_that(results["dead_letters"], check_dead, label="dead")
        assert_that(results["examples"], check_good, label="good")


def _truncated():
    data = png(np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8))
    return data[: len(data) // 2]


def test_records_without_one_image_or_without_a_label():
    def example(images, labels):
        record = tf.train.Example()
        record.features.feature["image"].bytes_list.value[:] = images
        if labels:
            record.features.feature["label"].int64_list.value[:] = labels
        return record.SerializeToString()

    white = png(np.full((2, 2), 255, np.uint8))
    raw = [example([], [1]), example([white, white], [2]), example([white], [])]

    def check_dead(dead):
        reasons = {_label(d): _features(d)["reason"].bytes_list.value[0] for d in dead}
        assert reasons == {
            1: b"the record has 0 images instead of one",
            2: b"the record has 2 images instead of one",
        }

    def check_good(examples):
        assert [(_label(e), _image(e)) for e in examples] == [(-1, b"\xf0")]

    with beam.Pipeline() as pipeline:
        results = (
            pipeline
            | beam.Create(raw)
            | transforms.BinarizeExamples(ImageFormat(2, 2, 1, "threshold"))
        )
        assert_that(results["dead_letters"], check_dead, label="dead")
        assert_that(results["examples"], check_good, label="good")


@pytest.mark.parametrize(("max_batch", "bytes_per_count"), [(1, 1000), (3, 1000), (300, 1)])
def test_records_and_sums_do_not_depend_on_the_batch_size(max_batch, bytes_per_count, monkeypatch):
    monkeypatch.setattr(transforms, "_MAX_BATCH", max_batch)
    monkeypatch.setattr(transforms, "_BYTES_PER_COUNT", bytes_per_count)
    raw = _mixed()
    image_format = ImageFormat(7, 6, 1, "stochastic", seed=5)
    expected = {_label(r): _alone(r, image_format) for r in raw}

    def check_examples(examples):
        assert {_label(e): _image(e) for e in examples} == expected

    def check_sums(sums):
        assert max(count for _, count in sums) <= max_batch
        assert _total(sums)[1] == len(raw)

    with beam.Pipeline() as pipeline:
        results = pipeline | beam.Create(raw) | transforms.BinarizeExamples(image_format)
        assert_that(results["examples"], check_examples, label="examples")
        assert_that(results["sums"], check_sums, label="sums")


def test_large_images_are_batched_by_their_bytes(monkeypatch):
    monkeypatch.setattr(transforms, "_BYTES_PER_COUNT", 1)
    monkeypatch.setattr(transforms, "_MAX_BATCH", 20)
    raw = [raw_example(png(np.zeros((4, 4), np.uint8)), 0, str(i)) for i in range(40)]

    def check_sums(sums):
        # 1 + 16 bytes each: two would be more than 20.
        assert [count for _, count in sums] == [1] * 40

    with beam.Pipeline() as pipeline:
        results = (
            pipeline
            | beam.Create(raw)
            | transforms.BinarizeExamples(ImageFormat(4, 4, 1, "threshold"))
        )
        assert_that(results["sums"], check_sums)


def test_sums_of_many_white_images_do_not_overflow():
    batch = [(np.full((2, 2, 1), 255, np.uint8), 0)] * 300
    do_fn = transforms.BinarizeBatchDoFn(ImageFormat(2, 2, 1, "none"))
    tagged = [
        out.value
        for out in do_fn.process(batch)
        if isinstance(out, beam.pvalue.TaggedOutput) and out.tag == "sums"
    ]
    ((sums, count),) = tagged
    assert (sums.dtype, count) == (np.int64, 300)
    np.testing.assert_array_equal(sums[0], np.full((2, 2, 1), 300 * 255))
    np.testing.assert_array_equal(sums[1], np.full((2, 2, 1), 300 * 255**2))


def test_adding_sums_merges_in_any_grouping():
    rng = np.random.default_rng(0)
    pairs = [(rng.integers(0, 1000, (2, 3, 1)), int(n)) for n in rng.integers(1, 9, 10)]
    add = transforms.AddSums()
    for cuts in ([], [5], [0, 3], [1, 1, 9]):
        accumulators = []
        for indices in np.split(np.arange(10), cuts):
            accumulator = add.create_accumulator()
            for i in indices:
                accumulator = add.add_input(accumulator, pairs[i])
            accumulators.append(accumulator)
        total, count = add.extract_output(add.merge_accumulators(iter(accumulators)))
        np.testing.assert_array_equal(total, sum(s for s, _ in pairs))
        assert count == sum(n for _, n in pairs)


@pytest.mark.parametrize(("binarization", "white"), [("threshold", 1), ("none", 255)])
def test_pixel_moments_are_exact_and_in_zero_to_one(binarization, white, tmp_path):
    rng = np.random.default_rng(0)
    images = rng.integers(0, white + 1, (97, 3, 4, 1))
    batches = [images[i : i + 10] for i in range(0, 97, 10)]
    pairs = [(np.stack([b.sum(axis=0), (b**2).sum(axis=0)]), len(b)) for b in batches]
    with beam.Pipeline() as pipeline:
        _ = (
            pipeline
            | beam.Create(pairs)
            | beam.Reshuffle()
            | transforms.WritePixelMoments(
                str(tmp_path), "eval", ImageFormat(3, 4, 1, binarization)
            )
        )
    mean, mean_square, count = read_pixel_moments(str(tmp_path), "eval")
    assert (count, mean.dtype, mean_square.dtype) == (97, np.float64, np.float64)
    np.testing.assert_array_equal(mean, images.sum(axis=0) / (97 * white))
    np.testing.assert_array_equal(mean_square, (images**2).sum(axis=0) / (97 * white**2))


def test_pixel_moments_of_nothing(tmp_path):
    with beam.Pipeline() as pipeline:
        _ = (
            pipeline
            | beam.Create([])
            | transforms.WritePixelMoments(str(tmp_path), "eval", ImageFormat(3, 4, 1, "none"))
        )
    mean, mean_square, count = read_pixel_moments(str(tmp_path), "eval")
    assert count == 0
    np.testing.assert_array_equal(mean, np.zeros((3, 4, 1)))
    np.testing.assert_array_equal(mean_square, np.zeros((3, 4, 1)))


@pytest.mark.parametrize("count", [0, 2, 9])
def test_dead_letter_summary_counts_all_and_names_the_first(count, tmp_path):
    def letter(name):
        record = tf.train.Example()
        if name:
            record.features.feature["name"].bytes_list.value[:] = [name.encode()]
        record.features.feature["reason"].bytes_list.value[:] = [b"broken"]
        return record.SerializeToString()

    path = tmp_path / "summary.json"
    with beam.Pipeline() as pipeline:
        _ = (
            pipeline
            | beam.Create([letter(f"n{i}" if i else "") for i in reversed(range(count))])
            | beam.Reshuffle()
            | transforms.WriteDeadLetterSummary(str(path))
        )
    first = [["an unnamed image", "broken"], *([f"n{i}", "broken"] for i in range(1, 5))]
    assert json.loads(path.read_text()) == {"count": count, "first": first[:count]}


def test_greyscale_photographs_of_any_pillow_mode_meet_in_one_split():
    ramp = Image.fromarray(np.tile(np.arange(0, 256, 16, np.uint8), (16, 1)))
    raw = [
        raw_example(png(np.asarray(ramp.convert(mode))), i, mode)
        for i, mode in enumerate(["L", "RGB", "RGBA"])
    ]

    def check(examples):
        # White is one, in whichever mode the image came.
        assert [_image(e) for e in examples] == [b"\x00\xff" * 16] * 3

    with beam.Pipeline() as pipeline:
        results = (
            pipeline
            | beam.Create(raw)
            | transforms.BinarizeExamples(ImageFormat(16, 16, 1, "threshold"))
        )
        assert_that(results["examples"], check)
