import math

import numpy as np
import pytest

from components.elbo_evaluator.rules import Rule
from components.model_report.numbers import (
    bits_per_dimension,
    difference,
    latent_usage,
    nats,
    rule_cells,
    score,
    verdict,
)
from components.model_report.pictures import tiles
from components.model_report.probes import slerp
from tests.components.model_report.page_reader import decode


def test_latent_usage():
    mean = np.array([[1.0, 0.0], [-1.0, 0.0]], np.float32)
    variance = np.array([[0.5, 1.0], [0.5, 1.0]], np.float32)
    usage = latent_usage(mean, variance)
    assert usage.rates == pytest.approx([0.5 * (1.0 + 0.5 - 1.0 - math.log(0.5)), 0.0])
    assert usage.active.tolist() == [True, False]
    assert usage.num_images == 2


def test_latent_usage_of_a_collapsed_variance_is_infinite():
    assert latent_usage(np.zeros((2, 1)), np.zeros((2, 1))).rates.tolist() == [math.inf]


@pytest.mark.parametrize(
    ("value", "sign", "text"),
    [
        (None, "", "missing"),
        (math.nan, "+", "NaN"),
        (-math.inf, "", "-∞"),
        (-1.005e2, "", "-100.50"),
        (2.0, "+", "+2.00"),
    ],
)
def test_nats(value, sign, text):
    assert nats(value, sign) == text


def test_score():
    assert score({"elbo": -1.0, "elbo_standard_error": 0.25}, "elbo") == "-1.00 ± 0.25"


def test_difference():
    values = {"elbo_gain": 0.5, "elbo_gain_standard_error": 0.25}
    assert difference(values) == "+0.50 ± 0.25"
    assert difference({}) == "missing ± missing"


@pytest.mark.parametrize(
    ("fields", "cells"),
    [
        ({}, ("", "", "", "")),
        ({"asked": "≥ 1,000", "candidate": 10_000}, ("≥ 1,000", "10,000", "", "")),
        ({"candidate": 0}, ("", "0", "", "")),
        ({"candidate": -100.25, "standard_error": 1.5}, ("", "-100.25 ± 1.50", "", "")),
        # A count is a whole number by its type alone.
        ({"candidate": 200.0, "champion": 300.0}, ("", "200.00", "300.00", "")),
        (
            {"candidate": -1.0, "champion": -101.0, "difference": 100.0, "standard_error": 2.0},
            ("", "-1.00", "-101.00", "+100.00 ± 2.00"),
        ),
        ({"difference": -0.5, "standard_error": 0.1}, ("", "", "", "-0.50 ± 0.10")),
        (
            {"candidate": math.nan, "difference": math.nan, "standard_error": math.inf},
            ("", "NaN", "", "NaN ± ∞"),
        ),
    ],
)
def test_rule_cells(fields, cells):
    assert rule_cells(Rule("floor", "it is high enough", True, **fields)) == cells


@pytest.mark.parametrize(
    ("passed", "message", "expected"),
    [
        (True, "", "holds"),
        (True, "not asked: its loss was not that of a KL weight", "not asked"),
        (False, "elbo is too low", "fails"),
        (False, "", "fails"),
    ],
)
def test_verdict(passed, message, expected):
    assert verdict(Rule("floor", "it is high enough", passed, message)) == expected


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"elbo": -8 * 784 * math.log(2)}, "8.00"),
        ({"elbo": -784.0}, "1.44"),
        ({"elbo": math.nan}, "NaN"),
        ({}, "missing"),
    ],
)
def test_bits_per_dimension(values, text):
    assert bits_per_dimension(values, num_pixels=784) == text


def test_slerp_keeps_the_ends_and_the_norm():
    start, end = np.array([2.0, 0.0]), np.array([0.0, 2.0])
    path = slerp(start, end, 5)
    assert path[0] == pytest.approx(start)
    assert path[-1] == pytest.approx(end)
    assert np.linalg.norm(path, axis=1) == pytest.approx(np.full(5, 2.0))


@pytest.mark.parametrize("end", [[0.0, 0.0], [2.0, 0.0], [-1.0, 0.0]])
def test_slerp_without_a_great_circle_is_a_line(end):
    path = slerp(np.array([1.0, 0.0]), np.array(end), 3)
    assert path[1] == pytest.approx([(1.0 + end[0]) / 2, 0.0])


def test_slerp_of_nan_is_nan():
    assert np.isnan(slerp(np.array([np.nan, 0.0]), np.array([1.0, 0.0]), 3)).any()


def test_tiles():
    images = np.zeros((3, 2, 4, 1), np.float32)
    images[2, 0, 3] = 1.0
    picture = tiles(images, columns=2, alt="three", max_width=30)
    pixels = decode(picture.src)
    assert pixels.shape == (5, 9)
    assert (picture.width, picture.height) == (27, 15)
    # Row by row: the third image is at the left of the second row.
    assert np.argwhere(pixels == 255).tolist() == [[3, 3]]
