"""Batches of stored pixels from model-ready Examples."""

import tensorflow as tf

from components.errors import InputError
from components.image_binarizer.binarize import unpack
from components.image_binarizer.image_format import ImageFormat

_READ_BATCH = 1024


def _records(file_patterns: list[str]) -> tf.data.Dataset:
    """Packed image bytes, one string an image, in file order."""
    files = sorted(file for pattern in file_patterns for file in tf.io.gfile.glob(pattern))
    if not files:
        raise InputError(f"No files match {', '.join(file_patterns)}; run ImageBinarizer first.")
    features = {"image": tf.io.FixedLenFeature([], tf.string)}
    return (
        tf.data.TFRecordDataset(files, compression_type="GZIP")
        .batch(_READ_BATCH)
        .map(lambda batch: tf.io.parse_example(batch, features)["image"])
        .unbatch()
    )


def training_batches(
    file_patterns: list[str],
    image_format: ImageFormat,
    batch_size: int,
    num_images: int,
    seed: int,
    first_step: int = 0,
) -> tf.data.Dataset:
    """An endless stream of shuffled batches, the same from any starting step.

    Packed records are cached, shuffled and skipped before they are unpacked, so that an epoch's
    shuffle moves an eighth of a byte per pixel and a resumed training repeats no batch.

    Args:
      file_patterns: Globs of gzipped TFRecords.
      image_format: What the records hold.
      batch_size: Images a batch; a partial batch at the end of an epoch is dropped.
      num_images: Images in the files; the shuffle spans all of them.
      seed: Seed of the shuffle; each epoch has another order.
      first_step: Batches to skip.

    Returns:
      Dataset of uint8 [batch_size, H, W, C].
    """
    steps_per_epoch = num_images // batch_size
    return (
        _records(file_patterns)
        .cache()
        .shuffle(num_images, seed=seed, reshuffle_each_iteration=True)
        .take(steps_per_epoch * batch_size)
        .repeat()
        .skip(first_step * batch_size)
        .batch(batch_size, drop_remainder=True)
        .map(lambda records: unpack(records, image_format), num_parallel_calls=2)
        .prefetch(4)
    )


def evaluation_batches(
    file_patterns: list[str], image_format: ImageFormat, batch_size: int
) -> tf.data.Dataset:
    """Every image once, in file order: uint8 [<= batch_size, H, W, C]."""
    return (
        _records(file_patterns)
        .batch(batch_size)
        .map(lambda records: unpack(records, image_format), num_parallel_calls=2)
        .cache()
        .prefetch(2)
    )
