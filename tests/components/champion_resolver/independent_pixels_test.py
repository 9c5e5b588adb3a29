import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from scipy import optimize, stats

from components import content_noise
from components.champion_resolver.fit import fit_likelihood
from components.champion_resolver.independent_pixels import IndependentPixels
from components.image_binarizer.binarize import pack
from components.image_binarizer.image_format import ImageFormat, PixelMoments, read_pixel_moments
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


def _save(examples, image_format, path, likelihood="bernoulli", gaussian_scale=1.0):
    moments = read_pixel_moments(examples.uri, "train")
    IndependentPixels(moments, image_format, likelihood, gaussian_scale).save(str(path))


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
    np.testing.assert_array_equal(scores["rate"], np.zeros(100))
    # Its reconstruction is the training images' mean, smoothed, whatever the image.
    mean = (train.sum(axis=0) + 0.5) / 401
    error = np.square(test - mean).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(scores["squared_error"], error, rtol=1e-5)
    accuracy = ((mean > 0.5) == test).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(scores["rounded_accuracy"], accuracy, rtol=1e-6)
    # A code that is the prior, of one dimension.
    np.testing.assert_array_equal(scores["code"], np.zeros((100, 1)))
    np.testing.assert_array_equal(scores["posterior_mean"], np.zeros((100, 1)))
    np.testing.assert_array_equal(scores["posterior_variance"], np.ones((100, 1)))
    assert set(scores) == {
        *("elbo", "distortion", "rate", "squared_error", "rounded_accuracy"),
        *("code", "posterior_mean", "posterior_variance"),
    }


def test_the_importance_weighted_bound_is_the_elbo_for_any_number_of_codes(ready_digits, tmp_path):
    image_format = ImageFormat(28, 28, 1, "threshold")
    _save(ready_digits, image_format, tmp_path)
    records, _ = _stored_pixels(ready_digits, "test", image_format)
    elbo = _scores(tmp_path, records)["elbo"]
    bound = tf.saved_model.load(str(tmp_path)).signatures["importance_weighted_bound"]
    for number in (1, 64, 5000):
        given = bound(examples=tf.constant(records), number=tf.constant(number, tf.int64))
        assert list(given) == ["importance_weighted_bound"]
        np.testing.assert_allclose(given["importance_weighted_bound"], elbo, rtol=1e-6)


def test_the_card_says_what_images_and_likelihood_it_is_of(ready_digits, tmp_path):
    image_format = ImageFormat(28, 28, 1, "threshold")
    _save(ready_digits, image_format, tmp_path, "continuous_bernoulli")
    signatures = tf.saved_model.load(str(tmp_path)).signatures
    assert sorted(signatures) == ["describe", "evaluate", "importance_weighted_bound"]
    card = json.loads(signatures["describe"]()["card"].numpy())
    assert ImageFormat(**card["image_format"]) == image_format
    assert card["training"] == {"likelihood": "continuous_bernoulli"}


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
    moments = PixelMoments(np.full((1, 1, 1), mean), np.full((1, 1, 1), mean), 99)
    IndependentPixels(moments, image_format, "bernoulli", 1.0).save(str(tmp_path))
    records = [_serialized(np.full((1, 1, 1), x, np.uint8), image_format) for x in (0, 1)]
    usual, unseen = np.log(99.5 / 100), np.log(0.5 / 100)
    expected = [unseen, usual] if mean else [usual, unseen]
    np.testing.assert_allclose(_scores(tmp_path, records)["elbo"], expected, rtol=1e-4)


@pytest.fixture(scope="module")
def grey_digits(raw_digits, tmp_path_factory):
    return binarize_examples(
        raw_digits, tmp_path_factory.mktemp("grey"), ImageFormat(8, 8, 1, "none")
    )[0]


def _gaussian(train, images, scale):
    """Log-density under the training pixels' means, [N, H, W, C]."""
    return stats.norm.logpdf(images, train.mean(axis=0), scale)


def _global_scale(train):
    return np.sqrt(np.square(train - train.mean(axis=0)).mean())


