"""The gate's verdict as a file, `gate.json`: written by the Evaluator, read by everything else."""

import dataclasses
import json
import math
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from components.elbo_evaluator.config import GateConfig
from components.elbo_evaluator.measurements import Comparison, Measurements
from components.elbo_evaluator.rules import Rule
from components.elbo_evaluator.sample_quality import SampleQuality
from components.elbo_evaluator.statistics import Number
from components.errors import InputError

GATE_FILE = "gate.json"
# JSON has no numbers for these.
_NOT_NUMBERS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


@dataclasses.dataclass(frozen=True)
class GateResult:
    """The numbers and the verdict.

    Attributes:
      blessed: Whether the model may be pushed.
      bless_anyway: The reason that somebody gave for blessing it whatever the rules say.
      rules: Every rule that was asked.
      diagnosis: What is probably wrong, a sentence each.
      champion_name: What the champion is, in words.
      overall: Numbers of both models; nats per image.
      by_label: The same for the images of each label.
      samples: Numbers about samples from the prior; empty if there are none.
    """

    blessed: bool
    bless_anyway: str
    rules: tuple[Rule, ...]
    diagnosis: tuple[str, ...]
    champion_name: str
    overall: Comparison
    by_label: Mapping[int, Comparison]
    samples: Mapping[str, Any]

    @property
    def num_examples(self) -> int:
        """Scored images."""
        return int(self.candidate.get("example_count", 0))

    @property
    def candidate(self) -> Mapping[str, Number]:
        """The candidate's numbers."""
        return self.overall.candidate

    @property
    def champion(self) -> Mapping[str, Number]:
        """The champion's numbers."""
        return self.overall.champion

    @property
    def failures(self) -> tuple[str, ...]:
        """Why each rule that does not hold does not."""
        return tuple(rule.message for rule in self.rules if not rule.passed)


def gate_json(
    measured: Measurements,
    rules: tuple[Rule, ...],
    diagnosis: tuple[str, ...],
    gate: GateConfig,
    bless_anyway: str,
) -> str:
    """The text of `gate.json`.

    Args:
      measured: What was found out.
      rules: The verdict on each rule.
      diagnosis: What is probably wrong.
      gate: The thresholds.
      bless_anyway: A reason to bless the model whatever the rules say; empty for none.
    """
    passed = all(rule.passed for rule in rules)
    document = {
        "blessed": passed or bool(bless_anyway),
        "passed": passed,
        "bless_anyway": bless_anyway,
        "rules": [dataclasses.asdict(rule) for rule in rules],
        "diagnosis": list(diagnosis),
        "champion": measured.champion,
        "test_images": str(measured.image_format),
        "overall": dataclasses.asdict(measured.overall),
        "by_label": {
            str(label): dataclasses.asdict(compared)
            for label, compared in sorted(measured.by_label.items())
        },
        "samples": _sample_numbers(measured.samples),
        "training_images": _sample_numbers(measured.training_images),
        "gate": dataclasses.asdict(gate),
        "training": dict(measured.training),
    }
    return json.dumps(_to_plain(document), indent=2, allow_nan=False) + "\n"


def read_gate_result(evaluation_uri: str) -> GateResult:
    """Reads the verdict of an `evaluation` artifact.

    Args:
      evaluation_uri: The artifact's folder.

    Raises:
      InputError: If it has no `gate.json`.
    """
    from tfx.dsl.io import fileio

    path = os.path.join(evaluation_uri, GATE_FILE)
    if not fileio.exists(path):
        raise InputError(f"{evaluation_uri} has no {GATE_FILE}; give the ElboEvaluator's output.")
    with fileio.open(path, "r") as file:
        stored = json.loads(file.read())
    document = _from_plain(stored)
    return GateResult(
        blessed=document["blessed"],
        bless_anyway=stored["bless_anyway"],
        rules=tuple(Rule(**rule) for rule in document["rules"]),
        diagnosis=tuple(document["diagnosis"]),
        champion_name=document["champion"],
        overall=Comparison(**document["overall"]),
        by_label={
            int(label): Comparison(**compared) for label, compared in document["by_label"].items()
        },
        samples=document["samples"],
    )


def _sample_numbers(samples: SampleQuality | None) -> dict[str, Any]:
    if samples is None:
        return {}
    return {**dataclasses.asdict(samples), "frechet_ratio": samples.frechet_ratio}


def _to_plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _to_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_to_plain(item) for item in value]
    if isinstance(value, np.ndarray | np.generic):
        return _to_plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return json.dumps(value)
    return value


def _from_plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _from_plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_from_plain(item) for item in value]
    return _NOT_NUMBERS.get(value, value) if isinstance(value, str) else value
