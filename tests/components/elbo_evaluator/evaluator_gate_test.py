import math
from pathlib import Path

import numpy as np
import pytest

from components.elbo_evaluator import GateConfig
from components.elbo_evaluator.metrics import SCORES
from components.elbo_evaluator.results import read_gate_result
from tests.example_files import write_examples

_BLESSED, _NOT_BLESSED = "BLESSED", "NOT_BLESSED"


def _verdict(blessing):
    (file,) = Path(blessing.uri).iterdir()
    assert blessing.get_int_custom_property("blessed") == int(file.name == _BLESSED)
    return file.name


def _standard_error(values):
    return np.std(values, ddof=1) / np.sqrt(len(values))


@pytest.fixture(scope="module")
def passed(judge):
    """A candidate that is 20 nats better than its champion and just passes every threshold."""
    gate = GateConfig(floor=-190.0, min_improvement=19.0, min_examples=60)
    return judge("candidate", "worse", gate)


@pytest.fixture(scope="module")
def failed(judge):
    """A candidate that is 9 nats worse than its champion and fails every threshold."""
    gate = GateConfig(floor=-180.0, min_improvement=1.0, min_examples=61)
    return judge("candidate", "better", gate)


def test_means_and_standard_errors(passed, known_scores):
    result = read_gate_result(passed[0].uri)
    assert result.num_examples == 60
    for metrics, name in ((result.candidate, "candidate"), (result.champion, "worse")):
        for i, score in enumerate(SCORES):
            values = known_scores[name][:, i]
            assert metrics[score] == pytest.approx(values.mean(), abs=1e-6)
            error = metrics[f"{score}_standard_error"]
            assert error == pytest.approx(_standard_error(values), abs=1e-6)


def test_the_difference_is_paired(passed, known_scores):
    difference = read_gate_result(passed[0].uri).difference
    pairs = known_scores["candidate"][:, 0] - known_scores["worse"][:, 0]
    assert difference["elbo"] == pytest.approx(pairs.mean(), abs=1e-6)
    error = difference["elbo_paired_standard_error"]
    assert error == pytest.approx(_standard_error(pairs), abs=1e-6)
    # Pairing is what makes the difference so much surer than either mean.
    assert error < _standard_error(known_scores["candidate"][:, 0]) / 10


def test_slices_by_label(passed, known_scores, known_labels):
    by_label = read_gate_result(passed[0].uri).by_label
    assert list(by_label) == [0, 1, 2]
    for label, metrics in by_label.items():
        values = known_scores["candidate"][known_labels == label]
        assert metrics["example_count"] == len(values)
        for i, score in enumerate(SCORES):
            assert metrics[score] == pytest.approx(values[:, i].mean(), abs=1e-6)
    values = known_scores["candidate"][known_labels == 1, 0]
    assert by_label[1]["elbo_standard_error"] == pytest.approx(_standard_error(values), abs=1e-6)
    assert by_label[2]["elbo_standard_error"] == math.inf


def test_a_better_candidate_is_blessed_though_its_labels_would_not_be(passed, known_models):
    evaluation, blessing = passed
    assert _verdict(blessing) == _BLESSED
    result = read_gate_result(evaluation.uri)
    assert result.blessed
    assert result.failures == ()
    # Every label has too few images, and one is far below the floor.
    assert all(metrics["example_count"] < 60 for metrics in result.by_label.values())
    assert result.by_label[2]["elbo"] == -5000.0
    # This is what DecoderPusher holds the model against.
    assert blessing.get_string_custom_property("current_model") == known_models["candidate"].uri
    assert blessing.get_int_custom_property("current_model_id") == known_models["candidate"].id


def test_each_threshold_that_fails_is_named(failed):
    evaluation, blessing = failed
    assert _verdict(blessing) == _NOT_BLESSED
    result = read_gate_result(evaluation.uri)
    assert not result.blessed
    assert sorted(result.failures) == [
        "elbo differs from the champion's by -9.00; at least +1.00 is asked for",
        "elbo is -183.65, below its floor of -180.00",
        "example_count is 60.00, below its floor of 61.00",
    ]


def test_an_equal_model_is_blessed_when_no_improvement_is_asked_for(judge):
    evaluation, blessing = judge("candidate", "candidate", GateConfig(-190.0, 0.0, 60))
    assert _verdict(blessing) == _BLESSED
    difference = read_gate_result(evaluation.uri).difference
    assert (difference["elbo"], difference["elbo_paired_standard_error"]) == (0.0, 0.0)


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("candidate", ["nan", "infinite"])
def test_a_score_that_is_not_finite_is_not_blessed(judge, candidate):
    evaluation, blessing = judge(candidate, "worse", GateConfig(-1e9, -1e9, 1))
    assert _verdict(blessing) == _NOT_BLESSED
    result = read_gate_result(evaluation.uri)
    assert math.isnan(result.candidate["elbo"])
    assert math.isfinite(result.candidate["rate"])
    assert sorted(result.failures) == [
        "elbo differs from the champion's by +nan; at least -1000000000.00 is asked for",
        "elbo is nan, below its floor of -1000000000.00",
    ]


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_an_autoencoder_is_told_that_it_has_no_elbo(judge, known_scores):
    evaluation, blessing = judge("autoencoder", "worse", GateConfig(-1e9, -1e9, 61))
    assert _verdict(blessing) == _NOT_BLESSED
    result = read_gate_result(evaluation.uri)
    assert math.isnan(result.candidate["elbo"])
    assert math.isnan(result.candidate["importance_weighted_bound"])
    assert result.candidate["rate"] == math.inf
    distortion = known_scores["autoencoder"][:, 2].mean()
    assert result.candidate["distortion"] == pytest.approx(distortion, abs=1e-6)
    assert result.failures == (
        "the rate is infinite, as that of a point posterior (an autoencoder) always is, so there "
        "is no ELBO",
        "example_count is 60.00, below its floor of 61.00",
    )


def test_an_empty_test_split_is_not_blessed(judge, tmp_path):
    examples = write_examples(tmp_path / "empty", {"test": []})
    evaluation, blessing = judge("candidate", "worse", GateConfig(-1e9, -1e9, 1), examples)
    assert _verdict(blessing) == _NOT_BLESSED
    result = read_gate_result(evaluation.uri)
    assert (result.blessed, result.num_examples, result.by_label) == (False, 0, {})
    assert result.failures == ("no data for the slice of all images",)


def test_a_model_without_the_signature(judge):
    with pytest.raises(ValueError, match="evaluate not found in model signatures"):
        judge("mute", "worse", GateConfig())
