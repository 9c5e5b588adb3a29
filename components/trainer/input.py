"""Batches of images, with their noise and weights, from model-ready Examples.

Every batch is a function of the seed and its step alone: no state is kept between batches, so a
training can be entered at any step, and it is the same on any number of replicas and workers.
"""

import math
from typing import TypedDict

import numpy as np
import tensorflow as tf

from components import content_noise
from components.errors import InputError
from components.image_binarizer.binarize import observe, parse_records, unpack
from components.image_binarizer.image_format import ImageFormat

_READ_BATCH = 1024
# Streams of the training noise; any different numbers.
_CODE_NOISE, _PIXEL_NOISE = 1, 2


class Batch(TypedDict):
    """A global batch, or a replica's share of one.

    Attributes:
      images: What the likelihood is about, float32 [B, H, W, C].
      noise: Standard normal, [B, K, D]; K codes an image.
      weight: Of each image, [B]: 0 for padding, else equal, with a mean of one over all replicas.
    """

    images: tf.Tensor
    noise: tf.Tensor
    weight: tf.Tensor


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

    Raises:
      InputError: If there are no files, or no images in them.
    """
    batches = list(_record_batches(file_patterns, image_format).as_numpy_iterator())
    if not batches:
        raise InputError(
            f"There are no images in {', '.join(file_patterns)}; widen the split, for instance "
            "--split train=train[:80%]."
        )
    records = np.concatenate(batches)
    return records[records.view(f"S{image_format.record_bytes}").ravel().argsort(kind="stable")]


def training_batches(
    records: np.ndarray,
    image_format: ImageFormat,
    batch_size: int,
    noise_shape: tuple[int, int],
    seed: int,
    num_replicas: int = 1,
    first_step: int = 0,
) -> tf.data.Dataset:
    """An endless stream of shuffled batches, in which each epoch holds every image once.

    Packed records are gathered by a permutation of their indices, and unpacked a batch at a time,
    so that the whole data set stays in memory as it is stored. The last batch of an epoch is padded
    with images of weight zero.

    Args:
      records: From `load_records`.
      image_format: What the records hold.
      batch_size: Images a batch.
      noise_shape: K codes an image of D dimensions.
      seed: Seed of the order, which spans all images and is another in each epoch, and of noise.
      num_replicas: Batches are padded to a multiple of it.
      first_step: The step to begin with.
    """
    count = len(records)
    steps_per_epoch = math.ceil(count / batch_size)
    padded_size = math.ceil(batch_size / num_replicas) * num_replicas
    positions = tf.range(padded_size, dtype=tf.int64)
    stored = tf.constant(records)

    def make_batch(step: tf.Tensor) -> Batch:
        epoch, step_in_epoch = step // steps_per_epoch, step % steps_per_epoch
        index = step_in_epoch * batch_size + positions
        is_image = (positions < batch_size) & (index < count)
        index = tf.random.experimental.index_shuffle(
            tf.where(is_image, index, 0), seed=tf.stack([seed, epoch]), max_index=count - 1
        )
        step_seed = tf.random.fold_in(tf.constant([seed, 0], tf.int64), step)
        pixels = unpack(tf.gather(stored, index), image_format)
        images = observe(
            pixels,
            image_format,
            lambda: tf.random.stateless_uniform(
                tf.shape(pixels), tf.random.fold_in(step_seed, _PIXEL_NOISE)
            ),
        )
        noise = tf.random.stateless_normal(
            [padded_size, *noise_shape], tf.random.fold_in(step_seed, _CODE_NOISE)
        )
        return _weighted(images, noise, is_image)

    return (
        tf.data.Dataset.range(first_step, np.iinfo(np.int64).max)
        .map(make_batch, num_parallel_calls=2)
        .with_options(_share_every_batch())
        .prefetch(4)
    )


def evaluation_batches(
    records: np.ndarray,
    image_format: ImageFormat,
    batch_size: int,
    noise_shape: tuple[int, int],
    num_replicas: int = 1,
) -> tf.data.Dataset:
    """Every image once, with noise that is seeded by the image, the last batch padded.

    Args:
      records: From `load_records`.
      image_format: What the records hold.
      batch_size: Images a batch.
      noise_shape: K codes an image of D dimensions.
      num_replicas: Batches are padded to a multiple of it.
    """
    padded_size = math.ceil(batch_size / num_replicas) * num_replicas

    def make_batch(stored: tf.Tensor) -> Batch:
        count = tf.shape(stored)[0]
        stored = tf.pad(stored, [[0, padded_size - count], [0, 0]])
        stored = tf.ensure_shape(stored, [padded_size, image_format.record_bytes])
        pixels = unpack(stored, image_format)
        keys = content_noise.content_key(pixels)
        noise = content_noise.content_normal(keys, list(noise_shape), content_noise.LATENT_STREAM)
        return _weighted(observe(pixels, image_format), noise, tf.range(padded_size) < count)

    return (
        tf.data.Dataset.from_tensor_slices(records)
        .batch(batch_size)
        .map(make_batch, num_parallel_calls=2)
        .cache()
        .with_options(_share_every_batch())
        .prefetch(2)
    )


def _weighted(images: tf.Tensor, noise: tf.Tensor, is_image: tf.Tensor) -> Batch:
    is_image = tf.cast(is_image, tf.float32)
    return {"images": images, "noise": noise, "weight": is_image / tf.reduce_mean(is_image)}


def _share_every_batch() -> tf.data.Options:
    # Each worker takes its share of every global batch; by files, it would see its own data alone.
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    return options
