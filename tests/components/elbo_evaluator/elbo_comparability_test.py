import dataclasses

import pytest

from components.elbo_evaluator.comparability import ScoreUnit, incomparable
from tests.components.elbo_evaluator.made_up import FORMAT

_UNIT = ScoreUnit(FORMAT, "bernoulli", "mnist")
_GAUSSIANS = ("gaussian", "gaussian_learned_scale", "gaussian_analytic_scale")


@pytest.mark.parametrize(
    "other",
    [
        dataclasses.replace(FORMAT, threshold=0.25),
        dataclasses.replace(FORMAT, width=32),
        dataclasses.replace(FORMAT, binarization="dynamic"),
        dataclasses.replace(FORMAT, binarization="stochastic", seed=1),
    ],
)
def test_other_images_are_not_compared(other):
    champion = dataclasses.replace(_UNIT, image_format=other)
    assert incomparable(champion, _UNIT) == (
        f"the champion is a model of mnist, {other}, likelihood bernoulli, but this is one of "
        "mnist, 28x28x1, threshold 0.5, likelihood bernoulli, so their ELBOs cannot be compared; "
        "start a new line of champions with --new-line, or keep both with another --serving-name"
    )


@pytest.mark.parametrize(
    ("theirs", "ours", "comparable"),
    [
        ("mnist", "mnist", True),
        ("mnist", "fashion_mnist", False),
        ("", "mnist", True),
        ("mnist", "", True),
    ],
)
def test_another_data_set_is_not_compared(theirs, ours, comparable):
    reason = incomparable(
        dataclasses.replace(_UNIT, dataset=theirs), dataclasses.replace(_UNIT, dataset=ours)
    )
    assert (reason == "") == comparable


@pytest.mark.parametrize(
    ("theirs", "ours", "comparable"),
    [
        ("bernoulli", "bernoulli", True),
        ("bernoulli", "continuous_bernoulli", False),
        ("gaussian", "continuous_bernoulli", False),
        ("continuous_bernoulli", "gaussian_learned_scale", False),
        ("gaussian", "discretized_logistic", False),
        ("discretized_logistic", "discretized_logistic", True),
        *((theirs, ours, True) for theirs in _GAUSSIANS for ours in _GAUSSIANS),
    ],
)
def test_another_kind_of_likelihood_is_not_compared(theirs, ours, comparable):
    for one, other in ((theirs, ours), (ours, theirs)):
        reason = incomparable(
            dataclasses.replace(_UNIT, likelihood=one),
            dataclasses.replace(_UNIT, likelihood=other),
        )
        assert (reason == "") == comparable
