"""One run of the gate on a small trained model: what is scored, decided and left on disk."""

import copy
import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_model_analysis as tfma

from components.elbo_evaluator import examples as model_ready
from components.errors import InputError
from components.image_binarizer.image_format import ImageFormat, read_pixel_moments


@pytest.fixture(scope="module")
def first(judge):
    """A trained model against independent pixels."""
    return judge()


@pytest.fixture(scope="module")
def own_scores(trained, independent_pixels, ready_digits):
    """What `evaluate` of both models says of the test images, and their labels."""
    files = model_ready.split_files(ready_digits.uri, "test")
    (records,) = model_ready.batches(files, 1000)
    scores = []
    for artifact in (trained[0], independent_pixels):
        model = tf.saved_model.load(f"{artifact.uri}/Format-Serving")
        outputs = model.signatures["evaluate"](examples=tf.constant(records))
        scores.append({name: value.numpy().astype(float) for name, value in outputs.items()})
    return *scores, model_ready.labels_of(records)


def _standard_error(values):
    return np.std(values, ddof=1) / math.sqrt(len(values))


def test_a_better_model_than_independent_pixels_is_blessed(first, trained, independent_pixels):
    assert first.failed == []
    assert first.verdict == "BLESSED"
    blessing = first.blessing
    # As the stock Evaluator has them; DecoderPusher holds the model against these.
    assert blessing.get_string_custom_property("current_model") == trained[0].uri
    assert blessing.get_int_custom_property("current_model_id") == 41
    assert blessing.get_string_custom_property("baseline_model") == independent_pixels.uri
    assert blessing.get_int_custom_property("baseline_model_id") == 42
    assert blessing.get_string_custom_property("bless_anyway") == ""
    assert first.result.champion_name == "independent pixels"
    assert first.result.blessed


def test_numbers_are_those_of_the_signatures(first, own_scores, ready_digits):
    candidate, champion, _ = own_scores
    result = first.result
    assert result.num_examples == 100
    for numbers, scores in ((result.candidate, candidate), (result.champion, champion)):
        for name in ("elbo", "rate", "distortion"):
            assert numbers[name] == pytest.approx(scores[name].mean(), rel=1e-6)
            error = numbers[f"{name}_standard_error"]
            assert error == pytest.approx(_standard_error(scores[name]), rel=1e-5)
        assert numbers["mse"] == pytest.approx(scores["squared_error"].mean(), rel=1e-6)
        accuracy = scores["rounded_accuracy"].mean()
        assert numbers["rounded_accuracy"] == pytest.approx(accuracy, rel=1e-6)
    assert len(result.candidate["rate_per_dimension"]) == 4
    # Independent pixels: no code, and a reconstruction that is the mean image.
    assert (result.champion["rate"], result.champion["active_units"]) == (0.0, 0.0)
    moments = read_pixel_moments(ready_digits.uri, "train")
    spread = (moments.mean_square - moments.mean**2).mean()
    assert result.champion["mse"] == pytest.approx(spread, rel=0.1)


def test_the_gain_is_that_of_pairs(first, own_scores):
    pairs = own_scores[0]["elbo"] - own_scores[1]["elbo"]
    gain, error = first.result.overall.gain
    assert gain == pytest.approx(pairs.mean(), rel=1e-5)
    assert error == pytest.approx(_standard_error(pairs), rel=1e-5)
    assert "elbo_gain" not in first.result.champion


def test_labels_are_scored_apart(first, own_scores):
    candidate, champion, labels = own_scores
    by_label = first.result.by_label
    assert sorted(by_label) == list(range(10))
    for label, compared in by_label.items():
        of_label = labels == label
        assert compared.candidate["example_count"] == of_label.sum()
        elbo = candidate["elbo"][of_label]
        assert compared.candidate["elbo"] == pytest.approx(elbo.mean(), rel=1e-6)
        assert compared.gain[0] == pytest.approx(
            (elbo - champion["elbo"][of_label]).mean(), rel=1e-5
        )


def test_costly_scores_are_of_chosen_images_of_the_candidate_alone(first, trained, ready_digits):
    numbers = first.result.candidate
    assert numbers["importance_weighted_count"] == 60
    # Those are not counted as images again.
    assert numbers["example_count"] == 100
    assert not {"importance_weighted_bound", "implied_kl_weight"} & set(first.result.champion)
    model = tf.saved_model.load(f"{trained[0].uri}/Format-Serving").signatures
    chosen = model_ready.choose(model_ready.split_files(ready_digits.uri, "test"), 60)
    examples = tf.constant(chosen)
    bound = model["importance_weighted_bound"](examples=examples, number=tf.constant(8, tf.int64))[
        "importance_weighted_bound"
    ]
    assert numbers["importance_weighted_bound"] == pytest.approx(np.mean(bound), rel=1e-5)
    # All 400 training images, because 1,000 are asked for.
    files = model_ready.split_files(ready_digits.uri, "train")
    examples = tf.constant(np.concatenate(list(model_ready.batches(files, 1000))))
    slopes = {name: np.mean(v) for name, v in model["kl_weight_slopes"](examples=examples).items()}
    weight = -slopes["distortion_slope"] / slopes["rate_slope"]
    assert numbers["implied_kl_weight"] == pytest.approx(weight, rel=1e-4)


