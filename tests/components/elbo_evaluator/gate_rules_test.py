import math
from statistics import NormalDist

import pytest

from components.elbo_evaluator.comparability import ScoreUnit
from components.elbo_evaluator.config import GateConfig
from components.elbo_evaluator.measurements import Comparison
from components.elbo_evaluator.rules import decide, ignorant_elbo
from components.image_binarizer.image_format import ImageFormat
from tests.components.elbo_evaluator.made_up import FORMAT, measured

_Z = NormalDist().inv_cdf(0.95)


def failures(measurements, **thresholds):
    """Messages of the rules that do not hold, by name."""
    rules = decide(measurements, GateConfig(**thresholds))
    assert all(rule.message for rule in rules if not rule.passed)
    return {rule.name: rule.message for rule in rules if not rule.passed}


def rule_named(name, measurements, **thresholds):
    (rule,) = (r for r in decide(measurements, GateConfig(**thresholds)) if r.name == name)
    return rule


def test_a_healthy_candidate_passes_every_rule():
    rules = decide(measured(), GateConfig())
    assert [rule.name for rule in rules] == [
        "signatures",
        "test images",
        "comparable",
        "examples",
        "finite",
        "floor",
        "label floor",
        "champion",
        "labels",
        "collapse",
        "kl weight",
        "sample distance",
        "sample coverage",
        "sample classes",
    ]
    assert {(rule.passed, rule.message) for rule in rules} == {(True, "")}


@pytest.mark.parametrize(
    ("measurements", "thresholds", "name", "message"),
    [
        (
            measured(complaints=("decode is inverted", "rates differ")),
            {},
            "signatures",
            "decode is inverted; rates differ",
        ),
        (
            measured({"example_count": 999.0}),
            {"min_examples": 1000},
            "examples",
            "999 test images were scored; 1,000 are asked for",
        ),
        (
            measured({"non_finite_share": 0.0012}),
            {"max_non_finite_share": 0.001},
            "finite",
            "0.12% of the test images have a score or code that is not finite",
        ),
        (
            measured({"elbo": -101.5}),
            {"floor": -101.0},
            "floor",
            "elbo is -101.50, below its floor of -101.00",
        ),
        (
            measured({"collapsed_share": 15 / 16, "active_units": 1.0}),
            {},
            "collapse",
            "94% of the latent dimensions are collapsed (1 are active); at most 90% may be",
        ),
        (
            measured({"implied_kl_weight": 2.1}),
            {},
            "kl weight",
            "it behaves as if trained at a KL weight of 2.1 ± 0.01, but says 1",
        ),
        (
            measured({"implied_kl_weight": 1.0}, {"kl_weight": 4.0}),
            {},
            "kl weight",
            "it behaves as if trained at a KL weight of 1 ± 0.01, but says 4",
        ),
    ],
)
def test_each_rule_fails_alone_with_its_reason(measurements, thresholds, name, message):
    assert failures(measurements, **thresholds) == {name: message}


@pytest.mark.parametrize(
    ("measurements", "thresholds"),
    [
        (measured({"example_count": 1000.0}), {"min_examples": 1000}),
        (measured({"non_finite_share": 0.001}), {"max_non_finite_share": 0.001}),
        (measured({"elbo": -101.0}), {"floor": -101.0}),
        (measured({"collapsed_share": 0.9}), {}),
        (measured({"implied_kl_weight": 1.5}), {}),
        (measured({"implied_kl_weight": 1 / 1.5}), {}),
        # Not significantly outside of the factor.
        (measured({"implied_kl_weight": 1.5 + 0.99 * _Z * 0.01}), {}),
        (measured({"implied_kl_weight": 4.2}, {"kl_weight": 4.0}), {}),
        (measured({"implied_kl_weight": 99.0}), {"max_kl_weight_factor": None}),
    ],
)
def test_each_threshold_itself_passes(measurements, thresholds):
    assert failures(measurements, **thresholds) == {}


