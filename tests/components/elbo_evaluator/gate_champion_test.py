"""The rules that compare with a champion, over all images and by label."""

import math
from statistics import NormalDist

import pytest

from components.elbo_evaluator.config import GateConfig
from components.elbo_evaluator.rules import decide
from tests.components.elbo_evaluator.made_up import measured, of_label

_Z = NormalDist().inv_cdf(0.95)


def _failures(measurements, **thresholds):
    rules = decide(measurements, GateConfig(**thresholds))
    return {rule.name: rule.message for rule in rules if not rule.passed}


def _gaining(gain, error, **changes):
    return measured({"elbo_gain": gain, "elbo_gain_standard_error": error}, **changes)


@pytest.mark.parametrize(
    ("gain", "error", "passes"),
    [
        (0.0, 0.1, True),
        # Within the tolerance, however sure.
        (-0.75, 0.0, True),
        # Beyond the tolerance, but as likely by chance.
        (-3.0, 3.0 / _Z + 1e-6, True),
        (-3.0, 3.0 / _Z - 1e-6, False),
        (-0.76, 0.001, False),
        (0.0, math.nan, False),
    ],
)
def test_no_worse_blocks_a_significant_loss_alone(gain, error, passes):
    given = _failures(_gaining(gain, error))
    assert given == (
        {}
        if passes
        else {
            "champion": f"elbo differs from the champion's by {gain:+.2f} ± {error:.2f}, a "
            "significant loss of more than the 0.75 that is let pass"
        }
    )


def test_the_tolerance_can_be_nothing():
    assert _failures(_gaining(0.0, 0.0), tolerance=0.0) == {}
    assert list(_failures(_gaining(-0.01, 0.001), tolerance=0.0)) == ["champion"]


@pytest.mark.parametrize(
    ("gain", "error", "passes"), [(1.0, 50.0, True), (1.5, 0.1, True), (0.99, 0.001, False)]
)
def test_better_asks_for_the_mean_alone(gain, error, passes):
    given = _failures(_gaining(gain, error), comparison="better", min_improvement=1.0)
    assert given == (
        {}
        if passes
        else {
            "champion": f"elbo differs from the champion's by {gain:+.2f} ± {error:.2f}; at least "
            "+1.00 is asked for"
        }
    )


@pytest.mark.parametrize(
    ("gain", "error", "passes"),
    [
        (2.0, 1.0 / _Z - 1e-6, True),
        (2.0, 1.0 / _Z + 1e-6, False),
        # Equal models: nothing is more than nothing.
        (1.0, 0.0, False),
    ],
)
def test_significantly_better_asks_for_more_than_chance(gain, error, passes):
    given = _failures(_gaining(gain, error), comparison="significantly_better", min_improvement=1.0)
    assert given == (
        {}
        if passes
        else {
            "champion": f"elbo differs from that of the champion by {gain:+.2f} ± {error:.2f}, "
            "which is not significantly more than +1.00"
        }
    )


def test_how_sure_is_the_gates_confidence():
    assert _failures(_gaining(0.01, 1.0), comparison="significantly_better", confidence=0.5) == {}
    assert list(_failures(_gaining(-1.0, 0.5), confidence=0.95)) == ["champion"]
    assert _failures(_gaining(-1.0, 0.5), confidence=0.99) == {}


@pytest.mark.parametrize(
    "thresholds",
    [{}, {"comparison": "better"}, {"comparison": "better", "min_improvement": 9.0}],
)
@pytest.mark.parametrize("gain", [-1.0, 0.0, 1.6])
def test_a_first_model_must_be_significantly_better_than_independent_pixels(thresholds, gain):
    assert _failures(_gaining(gain, 1.0, is_first=True), **thresholds) == {
        "champion": f"elbo differs from that of independent pixels by {gain:+.2f} ± 1.00, which is "
        "not significantly more than +0.00"
    }
    assert _failures(_gaining(1.7, 1.0, is_first=True), **thresholds) == {}


