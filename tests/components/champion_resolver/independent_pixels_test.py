from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from components import content_noise
from components.champion_resolver.independent_pixels import IndependentPixels
from components.image_binarizer.binarize import pack
from components.image_binarizer.image_format import ImageFormat, read_mean_image
from tests.example_files import binarize_examples


def _stored_pixels(examples, split, image_format):
    """Serialized Examples, and their pixels unpacked by numpy."""
    (file,) = Path(examples.uri, f"Split-{split}").iterdir()
    records = list(tf.data.TFRecordDataset(str(file), "GZIP").as_numpy_iterator())
    pixels = []
    for record in records:
        image = tf.train.Example.FromString(record).features.feature["image"].bytes_list.value[0]
        values = np.frombuffer(image, np.uint8)
        if image_format.encoding == "bits":
            values = np.unpackbits(values)[: image_format.num_pixels]
        pixels.append(values.reshape(image_format.shape))
    return records, np.stack(pixels)


def _closed_form(train_intensities, images):
    """Log-likelihood in nats, float64, of images under the training pixels' smoothed means."""
    count = len(train_intensities)
    p = (train_intensities.sum(axis=0, dtype=np.float64) + 0.5) / (count + 1)
    return np.sum(images * np.log(p) + (1 - images) * np.log(1 - p), axis=(1, 2, 3))


def _scores(path, records):
    evaluate = tf.saved_model.load(str(path)).signatures["evaluate"]
    return {name: value.numpy() for name, value in evaluate(tf.constant(records)).items()}


def _save(examples, image_format, path):
    mean_image, count = read_mean_image(examples.uri, "train")
    IndependentPixels(mean_image, count, image_format).save(str(path))


def _serialized(pixels, image_format):
    image = tf.train.BytesList(value=pack(pixels[None], image_format))
    feature = {"image": tf.train.Feature(bytes_list=image)}
    return tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString()


def test_elbo_of_thresholded_images(ready_digits, tmp_path):
    image_format = ImageFormat(28, 28, 1, "threshold")
    _save(ready_digits, image_format, tmp_path)
    _, train = _stored_pixels(ready_digits, "train", image_format)
    records, test = _stored_pixels(ready_digits, "test", image_format)
    scores = _scores(tmp_path, records)
    expected = _closed_form(train, test)
    np.testing.assert_allclose(scores["elbo"], expected, rtol=1e-5)
    # It knows more than a coin per pixel does.
    assert scores["elbo"].mean() > -784 * np.log(2)
    np.testing.assert_array_equal(scores["distortion"], -scores["elbo"])
    np.testing.assert_array_equal(scores["importance_weighted_bound"], scores["elbo"])
    np.testing.assert_array_equal(scores["rate"], np.zeros(100))


def test_elbo_of_dynamically_binarised_images(raw_digits, tmp_path):
    image_format = ImageFormat(8, 8, 1, "dynamic")
    ready, _ = binarize_examples(raw_digits, tmp_path, image_format)
    _save(ready, image_format, tmp_path / "model")
    _, train = _stored_pixels(ready, "train", image_format)
    records, test = _stored_pixels(ready, "test", image_format)
    intensities = test.astype(np.float32) / np.float32(255)
    uniform = content_noise.content_uniform(
        content_noise.content_key(tf.constant(test)), [8, 8, 1], content_noise.PIXEL_STREAM
    ).numpy()
    drawn = uniform < intensities
    assert ((intensities > 0) & ~drawn).any()
    expected = _closed_form(train / 255, drawn.astype(np.float64))
    scores = _scores(tmp_path / "model", records)
    np.testing.assert_allclose(scores["elbo"], expected, rtol=1e-5)
    # The draw is each image's own, so no batch or order changes a score.
    again = np.concatenate([_scores(tmp_path / "model", [r])["elbo"] for r in records[:-4:-1]])
    np.testing.assert_allclose(again, scores["elbo"][:-4:-1], rtol=1e-6)


@pytest.mark.parametrize("fill", [0, 1])
def test_pixels_that_training_never_saw(ready_digits, tmp_path, fill):
    image_format = ImageFormat(28, 28, 1, "threshold")
    _save(ready_digits, image_format, tmp_path)
    _, train = _stored_pixels(ready_digits, "train", image_format)
    assert (train.max(axis=0) == 0).any()
    image = np.full(image_format.shape, fill, np.uint8)
    (elbo,) = _scores(tmp_path, [_serialized(image, image_format)])["elbo"]
    np.testing.assert_allclose(elbo, _closed_form(train, image[None])[0], rtol=1e-5)
    assert np.isfinite(elbo)


@pytest.mark.parametrize("mean", [0.0, 1.0])
def test_a_pixel_that_never_changes_leaves_a_doubt_of_half_an_image(tmp_path, mean):
    image_format = ImageFormat(1, 1, 1, "threshold")
    IndependentPixels(np.full((1, 1, 1), mean), 99, image_format).save(str(tmp_path))
    records = [_serialized(np.full((1, 1, 1), x, np.uint8), image_format) for x in (0, 1)]
    usual, unseen = np.log(99.5 / 100), np.log(0.5 / 100)
    expected = [unseen, usual] if mean else [usual, unseen]
    np.testing.assert_allclose(_scores(tmp_path, records)["elbo"], expected, rtol=1e-4)