def test_tfma_reads_its_own_files(first, own_scores):
    files = {path.name for path in Path(first.evaluation.uri).iterdir()}
    assert {"gate.json", "eval_config.json", "validations.tfrecord"} <= files
    records = list(tfma.load_metrics(first.evaluation.uri))
    assert len(records) == 11
    (overall,) = (r for r in records if not r.slice_key.single_slice_keys)
    (elbo,) = (
        entry.value.double_value.value
        for entry in overall.metric_keys_and_values
        if (entry.key.name, entry.key.model_name) == ("elbo", "candidate") and not entry.key.is_diff
    )
    assert elbo == pytest.approx(own_scores[0]["elbo"].mean(), rel=1e-6)


def test_a_model_is_no_better_than_itself(judge, trained):
    champion = copy.deepcopy(trained[0])
    champion.set_string_custom_property("kind", "registered champion")
    champion.set_int_custom_property("version", 3)
    judged = judge(champion=champion, comparison="better", min_improvement=1.0)
    assert judged.result.overall.gain == (0.0, 0.0)
    assert judged.result.champion_name == "registered champion, version 3"
    assert judged.verdict == "NOT_BLESSED"
    assert judged.result.failures == (
        "elbo differs from the champion's by +0.00 ± 0.00; at least +1.00 is asked for",
    )


def test_a_champion_of_another_likelihood_is_not_compared(judge, make_independent_pixels):
    judged = judge(champion=make_independent_pixels("continuous_bernoulli"))
    assert judged.failed == ["comparable"]
    assert judged.verdict == "NOT_BLESSED"
    (reason,) = judged.result.failures
    assert "likelihood continuous_bernoulli, but this is one of" in reason
    # The candidate's own numbers are there all the same.
    assert judged.result.champion == {}
    assert math.isfinite(judged.result.candidate["elbo"])
    assert math.isnan(judged.result.overall.gain[0])


def _junk(path):
    path.mkdir()
    (path / "saved_model.pb").write_bytes(b"\xff not a proto")


def test_a_candidate_that_cannot_be_loaded_is_a_verdict(judge, as_model):
    judged = judge(model=as_model(_junk))
    assert judged.verdict == "NOT_BLESSED"
    assert judged.failed == ["signatures"]
    assert "Format-Serving cannot be loaded (" in judged.result.failures[0]


def test_a_candidate_without_a_code_is_a_verdict(judge, independent_pixels):
    judged = judge(model=independent_pixels)
    assert judged.verdict == "NOT_BLESSED"
    assert judged.failed == ["signatures"]
    assert judged.result.failures[0].endswith(
        "has no signature kl_weight_slopes, encode, decode, reconstruct, generate; it has "
        "describe, evaluate, importance_weighted_bound"
    )


def test_a_reason_blesses_whatever_was_found(judge, as_model):
    judged = judge(model=as_model(_junk), bless_anyway="a demonstration")
    assert judged.verdict == "BLESSED"
    assert judged.failed == ["signatures"]
    assert judged.blessing.get_string_custom_property("bless_anyway") == "a demonstration"
    document = json.loads(Path(judged.evaluation.uri, "gate.json").read_text())
    assert (document["passed"], document["blessed"]) == (False, True)
    assert document["bless_anyway"] == "a demonstration"


@pytest.fixture
def other_examples(ready_digits, tmp_path):
    """A copy of the Examples, to be changed."""
    examples = copy.deepcopy(ready_digits)
    examples.uri = str(tmp_path / "examples")
    shutil.copytree(ready_digits.uri, examples.uri)
    return examples


def test_test_images_of_another_binarisation_are_not_scored(judge, other_examples):
    ImageFormat(28, 28, 1, "threshold", 0.25).write(other_examples.uri)
    judged = judge(examples=other_examples)
    assert judged.verdict == "NOT_BLESSED"
    assert judged.result.failures == (
        "the model was trained on 28x28x1, threshold 0.5, but the test images are 28x28x1, "
        "threshold 0.25",
    )


def test_an_empty_test_split_is_not_blessed(judge, other_examples):
    (file,) = Path(other_examples.uri, "Split-test").iterdir()
    tf.io.TFRecordWriter(str(file), tf.io.TFRecordOptions("GZIP")).close()
    judged = judge(examples=other_examples, min_examples=1)
    assert judged.verdict == "NOT_BLESSED"
    assert judged.result.failures == ("0 test images were scored; 1 are asked for",)


def _without_describe(path):
    module = tf.Module()
    module.evaluate = tf.function(
        lambda examples: {"elbo": tf.zeros(tf.shape(examples))},
        input_signature=[tf.TensorSpec([None], tf.string, "examples")],
        autograph=False,
    )
    tf.saved_model.save(module, str(path), signatures={"evaluate": module.evaluate})


@pytest.mark.parametrize(
    ("write", "reason"),
    [
        (_junk, r"\S+/Format-Serving cannot be loaded"),
        (_without_describe, r"\S+/Format-Serving has no signature describe; it has evaluate\."),
    ],
)
def test_a_damaged_champion_is_an_error_with_its_remedy(judge, as_model, write, reason):
    champion = as_model(write)
    champion.set_string_custom_property("kind", "registered champion")
    champion.set_int_custom_property("version", 3)
    with pytest.raises(
        InputError, match=rf"The champion \(registered champion, version 3\) is damaged: {reason}"
    ) as info:
        judge(champion=champion)
    assert "Restore it, or start a new line of champions with --new-line." in str(info.value)
