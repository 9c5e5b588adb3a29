"""A judged model: Evaluator outputs of the tests' small trained model, blessed and not."""

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
    registry = ChampionRegistry(str(folder / "registry"))
    kind, version = resolve_champion(
        registry, ready_digits.uri, f"{artifact.uri}/Format-Serving", "bernoulli", 1.0
    )
    artifact.set_string_custom_property("kind", kind)
    artifact.set_int_custom_property("version", version)
    return artifact


@pytest.fixture(scope="session")
def judge(ready_digits, trained, champion, tmp_path_factory):
    """Runs the stock Evaluator's executor with a gate."""
    from tfx.components.evaluator.executor import Executor
    from tfx.types import channel_utils, standard_artifacts

    from components.elbo_evaluator import elbo_evaluator

    def run(gate):
        folder = Path(tmp_path_factory.mktemp("judged"))
        evaluation = standard_artifacts.ModelEvaluation()
        blessing = standard_artifacts.ModelBlessing()
        evaluation.uri, blessing.uri = str(folder / "evaluation"), str(folder / "blessing")
        inputs = {"examples": [ready_digits], "model": [trained[0]], "baseline_model": [champion]}
        component = elbo_evaluator(
            examples=channel_utils.as_channel(inputs["examples"]),
            model=channel_utils.as_channel(inputs["model"]),
            champion=channel_utils.as_channel(inputs["baseline_model"]),
            gate=gate,
            num_pixels=28 * 28,
            likelihood="bernoulli",
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

    return judge(GateConfig(min_improvement=-10_000.0, min_examples=100))


@pytest.fixture(scope="session")
def refused(judge):
    from components.elbo_evaluator import GateConfig

    return judge(GateConfig(floor=-1.0, min_improvement=10_000.0, min_examples=101))