def test_what_the_champion_rule_shows():
    (rule,) = (r for r in decide(measured(), GateConfig(tolerance=0.3)) if r.name == "champion")
    assert (rule.candidate, rule.champion) == (-100.0, -102.0)
    assert (rule.difference, rule.standard_error) == (2.0, 0.1)
    assert (rule.threshold, rule.asked) == (-0.3, "≥ -0.30")


def test_one_label_that_loses_blocks_and_is_named():
    by_label = {label: of_label() for label in range(10)} | {7: of_label(gain=-6.0, error=0.1)}
    assert _failures(measured(by_label=by_label)) == {
        "labels": "elbo differs from the champion's by a significant loss of more than 5 for label "
        "7 (-6.00 ± 0.10)"
    }
    assert _failures(measured(by_label=by_label), label_tolerance=6.0) == {}


def test_one_label_below_its_floor_blocks_and_is_named():
    by_label = {label: of_label() for label in range(3)}
    by_label[1] = of_label(elbo=-160.0, elbo_error=2.0)
    by_label[2] = of_label(elbo=-149.0, elbo_error=2.0)
    assert _failures(measured(by_label=by_label), label_floor=-145.0) == {
        "label floor": "the ELBO of label 1 (-160.00 ± 2.00) is below the floor of -145.00"
    }
    # Without one, the floor is that of a fair coin.
    assert _failures(measured(by_label=by_label)) == {}
    by_label[0] = of_label(elbo=-800.0)
    assert list(_failures(measured(by_label=by_label))) == ["label floor"]


@pytest.mark.parametrize("labels", [1, 2, 10, 1000])
def test_many_labels_share_what_is_left_to_chance(labels):
    quantile = NormalDist().inv_cdf(1 - 0.05 / labels)
    for excess, passes in ((-1e-6, True), (1e-6, False)):
        by_label = {label: of_label() for label in range(labels)}
        by_label[0] = of_label(gain=-10.0 * quantile - excess, error=10.0)
        assert ("labels" not in _failures(measured(by_label=by_label))) == passes
        by_label[0] = of_label(elbo=-110.0 - quantile - excess, elbo_error=1.0)
        given = _failures(measured(by_label=by_label), label_floor=-110.0)
        assert ("label floor" not in given) == passes


@pytest.mark.parametrize("number", ["gain", "error"])
def test_a_label_without_a_number_blocks(number):
    by_label = {4: of_label(), 5: of_label(**{number: math.nan})}
    given = _failures(measured(by_label=by_label))
    assert list(given) == ["labels"]
    assert "label 5 (" in given["labels"]


def test_a_label_with_an_infinite_loss_is_the_one_that_is_shown():
    by_label = {4: of_label(), 5: of_label(elbo=math.nan, elbo_error=math.nan)}
    rules = {rule.name: rule for rule in decide(measured(by_label=by_label), GateConfig())}
    assert not rules["label floor"].passed
    assert math.isnan(rules["label floor"].candidate)
    by_label = {4: of_label(), 5: of_label(gain=-1.0), 6: of_label(gain=-0.5)}
    rules = {rule.name: rule for rule in decide(measured(by_label=by_label), GateConfig())}
    assert rules["labels"].difference == -1.0


@pytest.mark.parametrize(
    ("label", "count", "asked"),
    [(3, 2.0, True), (3, 1.0, False), (-1, 500.0, False), (0, 2.0, True)],
)
def test_labels_of_one_image_and_images_without_a_label_are_skipped(label, count, asked):
    bad = of_label(gain=-50.0, error=0.1, elbo=-9e9, count=count)
    given = _failures(measured(by_label={label: bad, 9: of_label()}))
    assert list(given) == (["label floor", "labels"] if asked else [])


def test_no_labels_are_no_rule():
    names = [rule.name for rule in decide(measured(by_label={-1: of_label()}), GateConfig())]
    assert "champion" in names
    assert not {"labels", "label floor"} & set(names)
