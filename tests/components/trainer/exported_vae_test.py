"""The SavedModel's signatures: what they give, and that it depends on the example alone."""

import json
import math

import numpy as np
import pytest
import tensorflow as tf

from components.image_binarizer import ImageFormat
from components.trainer import TrainingConfig


@pytest.fixture(scope="module")
def signatures(trained):
    # The loaded object owns the variables, so it must outlive its signatures.
    loaded = tf.saved_model.load(f"{trained[0].uri}/Format-Serving")
    yield loaded.signatures
    del loaded


@pytest.fixture(scope="module")
def records(ready_digits):
    files = tf.io.gfile.glob(f"{ready_digits.uri}/Split-test/*")
    return list(tf.data.TFRecordDataset(files, "GZIP").as_numpy_iterator())


@pytest.fixture(scope="module")
def scores(signatures, records):
    outputs = signatures["evaluate"](examples=tf.constant(records))
    return {name: value.numpy() for name, value in outputs.items()}


@pytest.fixture(scope="module")
def images(records):
    packed = [
        tf.train.Example.FromString(r).features.feature["image"].bytes_list.value[0]
        for r in records
    ]
    bits = np.unpackbits(np.array([np.frombuffer(p, np.uint8) for p in packed]), axis=1)
    return bits.reshape(-1, 28, 28, 1).astype(np.float32)


def test_has_exactly_the_documented_signatures(signatures):
    assert set(signatures) == {
        "serving_default",
        "decode",
        "describe",
        "encode",
        "encode_stored",
        "evaluate",
        "generate",
        "importance_weighted_bound",
        "kl_weight_slopes",
        "prior_codes",
        "reconstruct",
    }


def test_holds_weights_and_nothing_else(trained):
    variables = tf.train.list_variables(f"{trained[0].uri}/Format-Serving/variables/variables")
    names = [name for name, _ in variables if "CHECKPOINTABLE_OBJECT_GRAPH" not in name]
    # Two nets of three dense layers: a kernel and a bias each.
    assert len(names) == 12
    assert sum(math.prod(shape) for name, shape in variables if name in names) == (
        784 * 400 + 400 + 400 * 400 + 400 + 400 * 8 + 8
    ) + (4 * 400 + 400 + 400 * 400 + 400 + 400 * 784 + 784)


def test_elbo_is_minus_distortion_minus_rate(scores):
    np.testing.assert_allclose(scores["elbo"], -(scores["distortion"] + scores["rate"]), rtol=1e-6)


def test_scores_have_an_entry_an_image_and_repeat(records, scores, signatures):
    assert {name: value.shape for name, value in scores.items()} == {
        **dict.fromkeys(
            ("elbo", "distortion", "rate", "squared_error", "rounded_accuracy"), (len(records),)
        ),
        **dict.fromkeys(("code", "posterior_mean", "posterior_variance"), (len(records), 4)),
    }
    again = signatures["evaluate"](examples=tf.constant(records))
    for name, value in scores.items():
        np.testing.assert_allclose(again[name], value, rtol=1e-6)


def test_rate_is_the_closed_form_of_the_posterior_it_reports(scores):
    mean, variance = scores["posterior_mean"], scores["posterior_variance"]
    expected = 0.5 * (mean**2 + variance - 1 - np.log(variance)).sum(axis=1)
    np.testing.assert_allclose(scores["rate"], expected, rtol=1e-4)


def test_encode_and_evaluate_give_the_same_posterior(signatures, images, scores):
    posterior = signatures["encode"](images=tf.constant(images))
    np.testing.assert_allclose(posterior["mean"], scores["posterior_mean"], atol=1e-5)
    np.testing.assert_allclose(posterior["variance"], scores["posterior_variance"], rtol=1e-4)


def test_distortion_is_the_cross_entropy_of_decoded_posterior_draws(signatures, images, scores):
    rng = np.random.default_rng(0)
    mean, scale = scores["posterior_mean"], np.sqrt(scores["posterior_variance"])
    estimates = []
    for _ in range(20):
        z = (mean + scale * rng.normal(size=mean.shape)).astype(np.float32)
        p = np.clip(signatures["decode"](z=tf.constant(z))["mean"].numpy(), 1e-7, 1 - 1e-7)
        cross_entropy = -(images * np.log(p) + (1 - images) * np.log1p(-p))
        estimates.append(cross_entropy.sum(axis=(1, 2, 3)).mean())
    error = np.std(estimates) * math.sqrt(1 / 20 + 1)
    assert abs(np.mean(estimates) - scores["distortion"].mean()) < 5 * error


