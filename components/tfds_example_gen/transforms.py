"""Beam transforms that read the examples of one split expression."""

import os
from pathlib import Path
from typing import Any

import apache_beam as beam
import tensorflow as tf

from components.tfds_example_gen.image_folder import NO_LABEL, ImageFile, ImageFolder
from components.tfds_example_gen.tfds_data import TfdsData

IMAGE_KEY = "image"
LABEL_KEY = "label"
NAME_KEY = "name"
COUNTER_NAMESPACE = "tfds_example_gen"


class ReadExamples(beam.PTransform):
    """Reads a split expression of opened and prepared data as `tf.train.Example`s.

    Each has the features `image` (the encoded bytes as they are stored), `label` (int64, -1
    if unlabelled) and `name` (the relative path, or the TFDS id). A Beam counter named like the
    split expression counts them.
    """

    def __init__(self, data: TfdsData | ImageFolder, split: str):
        """Takes the data and the split expression, e.g. `train[:90%]`."""
        super().__init__()
        self._data = data
        self._split = split

    def expand(self, pbegin: beam.pvalue.PBegin) -> beam.PCollection:
        """Reads a folder file by file, and TFDS data shard by shard, in parallel."""
        if isinstance(self._data, ImageFolder):
            return (
                pbegin
                | "ListImages" >> beam.Create(self._data.list_images(self._split))
                | "SpreadImages" >> beam.Reshuffle()
                | "ReadImages" >> beam.ParDo(_ReadImageFile(str(self._data.root), self._split))
            )
        return (
            pbegin
            | "ReadShards" >> _read_tfds(self._data, self._split)
            | "ToExample"
            >> beam.ParDo(_TfdsToExample(self._data.image_key, self._data.label_key, self._split))
        )


def _read_tfds(data: TfdsData, split: str) -> beam.PTransform:
    import tensorflow_datasets as tfds

    decoders = {data.image_key: tfds.decode.SkipDecoding()}
    wanted = {key: True for key in (data.image_key, data.label_key) if key is not None}
    # Nothing is decoded, so threads would only hand each image to one another.
    options = tf.data.Options()
    options.threading.private_threadpool_size = 1
    options.autotune.enabled = False
    return tfds.beam.ReadFromTFDS(
        data.builder,
        split=split,
        decoders=tfds.decode.PartialDecoding(wanted, decoders=decoders),
        read_config=tfds.ReadConfig(
            add_tfds_id=True,  # What an image is called in messages.
            try_autocache=False,  # Each image is read once; a cache would hold whole shards.
            options=options,
            interleave_cycle_length=1,
            num_parallel_calls_for_decode=1,
            num_parallel_calls_for_interleave_files=1,
        ),
    )


@beam.typehints.with_output_types(tf.train.Example)
class _TfdsToExample(beam.DoFn):
    def __init__(self, image_key: str, label_key: str | None, split: str):
        super().__init__()
        self._image_key = image_key
        self._label_key = label_key
        self._count = beam.metrics.Metrics.counter(COUNTER_NAMESPACE, split)

    def process(self, element: dict[str, Any]):
        label = NO_LABEL if self._label_key is None else int(element[self._label_key])
        self._count.inc()
        yield make_example(element[self._image_key].numpy(), label, element["tfds_id"].numpy())


@beam.typehints.with_output_types(tf.train.Example)
class _ReadImageFile(beam.DoFn):
    def __init__(self, root: str, split: str):
        super().__init__()
        self._root = root
        self._count = beam.metrics.Metrics.counter(COUNTER_NAMESPACE, split)

    def process(self, file: ImageFile):
        path, label = file
        image = Path(self._root, path).read_bytes()
        self._count.inc()
        yield make_example(image, label, os.fsencode(path))


def make_example(image: bytes, label: int, name: bytes) -> tf.train.Example:
    """Makes the example of one image.

    Args:
      image: The encoded image.
      label: The class number; -1 if unlabelled.
      name: What to call the image in messages.

    Returns:
      An example with the features `image`, `label` and `name`.
    """
    example = tf.train.Example()
    features = example.features.feature
    features[IMAGE_KEY].bytes_list.value.append(image)
    features[LABEL_KEY].int64_list.value.append(label)
    features[NAME_KEY].bytes_list.value.append(name)
    return example