def _continuous_bernoulli(train, images):
    """The density l e^(l x) / (e^l - 1) at the l of the training pixels' means."""
    mean = np.clip(train.mean(axis=0), 0.5 / 255, 1 - 0.5 / 255)

    def mean_of(logit):
        return 0.5 / np.tanh(0.5 * logit) + 0.5 - 1 / logit

    logit = np.vectorize(lambda m: optimize.brentq(lambda s: mean_of(s) - m, -1000, 1000.1))(mean)
    normaliser = np.log(np.abs(logit)) - np.log(-np.expm1(-np.abs(logit))) - np.maximum(logit, 0)
    return normaliser + logit * images


def _discretized_logistic(train, images):
    """The logistic of the pixels' means and variances, cut into levels."""
    scale = np.maximum(np.sqrt(3 * train.var(axis=0)) / np.pi, np.exp(-7.0))
    logistic = stats.logistic(train.mean(axis=0), scale)
    upper = np.where(images == 1, 1.0, logistic.cdf(images + 0.5 / 255))
    lower = np.where(images == 0, 0.0, logistic.cdf(images - 0.5 / 255))
    return np.log(upper - lower)


@pytest.mark.parametrize(
    ("likelihood", "log_probability"),
    [
        ("gaussian", lambda train, images: _gaussian(train, images, 0.5)),
        (
            "gaussian_learned_scale",
            lambda train, images: _gaussian(train, images, _global_scale(train)),
        ),
        (
            "gaussian_analytic_scale",
            lambda train, images: _gaussian(train, images, _global_scale(train)),
        ),
        ("continuous_bernoulli", _continuous_bernoulli),
        ("discretized_logistic", _discretized_logistic),
    ],
)
def test_elbo_of_grey_images(grey_digits, tmp_path, likelihood, log_probability):
    image_format = ImageFormat(8, 8, 1, "none")
    _save(grey_digits, image_format, tmp_path, likelihood, gaussian_scale=0.5)
    _, train = _stored_pixels(grey_digits, "train", image_format)
    records, test = _stored_pixels(grey_digits, "test", image_format)
    assert (train.std(axis=0) == 0).any(), "a pixel that never changes is the hard case"
    scores = _scores(tmp_path, records)
    expected = log_probability(train / 255, test / 255).sum(axis=(1, 2, 3))
    np.testing.assert_allclose(scores["elbo"], expected, rtol=1e-4, atol=1e-3)
    np.testing.assert_array_equal(scores["distortion"], -scores["elbo"])
    np.testing.assert_array_equal(scores["rate"], np.zeros(100))


@pytest.mark.parametrize(
    "likelihood", ["gaussian_learned_scale", "continuous_bernoulli", "discretized_logistic"]
)
@pytest.mark.parametrize(("mean", "held_out"), [(0.0, 255), (1.0, 0)])
def test_grey_pixels_that_never_change_leave_held_out_images_a_finite_score(
    tmp_path, likelihood, mean, held_out
):
    image_format = ImageFormat(1, 1, 1, "none")
    moments = PixelMoments(np.full((1, 1, 1), mean), np.full((1, 1, 1), mean), 60_000)
    IndependentPixels(moments, image_format, likelihood, 1.0).save(str(tmp_path))
    usual = np.full((1, 1, 1), round(255 * mean), np.uint8)
    unseen = np.full((1, 1, 1), held_out, np.uint8)
    records = [_serialized(pixels, image_format) for pixels in (usual, unseen)]
    elbo = _scores(tmp_path, records)["elbo"]
    assert np.isfinite(elbo).all()
    # The floor of the scale, a thousandth; the logit at half a level; the layer's least scale.
    expected = {
        "gaussian_learned_scale": stats.norm.logpdf([0.0, 1.0], scale=1e-3),
        "continuous_bernoulli": np.log(510) - [0.0, 510],
        "discretized_logistic": stats.logistic.logsf(
            np.array([-0.5, 254.5]) / 255, scale=np.exp(-7.0)
        ),
    }[likelihood]
    np.testing.assert_allclose(elbo, expected, rtol=1e-4, atol=1e-2)


def test_the_mean_of_a_continuous_bernoulli_is_the_pixels():
    mean = np.array([0.002, 0.02, 0.3, 0.49999, 0.5, 0.7, 0.998]).reshape(1, 7, 1)
    moments = PixelMoments(mean, mean, 100)
    layer, logits = fit_likelihood(moments, "continuous_bernoulli", 1.0)
    fitted = layer.mean(tf.constant(logits, tf.float32)).numpy()
    np.testing.assert_allclose(fitted, mean, rtol=1e-5, atol=1e-6)
