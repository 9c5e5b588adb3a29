import dataclasses
import json
import math

import numpy as np
import pytest

from components.elbo_evaluator.config import GateConfig
from components.elbo_evaluator.measurements import Comparison
from components.elbo_evaluator.results import gate_json, read_gate_result
from components.elbo_evaluator.rules import decide
from components.errors import InputError
from tests.components.elbo_evaluator.made_up import measured, of_label, samples

_GATE = GateConfig(floor=-110.5)


def _strictly(text):
    """Parses JSON as other languages do, which know no NaN."""

    def refuse(constant):
        raise ValueError(f"{constant} is no JSON")

    return json.loads(text, parse_constant=refuse)


def _written(measurements, folder, reason="", diagnosis=()):
    rules = decide(measurements, _GATE)
    text = gate_json(measurements, rules, diagnosis, _GATE, reason)
    (folder / "gate.json").write_text(text)
    return _strictly(text), read_gate_result(str(folder)), rules


def test_everything_is_read_back(tmp_path):
    rates = np.array([1.0, 0.25])
    measurements = measured({"rate_per_dimension": rates}, by_label={7: of_label(), 10: of_label()})
    document, result, rules = _written(measurements, tmp_path, diagnosis=("One.", "Two."))
    assert (result.blessed, result.bless_anyway) == (True, "")
    assert result.rules == rules
    assert result.failures == ()
    assert result.diagnosis == ("One.", "Two.")
    assert result.champion_name == "registered champion, version 3"
    assert result.num_examples == 1000
    assert result.candidate == {**measurements.overall.candidate, "rate_per_dimension": [1.0, 0.25]}
    assert result.champion == measurements.overall.champion
    assert result.by_label == measurements.by_label
    assert result.samples["frechet_ratio"] == pytest.approx(0.1)
    assert result.samples["coverage"] == 0.85
    assert GateConfig(**document["gate"]) == _GATE
    assert document["training"] == measurements.training
    assert document["training_images"]["coverage"] == 0.97
    assert document["test_images"] == "28x28x1, threshold 0.5"
    assert document["passed"] is True


def test_what_is_not_finite_is_valid_json_and_read_back(tmp_path):
    numbers = {
        "elbo": math.nan,
        "elbo_gain": -math.inf,
        "rate_per_dimension": np.array([math.inf, math.nan, 1.0], np.float32),
        "example_count": np.float64(1000),
    }
    quality = samples(frechet=math.nan, missing_classes=(np.int64(3),))
    document, result, rules = _written(measured(numbers, samples=quality), tmp_path)
    assert document["overall"]["candidate"]["elbo"] == "NaN"
    assert document["overall"]["candidate"]["elbo_gain"] == "-Infinity"
    assert math.isnan(result.candidate["elbo"])
    assert result.candidate["elbo_gain"] == -math.inf
    assert result.candidate["rate_per_dimension"][0] == math.inf
    assert math.isnan(result.candidate["rate_per_dimension"][1])
    assert math.isnan(result.samples["frechet_ratio"])
    assert result.samples["missing_classes"] == [3]
    assert result.failures == tuple(rule.message for rule in rules if not rule.passed)
    assert len(result.failures) == 4
    assert not result.blessed


def test_nothing_that_could_be_measured_is_still_a_verdict(tmp_path):
    measurements = measured(
        overall=Comparison(), by_label={}, samples=None, unit=None, complaints=("it is no model",)
    )
    _, result, _ = _written(measurements, tmp_path)
    assert (result.blessed, result.num_examples) == (False, 0)
    assert (result.candidate, result.champion, result.by_label, result.samples) == ({}, {}, {}, {})
    assert result.failures == ("it is no model",)


def test_a_reason_blesses_and_does_not_hide_that_rules_failed(tmp_path):
    document, result, _ = _written(measured({"elbo": -500.0}), tmp_path, "a demonstration")
    assert (document["passed"], document["blessed"]) == (False, True)
    assert (result.blessed, result.bless_anyway) == (True, "a demonstration")
    assert result.failures == ("elbo is -500.00, below its floor of -110.50",)


def test_a_reason_changes_nothing_where_rules_hold(tmp_path):
    document, result, _ = _written(measured(), tmp_path, "to be sure")
    assert (document["passed"], document["blessed"]) == (True, True)
    assert result.failures == ()


def test_a_folder_without_a_verdict(tmp_path):
    with pytest.raises(InputError, match=r"has no gate.json; give the ElboEvaluator's output"):
        read_gate_result(str(tmp_path))


def test_a_rule_has_a_threshold_for_every_number_that_decides():
    rules = decide(measured(), GateConfig())
    numbers = [rule for rule in rules if rule.candidate is not None]
    assert len(numbers) == 11
    assert all(rule.threshold is not None and rule.asked for rule in numbers)
    assert all(dataclasses.asdict(rule)["asks"] for rule in rules)
