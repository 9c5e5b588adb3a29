import io
import math

import pytest
from rich.console import Console

from components.elbo_evaluator.measurements import Comparison
from components.elbo_evaluator.results import GateResult
from components.elbo_evaluator.rules import Rule
from pipelines.local_runner import Step
from pipelines.summary import Outcome, print_summary

_STEPS = [Step("Trainer", 7.25, False), Step("ElboEvaluator", 0.0, True)]


def _scores(elbo, rate=12.0):
    return {"elbo": elbo, "elbo_standard_error": 1.5, "rate": rate, "distortion": 88.0}


def _lines(
    candidate,
    bits_over=None,
    pushed_path=None,
    reason="",
    failures=(),
    diagnosis=(),
    bless_anyway="",
):
    """What is printed, line by line, for a champion of -200 nats."""
    gain = {
        "example_count": 1_234.0,
        "elbo_gain": candidate["elbo"] + 200.0,
        "elbo_gain_standard_error": 0.5,
    }
    outcome = Outcome(
        gate=GateResult(
            blessed=bool(pushed_path),
            bless_anyway=bless_anyway,
            rules=tuple(Rule("floor", "it is high enough", False, text) for text in failures),
            diagnosis=tuple(diagnosis),
            champion_name="registered champion, version 1",
            overall=Comparison({**candidate, **gain}, _scores(-200.0, 0.0)),
            by_label={},
            samples={},
        ),
        champion="registered champion, version 1",
        bits_over=bits_over,
        pushed_path=pushed_path,
        reason=reason,
        num_undecodable=0,
        dead_letters="dead",
        report="report/index.html",
    )
    file = io.StringIO()
    print_summary(Console(file=file, width=80), _STEPS, outcome, "28x28x1, none")
    return [line.rstrip() for line in file.getvalue().splitlines()]


def test_scores_and_verdict():
    lines = _lines(_scores(-100.0), pushed_path="serving/decoder/2")
    assert "candidate                                  -100.00 ± 1.50  12.00       88.00" in lines
    assert "champion (registered champion, version 1)  -200.00 ± 1.50   0.00       88.00" in lines
    assert "difference                                 +100.00 ± 0.50" in lines
    assert "on 1,234 test images, 28x28x1, none" in lines
    assert "Blessed: every rule of the gate holds." in lines
    assert not any("bits" in line or "bound" in line for line in lines)


def test_the_bound_and_how_many_images_it_is_of():
    bound = {
        "importance_weighted_bound": -97.25,
        "importance_weighted_bound_standard_error": 1.25,
        "importance_weighted_count": 1_000.0,
    }
    lines = _lines({**_scores(-100.0), **bound}, pushed_path="serving/decoder/2")
    assert "importance-weighted bound: -97.25 ± 1.25 on 1,000 of them" in lines


_FAILURES = ("elbo is -100.00, below its floor of -50.00", "its samples hardly show class 3")
_DIAGNOSIS = ("KL counted twice: it is.", "Over-regularised: a rate of 2.0 nats.")


def test_a_diagnosis_follows_what_was_not_blessed():
    reason = "; ".join(_FAILURES)
    lines = _lines(_scores(-100.0), reason=reason, failures=_FAILURES, diagnosis=_DIAGNOSIS)
    start = lines.index(f"Not blessed: {reason}.")
    assert lines[start + 1 : start + 4] == [
        "Probably: KL counted twice: it is.",
        "Probably: Over-regularised: a rate of 2.0 nats.",
        "Nothing was pushed; what was served before is served still.",
    ]


@pytest.mark.parametrize("reason", ["for the demo", "on Monday " * 12 + "[/] [bold]here[/bold]"])
def test_blessed_anyway_is_said_with_its_reason_and_what_failed(reason):
    lines = _lines(
        _scores(-100.0),
        pushed_path="serving/decoder/2",
        failures=_FAILURES,
        diagnosis=_DIAGNOSIS,
        bless_anyway=reason,
    )
    start = lines.index(f"Blessed anyway: {reason}")
    assert lines[start + 1 : start + 4] == [
        *(f"  although {failure}" for failure in _FAILURES),
        "Decoder:  serving/decoder/2",
    ]
    assert not any("every rule" in line for line in lines)


def test_bits_per_dimension_of_levels():
    lines = _lines(_scores(-20 * 3.5 * math.log(2)), bits_over=20)
    theirs = 200 / 20 / math.log(2)
    assert f"bits per dimension: candidate 3.50, champion {theirs:.2f}" in lines


def test_an_autoencoder_is_not_blessed_in_words():
    lines = _lines(
        {"elbo": math.nan, "elbo_standard_error": math.nan, "rate": math.inf, "distortion": 88.0},
        reason="there is no ELBO",
    )
    candidate = next(line for line in lines if line.startswith("candidate"))
    assert candidate.split()[1:] == ["NaN", "±", "NaN", "∞", "88.00"]
    assert "Not blessed: there is no ELBO." in lines
    assert "Nothing was pushed; what was served before is served still." in lines
