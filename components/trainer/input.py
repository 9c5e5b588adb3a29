"""Batches of stored pixels from model-ready Examples."""

import numpy as np
import tensorflow as tf

from components.errors import InputError
from components.image_binarizer.binarize import parse_records, unpack
from components.image_binarizer.image_format import ImageFormat

_READ_BATCH = 1024


def _record_batches(file_patterns: list[str], image_format: ImageFormat) -> tf.data.Dataset:
    """Stored bytes in file order, uint8 [<= 1024, record_bytes]."""
    files = sorted(file for pattern in file_patterns for file in tf.io.gfile.glob(pattern))
    if not files:
        raise InputError(f"No files match {', '.join(file_patterns)}; run ImageBinarizer first.")
    return (
        tf.data.TFRecordDataset(files, compression_type="GZIP")
        .batch(_READ_BATCH)
        .map(lambda serialized: parse_records(serialized, image_format))
    )


def load_records(file_patterns: list[str], image_format: ImageFormat) -> np.ndarray:
    """All stored images, in an order that depends on the images alone.

    Shards and the order within them differ from runner to runner; training must not.

    Args:
      file_patterns: Globs of gzipped TFRecords.
      image_format: What the records hold.

    Returns:
      uint8 [N, record_bytes], sorted.
    """
    records = np.concatenate(list(_record_batches(file_patterns, image_format).as_numpy_iterator()))
    return records[records.view(f"S{image_format.record_bytes}").ravel().argsort(kind="stable")]


def training_batches(
    records: np.ndarray,
    image_format: ImageFormat,
    batch_size: int,
    seed: int,
    first_step: int = 0,
) -> tf.data.Dataset:
    """An endless stream of shuffled batches, the same from any starting step.

    Packed records are shuffled and skipped before they are unpacked, so that an epoch's shuffle
    moves an eighth of a byte per pixel and a resumed training repeats no batch.

    Args:
      records: From `load_records`.
      image_format: What the records hold.
      batch_size: Images a batch; a partial batch at the end of an epoch is dropped.
      seed: Seed of the shuffle, which spans all images; each epoch has another order.
      first_step: Batches to skip.

    Returns:
      Dataset of uint8 [batch_size, H, W, C].
    """
    steps_per_epoch = len(records) // batch_size
    return (
        tf.data.Dataset.from_tensor_slices(records)
        .shuffle(len(records), seed=seed, reshuffle_each_iteration=True)
        .take(steps_per_epoch * batch_size)
        .repeat()
        .skip(first_step * batch_size)
        .batch(batch_size, drop_remainder=True)
        .map(lambda stored: unpack(stored, image_format), num_parallel_calls=2)
        .prefetch(4)
    )


def evaluation_batches(
    file_patterns: list[str], image_format: ImageFormat, batch_size: int
) -> tf.data.Dataset:
    """Every image once, in file order: uint8 [<= batch_size, H, W, C]."""
    return (
        _record_batches(file_patterns, image_format)
        .unbatch()
        .batch(batch_size)
        .map(lambda stored: unpack(stored, image_format), num_parallel_calls=2)
        .cache()
        .prefetch(2)
    )