def test_distortion_and_errors_are_those_of_the_decoded_code(signatures, images, scores):
    mean = signatures["decode"](z=tf.constant(scores["code"]))["mean"].numpy().astype(float)
    cross_entropy = -(images * np.log(mean) + (1 - images) * np.log1p(-mean)).sum(axis=(1, 2, 3))
    np.testing.assert_allclose(scores["distortion"], cross_entropy, rtol=1e-4)
    squares = np.square(mean - images).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(scores["squared_error"], squares, rtol=1e-4)
    same = ((mean > 0.5) == (images > 0.5)).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(scores["rounded_accuracy"], same, atol=1.5 / 784)


def test_codes_are_draws_from_the_posterior(scores):
    white = (scores["code"] - scores["posterior_mean"]) / np.sqrt(scores["posterior_variance"])
    assert abs(white.mean()) < 5 / math.sqrt(white.size)
    assert abs(white.var() - 1) < 5 * math.sqrt(2 / white.size)


def test_importance_weighted_bound_is_tighter_than_the_elbo_on_average(signatures, records, scores):
    bound = signatures["importance_weighted_bound"](
        examples=tf.constant(records), number=tf.constant(20, tf.int64)
    )["importance_weighted_bound"].numpy()
    assert bound.shape == (len(records),)
    assert bound.mean() > scores["elbo"].mean()


def test_slopes_have_an_entry_an_image(signatures, records):
    slopes = signatures["kl_weight_slopes"](examples=tf.constant(records))
    assert {name: value.shape for name, value in slopes.items()} == {
        "distortion_slope": (len(records),),
        "rate_slope": (len(records),),
    }


def test_the_card_says_what_trained_the_model_and_on_which_images(signatures, ready_digits):
    card = json.loads(signatures["describe"]()["card"].numpy())
    assert card.keys() == {"image_format", "training"}
    assert ImageFormat(**card["image_format"]) == ImageFormat.read(ready_digits.uri)
    # As the fixture `trained` has it.
    assert TrainingConfig(**card["training"]) == TrainingConfig(
        architecture="dense", latent_size=4, epochs=4, batch_size=50, learning_rate=2e-3
    )


def test_a_score_does_not_depend_on_batch_or_order(signatures, records, scores):
    order = np.random.default_rng(0).permutation(len(records))
    shuffled = [records[i] for i in order]
    pieces = [
        signatures["evaluate"](examples=tf.constant(shuffled[start : start + 7]))
        for start in range(0, len(shuffled), 7)
    ]
    for name, expected in scores.items():
        given = np.concatenate([piece[name].numpy() for piece in pieces])
        np.testing.assert_allclose(given, expected[order], rtol=1e-4, atol=1e-4)


def test_decode_gives_mean_mode_and_a_repeatable_sample(signatures):
    z = tf.random.stateless_normal([50, 4], seed=[3, 4])
    one, two = signatures["decode"](z=z), signatures["decode"](z=z)
    mean, sample = one["mean"].numpy(), one["sample"].numpy()
    np.testing.assert_array_equal(one["mode"], (mean > 0.5).astype(np.float32))
    np.testing.assert_array_equal(sample, two["sample"])
    assert set(np.unique(sample)) == {0.0, 1.0}
    variance = (mean * (1 - mean)).sum()
    assert abs(sample.sum() - mean.sum()) < 5 * math.sqrt(variance)


def test_reconstruct_decodes_the_posterior_mean(signatures, images, scores):
    rebuilt = signatures["reconstruct"](images=tf.constant(images[:5]))["mean"]
    decoded = signatures["decode"](z=tf.constant(scores["posterior_mean"][:5]))["mean"]
    np.testing.assert_allclose(rebuilt, decoded, atol=1e-5)


def generate(signatures, number, seed):
    return signatures["generate"](
        number=tf.constant(number, tf.int64), seed=tf.constant(seed, tf.int64)
    )


def test_generate_gives_prior_draws_that_do_not_depend_on_their_number(signatures):
    few, many = generate(signatures, 3, 7), generate(signatures, 500, 7)
    np.testing.assert_array_equal(few["z"], many["z"][:3])
    np.testing.assert_allclose(few["mean"], many["mean"][:3], atol=1e-6)
    z = many["z"].numpy()
    assert z.shape == (500, 4)
    assert abs(z.mean()) < 5 / math.sqrt(z.size)
    assert abs(z.var() - 1) < 5 * math.sqrt(2 / z.size)


def test_generate_with_another_seed_gives_other_images(signatures):
    assert not np.allclose(generate(signatures, 2, 0)["z"], generate(signatures, 2, 1)["z"])


def test_generate_takes_zero_images(signatures):
    assert generate(signatures, 0, 0)["mean"].shape == (0, 28, 28, 1)
