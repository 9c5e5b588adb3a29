"""The rules about samples from the prior."""

import math

import pytest

from components.elbo_evaluator.comparability import ScoreUnit
from components.elbo_evaluator.config import GateConfig
from components.elbo_evaluator.rules import decide
from components.image_binarizer.image_format import ImageFormat
from tests.components.elbo_evaluator.made_up import measured, samples

# Not the default, which is fitted to how good samples are.
_SAMPLES = {"max_frechet_ratio": 0.5, "min_coverage": 0.2}
_BAD = {"frechet": 99.0, "coverage": 0.0, "missing_classes": (1,)}
_GREY = ImageFormat(28, 28, 1, "none")


def _failures(measurements, **thresholds):
    """Messages of the rules that do not hold, by name."""
    rules = decide(measurements, GateConfig(**{**_SAMPLES, **thresholds}))
    return {rule.name: rule.message for rule in rules if not rule.passed}


@pytest.mark.parametrize(
    ("measurements", "thresholds", "name", "message"),
    [
        (
            measured(samples=samples(frechet=5.1)),
            {},
            "sample distance",
            "the Frechet distance of its samples from real images is 0.51 times that of "
            "independent pixels; at most 0.5 may be",
        ),
        (
            measured(samples=samples(coverage=0.19)),
            {},
            "sample coverage",
            "only 19% of the real images have a sample among their neighbours; 20% are asked for",
        ),
        (
            measured(samples=samples(missing_classes=(3, 8))),
            {"max_missing_classes": 1},
            "sample classes",
            "its samples hardly show class 3, 8",
        ),
        (
            measured(samples=None),
            {},
            "sample distance",
            "there are no samples from the prior with finite pixels to compare",
        ),
    ],
)
def test_each_rule_of_samples_fails_alone_with_its_reason(measurements, thresholds, name, message):
    assert _failures(measurements, **thresholds) == {name: message}


@pytest.mark.parametrize(
    ("measurements", "thresholds"),
    [
        (measured(samples=samples(frechet=5.0, coverage=0.2)), {}),
        (measured(samples=samples(missing_classes=(3,))), {"max_missing_classes": 1}),
        (
            measured(samples=samples(frechet=99.0, coverage=0.0)),
            {"max_frechet_ratio": None, "min_coverage": None},
        ),
    ],
)
def test_each_threshold_of_samples_itself_passes(measurements, thresholds):
    assert _failures(measurements, **thresholds) == {}


@pytest.mark.parametrize("number", ["frechet", "coverage"])
def test_nan_of_samples_holds_no_rule(number):
    name = {"frechet": "sample distance", "coverage": "sample coverage"}[number]
    assert list(_failures(measured(samples=samples(**{number: math.nan})))) == [name]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"samples": samples(num_images=149, **_BAD)}, "149 images are too few to tell"),
        (
            {"image_format": _GREY, "unit": ScoreUnit(_GREY, "gaussian"), "champion_unit": None},
            "means of grey images are blurred by right, and draws of them noisy",
        ),
        *(
            (
                {"training_images": samples(**ideal)},
                "the training images themselves are unlike the test images",
            )
            for ideal in ({"frechet": 5.1}, {"coverage": 0.19}, {"missing_classes": (4,)})
        ),
    ],
)
def test_samples_that_cannot_be_judged_are_not_asked_about(changes, reason):
    measurements = measured(**{"samples": samples(**_BAD), **changes})
    rules = decide(measurements, GateConfig(**_SAMPLES))
    assert [rule.name for rule in rules if rule.name.startswith("sample")] == ["sample distance"]
    assert (rules[-1].passed, rules[-1].message) == (True, f"not asked: {reason}")


def test_enough_samples_are_asked_about():
    enough = samples(num_images=150, frechet=99.0)
    assert list(_failures(measured(samples=enough))) == ["sample distance"]
