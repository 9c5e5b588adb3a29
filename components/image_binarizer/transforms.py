"""Beam transforms: raw Examples to model-ready Examples, dead letters and pixel moments."""

import json
from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam
import numpy as np
import tensorflow as tf
from tfx.dsl.io import fileio

from components.image_binarizer.binarize import binarize, pack, resize_and_convert
from components.image_binarizer.decode import decode_image
from components.image_binarizer.image_format import ImageFormat, PixelMoments, write_pixel_moments

DEAD_LETTERS = "dead_letters"
SUMS = "sums"

# Enough small images to make a batch op pay; a large image counts as several.
_MAX_BATCH = 256
_BYTES_PER_COUNT = 1 << 16
_NAMED_DEAD_LETTERS = 5


class DecodeDoFn(beam.DoFn):
    """Serialized raw Example -> (pixels, label), or a dead letter with its reason."""

    def process(self, serialized: bytes) -> Iterator[Any]:
        """Decodes one image; a failure goes to the `dead_letters` output."""
        example = tf.train.Example.FromString(serialized)
        try:
            images = example.features.feature["image"].bytes_list.value
            if len(images) != 1:
                raise ValueError(f"the record has {len(images)} images instead of one")
            pixels = decode_image(images[0])
        except ValueError as error:
            example.features.feature["reason"].bytes_list.value[:] = [str(error).encode()]
            yield beam.pvalue.TaggedOutput(DEAD_LETTERS, example.SerializeToString())
            return
        labels = example.features.feature["label"].int64_list.value
        yield pixels, labels[0] if labels else -1


class BinarizeBatchDoFn(beam.DoFn):
    """Batches of (pixels, label) -> serialized model-ready Examples; power sums on the side."""

    def __init__(self, image_format: ImageFormat):
        self._format = image_format

    def process(self, batch: list[tuple[np.ndarray, int]]) -> Iterator[Any]:
        """Resizes, binarises and packs all images of one size together."""
        by_shape: dict[tuple[int, ...], list[tuple[np.ndarray, int]]] = {}
        for pixels, label in batch:
            by_shape.setdefault(pixels.shape, []).append((pixels, label))
        for group in by_shape.values():
            stacked = tf.constant(np.stack([pixels for pixels, _ in group]))
            ready = binarize(resize_and_convert(stacked, self._format), self._format).numpy()
            for record, (_, label) in zip(pack(ready, self._format), group, strict=True):
                yield _ready_example(record, label)
            yield beam.pvalue.TaggedOutput(SUMS, (_power_sums(ready), len(group)))


def _power_sums(pixels: np.ndarray) -> np.ndarray:
    """Exact sums of stored pixels and of their squares, int64 [2, H, W, C], over a batch."""
    # 255 squared still fits 16 bits, which are twice as fast as 32.
    squares = np.square(pixels, dtype=np.uint16)
    return np.stack([values.sum(axis=0, dtype=np.int64) for values in (pixels, squares)])


def _ready_example(record: bytes, label: int) -> bytes:
    features = {
        "image": tf.train.Feature(bytes_list=tf.train.BytesList(value=[record])),
        "label": tf.train.Feature(int64_list=tf.train.Int64List(value=[label])),
    }
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString(
        deterministic=True
    )


@beam.ptransform_fn
def BinarizeExamples(raw: beam.PCollection, image_format: ImageFormat) -> dict:
    """Serialized raw Examples to a dict of `examples`, `dead_letters` and `sums`.

    `sums` holds pairs of the integer sums of stored pixels and of their squares, [2, H, W, C], and
    the number of images.
    """
    decoded = raw | "Decode" >> beam.ParDo(DecodeDoFn()).with_outputs(DEAD_LETTERS, main="images")
    binarized = (
        decoded.images
        | "Batch"
        >> beam.BatchElements(
            min_batch_size=1,
            max_batch_size=_MAX_BATCH,
            element_size_fn=lambda element: 1 + element[0].nbytes // _BYTES_PER_COUNT,
        )
        | "Binarize"
        >> beam.ParDo(BinarizeBatchDoFn(image_format)).with_outputs(SUMS, main="examples")
    )
    return {
        "examples": binarized.examples,
        DEAD_LETTERS: decoded[DEAD_LETTERS],
        SUMS: binarized[SUMS],
    }


class AddSums(beam.CombineFn):
    """Adds pairs of (power sums, count)."""

    def create_accumulator(self):
        """Nothing seen yet."""
        return 0, 0

    def add_input(self, accumulator, element):
        """Adds one pair."""
        return accumulator[0] + element[0], accumulator[1] + element[1]

    def merge_accumulators(self, accumulators: Iterable):
        """Adds all pairs."""
        sums, counts = zip(*accumulators, strict=True)
        return sum(sums), sum(counts)

    def extract_output(self, accumulator):
        """The total pair."""
        return accumulator


@beam.ptransform_fn
def WritePixelMoments(
    sums: beam.PCollection, examples_uri: str, split: str, image_format: ImageFormat
) -> beam.PCollection:
    """Writes the split's pixel moments, in [0, 1], beside its Examples."""

    def write(total: tuple[np.ndarray, int]) -> None:
        power_sums, count = total
        # An empty split's sums are a plain zero.
        sums, square_sums = np.broadcast_to(power_sums, (2, *image_format.shape))
        white = image_format.max_value
        moments = PixelMoments(
            mean=sums / (max(count, 1) * white),
            mean_square=square_sums / (max(count, 1) * white**2),
            count=count,
        )
        write_pixel_moments(examples_uri, split, moments)

    return sums | "Add" >> beam.CombineGlobally(AddSums()) | "Write" >> beam.Map(write)


@beam.ptransform_fn
def WriteDeadLetterSummary(dead_letters: beam.PCollection, path: str) -> beam.PCollection:
    """Writes how many images could not be decoded, and the names and reasons of the first few."""

    def describe(serialized: bytes) -> tuple[str, str]:
        feature = tf.train.Example.FromString(serialized).features.feature
        names = feature["name"].bytes_list.value
        name = names[0].decode(errors="replace") if names else "an unnamed image"
        return name, feature["reason"].bytes_list.value[0].decode(errors="replace")

    def write(count: int, first: list[tuple[str, str]]) -> None:
        with fileio.open(path, "w") as file:
            file.write(json.dumps({"count": count, "first": first}))

    described = dead_letters | "Describe" >> beam.Map(describe)
    first = described | "First" >> beam.combiners.Top.Smallest(_NAMED_DEAD_LETTERS)
    return (
        described
        | "Count" >> beam.combiners.Count.Globally()
        | "Write" >> beam.Map(write, beam.pvalue.AsSingleton(first))
    )
