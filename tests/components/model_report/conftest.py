"""A judged model: the gate's outputs for the tests' small trained model, by different gates."""

import dataclasses
from pathlib import Path

import pytest


@dataclasses.dataclass(frozen=True)
class Judged:
    champion: object
    evaluation: object
    blessing: object


@pytest.fixture(scope="session")
def champion(ready_digits, tmp_path_factory):
    from tfx.types import standard_artifacts

    from components.champion_resolver.executor import resolve_champion
    from components.champion_resolver.registry import ChampionRegistry

    folder = tmp_path_factory.mktemp("champion")
    artifact = standard_artifacts.Model()
    artifact.uri = str(folder / "1")
    resolved = resolve_champion(
        ChampionRegistry(str(folder / "registry")),
        str(folder / "serving"),
        ready_digits.uri,
        f"{artifact.uri}/Format-Serving",
        "bernoulli",
        1.0,
    )
    artifact.set_string_custom_property("kind", resolved.kind)
    artifact.set_int_custom_property("version", resolved.version)
    return artifact


@pytest.fixture(scope="session")
def judge(ready_digits, trained, champion, tmp_path_factory):
    """Runs ElboEvaluator's executor with a gate."""
    from tfx.types import channel_utils, standard_artifacts

    from components.elbo_evaluator import ElboEvaluator
    from components.elbo_evaluator.executor import Executor

    def run(gate, bless_anyway=""):
        folder = Path(tmp_path_factory.mktemp("judged"))
        evaluation = standard_artifacts.ModelEvaluation()
        blessing = standard_artifacts.ModelBlessing()
        evaluation.uri, blessing.uri = str(folder / "evaluation"), str(folder / "blessing")
        inputs = {"examples": [ready_digits], "model": [trained[0]], "champion": [champion]}
        component = ElboEvaluator(
            **{name: channel_utils.as_channel(value) for name, value in inputs.items()},
            gate=gate,
            bless_anyway=bless_anyway,
        )
        Executor().Do(
            inputs,
            {"evaluation": [evaluation], "blessing": [blessing]},
            dict(component.exec_properties),
        )
        return Judged(champion, evaluation, blessing)

    return run


@pytest.fixture(scope="session")
def blessed(judge):
    from components.elbo_evaluator import GateConfig

    # Four epochs on 400 images: the samples do not look like digits yet.
    return judge(GateConfig(max_frechet_ratio=None, min_coverage=None, max_missing_classes=10))


@pytest.fixture(scope="session")
def refused(judge):
    from components.elbo_evaluator import GateConfig

    return judge(GateConfig(floor=-1.0, min_examples=101))


@pytest.fixture(scope="session")
def blessed_anyway(judge):
    from components.elbo_evaluator import GateConfig

    return judge(GateConfig(floor=-1.0), bless_anyway="for the demo on <Monday>")
