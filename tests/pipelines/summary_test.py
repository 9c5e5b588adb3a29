import io
import math

from rich.console import Console

from components.elbo_evaluator.results import GateResult
from pipelines.local_runner import Step
from pipelines.summary import Outcome, print_summary

_STEPS = [Step("Trainer", 7.25, False), Step("Evaluator", 0.0, True)]


def _scores(elbo, rate=12.0):
    return {"elbo": elbo, "elbo_standard_error": 1.5, "rate": rate, "distortion": 88.0}


def _lines(candidate, bits_over=None, pushed_path=None, reason=""):
    """What is printed, line by line, for a champion of -200 nats."""
    difference = {"elbo": candidate["elbo"] + 200.0, "elbo_paired_standard_error": 0.5}
    outcome = Outcome(
        gate=GateResult(
            1_234, candidate, _scores(-200.0, 0.0), difference, {}, bool(pushed_path), ()
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
    assert "Blessed: every threshold of the gate holds." in lines
    assert not any("bits" in line for line in lines)


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