@pytest.mark.parametrize(
    ("number", "rule"),
    [
        ("non_finite_share", "finite"),
        ("elbo", "floor"),
        ("elbo_gain", "champion"),
        ("elbo_gain_standard_error", "champion"),
        ("collapsed_share", "collapse"),
        ("implied_kl_weight", "kl weight"),
        ("implied_kl_weight_standard_error", "kl weight"),
    ],
)
@pytest.mark.parametrize("comparison", ["no_worse", "better", "significantly_better"])
@pytest.mark.parametrize("missing", [False, True])
def test_nan_and_what_is_missing_hold_no_rule(number, rule, comparison, missing):
    measurements = measured({number: math.nan})
    if missing:
        del measurements.overall.candidate[number]
    given = failures(measurements, comparison=comparison)
    if (number, comparison) == ("elbo_gain_standard_error", "better"):
        # The only rule that does not ask how sure the gain is.
        assert given == {}
    else:
        assert list(given) == [rule]


@pytest.mark.parametrize(
    ("likelihood", "floor"),
    [
        ("bernoulli", -784 * math.log(2)),
        ("discretized_logistic", -784 * math.log(256)),
        ("gaussian", 0.0),
        ("gaussian_learned_scale", 0.0),
        ("gaussian_analytic_scale", 0.0),
        ("continuous_bernoulli", 0.0),
    ],
)
def test_the_default_floor_is_that_of_a_model_that_knows_nothing(likelihood, floor):
    assert ignorant_elbo(784, likelihood) == pytest.approx(floor, rel=1e-12)
    measurements = measured({"elbo": floor - 0.01}, {"likelihood": likelihood}, by_label={})
    assert list(failures(measurements)) == ["floor"]
    assert failures(measurements, floor=floor - 0.02) == {}
    assert rule_named("floor", measurements).threshold == pytest.approx(floor, rel=1e-12)


def test_a_floor_of_zero_is_not_the_default():
    rule = rule_named("floor", measured(), floor=0.0)
    assert (rule.passed, rule.threshold) == (False, 0.0)


@pytest.mark.parametrize(
    "training",
    [
        {"objective": "importance_weighted"},
        {"free_bits": 0.5},
        {"prior": "vamp"},
        {"kl_weight": 0.0},
    ],
)
def test_the_kl_weight_is_asked_only_where_it_was_minimised(training):
    rule = rule_named("kl weight", measured({"implied_kl_weight": 9.0}, training))
    assert rule.passed
    assert rule.message == "not asked: its loss was not that of a KL weight"


def test_other_test_images_than_those_of_training():
    other = ImageFormat(28, 28, 1, "threshold", 0.25)
    measurements = measured(overall=Comparison(), by_label={}, samples=None, image_format=other)
    rules = decide(measurements, GateConfig())
    assert [(rule.name, rule.passed) for rule in rules] == [
        ("signatures", True),
        ("test images", False),
        ("comparable", True),
    ]
    assert rules[1].message == (
        "the model was trained on 28x28x1, threshold 0.5, but the test images are 28x28x1, "
        "threshold 0.25"
    )


def test_an_incomparable_champion_is_no_reason_not_to_look_at_the_rest():
    unit = ScoreUnit(FORMAT, "gaussian", "mnist")
    candidate = {"implied_kl_weight": 9.0}
    measurements = measured(candidate, champion_unit=unit)
    scores = Comparison(measurements.overall.candidate)
    given = failures(measured(champion_unit=unit, overall=scores, by_label={0: scores}))
    assert list(given) == ["comparable", "kl weight"]
    assert "--new-line" in given["comparable"]


def test_a_model_that_could_not_be_scored_has_nothing_to_count():
    measurements = measured(
        overall=Comparison(), by_label={}, samples=None, unit=None, complaints=("cannot be loaded",)
    )
    assert [rule.name for rule in decide(measurements, GateConfig())] == ["signatures"]


def test_an_empty_test_split():
    measurements = measured(overall=Comparison(), by_label={}, samples=None)
    assert failures(measurements, min_examples=1) == {
        "examples": "0 test images were scored; 1 are asked for"
    }


def test_an_autoencoder_is_told_that_it_has_no_elbo_and_nothing_else():
    candidate = {"elbo": math.nan, "rate": math.inf, "non_finite_share": 1.0}
    assert failures(measured(candidate)) == {
        "elbo": "the rate is infinite, as that of a point posterior (an autoencoder) always is, so "
        "there is no ELBO"
    }


def test_one_image_with_an_infinite_rate_makes_no_autoencoder():
    candidate = {"elbo": math.nan, "rate": math.inf, "non_finite_share": 0.001}
    assert list(failures(measured(candidate))) == ["finite", "floor"]
