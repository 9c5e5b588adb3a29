"""Reads model-ready Examples in batches, and chooses some of them by what they are."""

import os
from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from components.image_binarizer.binarize import observe, parse_examples
from components.image_binarizer.image_format import ImageFormat

_READ_AT_ONCE = 4096
NO_LABEL = -1


def split_files(examples_uri: str, split: str) -> list[str]:
    """The files of a split, in order of their names."""
    return sorted(tf.io.gfile.glob(os.path.join(examples_uri, f"Split-{split}", "*")))


def batches(files: list[str], size: int) -> Iterator[np.ndarray]:
    """Serialized Examples, object arrays of up to a size, in the files' order."""
    dataset = tf.data.TFRecordDataset(files, compression_type="GZIP", num_parallel_reads=None)
    yield from dataset.batch(size).prefetch(1).as_numpy_iterator()


def choose(files: list[str], number: int) -> np.ndarray:
    """Serialized Examples with the least fingerprints: the same ones in any files and order.

    Args:
      files: Of a split.
      number: How many, if there are as many.
    """
    keys, chosen = np.empty(0, np.int64), np.empty(0, object)
    for batch in batches(files, _READ_AT_ONCE):
        fingerprints = tf.strings.to_hash_bucket_fast(batch, np.iinfo(np.int64).max).numpy()
        keys, chosen = np.concatenate([keys, fingerprints]), np.concatenate([chosen, batch])
        # Equal Examples have equal fingerprints, so ties do not matter.
        least = np.argsort(keys, kind="stable")[:number]
        keys, chosen = keys[least], chosen[least]
    return chosen


def labels_of(examples: np.ndarray) -> np.ndarray:
    """Labels of serialized Examples, int64 [B]; -1 where there is none."""
    features = {"label": tf.io.FixedLenFeature([], tf.int64, default_value=NO_LABEL)}
    return tf.io.parse_example(examples, features)["label"].numpy()


def images_of(examples: np.ndarray, image_format: ImageFormat) -> np.ndarray:
    """Images of serialized Examples as every model is scored on, float32 [B, H, W, C]."""
    return observe(parse_examples(tf.constant(examples), image_format), image_format).numpy()
