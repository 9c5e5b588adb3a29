"""The exported encoder against `encode` and `evaluate` of images that ImageBinarizer made ready."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from components.decoder_exporter.export import export_decoder
from components.decoder_exporter.export_encoder import export_encoder
from components.errors import InputError
from components.image_binarizer import ImageFormat
from components.image_binarizer.binarize import observe, parse_examples
from components.image_binarizer.decode import decode_image
from components.trainer.export import export
from serving.client import DecoderClient
from serving.servable import Servable
from serving.server import ModelServer
from serving.warmup import warm_up
from tests.components.trainer.tiny_models import GREY, tiny_config, tiny_model
from tests.example_files import binarize_examples, png

FORMATS = {
    "threshold": ImageFormat(14, 12, 1, "threshold", threshold=0.3),
    "stochastic": ImageFormat(14, 12, 1, "stochastic", seed=5),
    "dynamic": ImageFormat(14, 12, 1, "dynamic"),
    "none": ImageFormat(14, 12, 1, "none"),
}
_MONTE_CARLO = {"rate_estimator": "monte_carlo"}


def _images_and_labels(uri):
    (file,) = Path(uri, "Split-test").glob("*")
    features = [
        tf.train.Example.FromString(record).features.feature
        for record in tf.data.TFRecordDataset(str(file), "GZIP").as_numpy_iterator()
    ]
    return [(f["image"].bytes_list.value[0], f["label"].int64_list.value[0]) for f in features]


def _save(config, image_format, folder):
    likelihood = {} if image_format.is_binary else {"likelihood": "gaussian"}
    config = tiny_config(**config, **likelihood)
    export(tiny_model(config, image_format), config, image_format, str(folder / "model"))
    return tf.saved_model.load(str(folder / "model"))


@pytest.mark.parametrize("binarization", FORMATS)
def test_real_digits_are_encoded_as_after_image_binarizer(binarization, raw_digits, tmp_path):
    image_format = FORMATS[binarization]
    ready = binarize_examples(raw_digits, tmp_path, image_format)[0]
    (file,) = Path(ready.uri, "Split-test").glob("*")
    # One record in, one out, in order.
    raw = _images_and_labels(raw_digits.uri)
    stored = _images_and_labels(ready.uri)
    assert sorted(label for _, label in raw) == sorted(label for _, label in stored)
    examples = tf.constant(list(tf.data.TFRecordDataset(str(file), "GZIP").as_numpy_iterator()))
    full = _save({}, image_format, tmp_path)
    images = observe(parse_examples(examples, image_format), image_format)
    expected = full.signatures["encode"](images=images)
    codes = full.signatures["evaluate"](examples=examples)["code"].numpy()
    mean, log_variance = expected["mean"].numpy(), np.log(expected["variance"].numpy())

    export_encoder(str(tmp_path / "model"), str(tmp_path / "encoder"))
    encoder = tf.saved_model.load(str(tmp_path / "encoder"))
    files = [encoded for encoded, _ in raw]
    pixels = tf.constant(np.stack([decode_image(encoded) for encoded in files]))
    replies = [
        encoder.signatures["encode"](images=tf.constant(files)),
        encoder.signatures["serving_default"](images=tf.constant(files)),
        encoder.signatures["encode_pixels"](pixels=pixels),
    ]
    for reply in replies:
        assert set(reply) == {"mean", "log_variance", "code"}
        # Beam may have written the records in another order.
        order = _matching_rows(reply["mean"].numpy(), mean)
        np.testing.assert_allclose(reply["mean"], mean[order], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(reply["log_variance"], log_variance[order], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(reply["code"], codes[order], rtol=1e-4, atol=1e-5)
    assert encoder.signatures["encode"](images=tf.constant(files[:3]))["mean"].shape == (3, 3)


def _matching_rows(given, expected):
    """For each given row the nearest expected one; every one is taken once."""
    distances = np.abs(given[:, None] - expected[None]).max(axis=-1)
    order = distances.argmin(axis=1)
    assert len(set(order)) == len(order)
    return order


@pytest.mark.parametrize("posterior", ["diagonal", "full_covariance", "point"])
def test_any_posterior_is_exported(posterior, tmp_path):
    config = {"posterior": posterior, "kl_weight": 0.0 if posterior == "point" else 1.0}
    full = _save(config, GREY, tmp_path)
    export_encoder(str(tmp_path / "model"), str(tmp_path / "encoder"))
    encoder = tf.saved_model.load(str(tmp_path / "encoder"))
    bits = np.random.default_rng(0).integers(0, 2, (6, *GREY.shape), dtype=np.uint8)
    outputs = encoder.signatures["encode_pixels"](pixels=tf.constant(255 * bits))
    expected = full.signatures["encode"](images=tf.constant(bits, tf.float32))
    np.testing.assert_allclose(outputs["mean"], expected["mean"], rtol=1e-5, atol=1e-6)
    assert np.isfinite(outputs["log_variance"]).all()
    np.testing.assert_allclose(
        np.exp(outputs["log_variance"]), expected["variance"], rtol=1e-4, atol=1e-30
    )
    difference = np.abs(outputs["code"] - outputs["mean"]).max()
    assert difference == 0 if posterior == "point" else difference > 0.1


@pytest.mark.parametrize("prior", ["mixture", "vamp"])
def test_of_a_mixture_the_temperature_narrows_each_gaussian(prior, tmp_path):
    full = _save({"prior": prior, **_MONTE_CARLO}, GREY, tmp_path)
    export_decoder(str(tmp_path / "model"), str(tmp_path / "decoder"))
    decoder = tf.saved_model.load(str(tmp_path / "decoder"))
    inputs = {"number": tf.constant(60, tf.int64), "seed": tf.constant(1, tf.int64)}

    def codes(temperature):
        temperature = tf.constant(temperature, tf.float32)
        return decoder.signatures["generate"](**inputs, temperature=temperature)["z"].numpy()

    warm, half, cold = codes(1.0), codes(0.5), codes(0.0)
    np.testing.assert_array_equal(warm, full.signatures["generate"](**inputs)["z"])
    # At 0 there are as many codes as Gaussians: their means.
    assert 2 <= len(np.unique(cold.round(4), axis=0)) <= 4
    np.testing.assert_allclose(half, (warm + cold) / 2, atol=1e-5)


def test_the_encoder_holds_only_the_encoders_weights(tmp_path):
    full = _save({}, GREY, tmp_path)
    export_encoder(str(tmp_path / "model"), str(tmp_path / "encoder"))
    variables = tf.train.list_variables(str(tmp_path / "encoder" / "variables" / "variables"))
    saved = sum(np.prod(shape) for name, shape in variables if "VARIABLE_VALUE" in name)
    used = {id(v): v for v in full.signatures["encode"].variables}.values()
    assert saved == sum(np.prod(variable.shape) for variable in used)
    total = sum(f.stat().st_size for f in (tmp_path / "encoder").rglob("*") if f.is_file())
    assert total < 4 * saved + 300_000


def test_files_and_pixels_are_encoded_by_a_server(tmp_path):
    _save({}, GREY, tmp_path)
    export_encoder(str(tmp_path / "model"), str(tmp_path / "base" / "1"))
    encoder = tf.saved_model.load(str(tmp_path / "base" / "1"))
    pixels = np.random.default_rng(1).integers(0, 256, (3, 9, 7, 1), dtype=np.uint8)
    files = [png(image[..., 0]) for image in pixels]
    expected = encoder.signatures["encode_pixels"](pixels=tf.constant(pixels))
    assert warm_up(Servable(tmp_path / "base" / "1", 1)) == len(encoder.signatures) == 3
    with (
        ModelServer("the encoder", tmp_path / "base") as server,
        DecoderClient(server.target, encoder_name="the encoder") as client,
    ):
        for images in (pixels, files):
            for name, value in client.encode(images)._asdict().items():
                np.testing.assert_allclose(value, expected[name], rtol=1e-5, atol=1e-6)
        with pytest.raises(InputError, match=r"INVALID_ARGUMENT: .*image"):
            client.encode([b"no image"])
