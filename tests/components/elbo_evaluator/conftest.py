"""Fixtures of the gate's tests: the gate run as the pipeline runs it."""

import dataclasses
from pathlib import Path

import pytest

from components.elbo_evaluator.results import GateResult, read_gate_result

# Fewer costly scores than a pipeline wants; 100 digits are all that there are.
QUICK = {"importance_samples": 8, "importance_images": 60, "max_kl_weight_factor": None}


@dataclasses.dataclass(frozen=True)
class Judged:
    """What one run of the gate left behind."""

    evaluation: object
    blessing: object

    @property
    def result(self) -> GateResult:
        return read_gate_result(self.evaluation.uri)

    @property
    def failed(self) -> list[str]:
        """Names of the rules that do not hold."""
        return [rule.name for rule in self.result.rules if not rule.passed]

    @property
    def verdict(self) -> str:
        """The name of the one file of the blessing."""
        (file,) = Path(self.blessing.uri).iterdir()
        assert self.blessing.get_int_custom_property("blessed") == int(file.name == "BLESSED")
        return file.name


@pytest.fixture(scope="session")
def make_independent_pixels(ready_digits, tmp_path_factory):
    """Makes the champion of a first run, of any likelihood."""
    from tfx.types import standard_artifacts

    from components.champion_resolver.independent_pixels import IndependentPixels
    from components.image_binarizer.image_format import ImageFormat, read_pixel_moments

    def make(likelihood="bernoulli"):
        moments = read_pixel_moments(ready_digits.uri, "train")
        champion = standard_artifacts.Model()
        champion.uri, champion.id = str(tmp_path_factory.mktemp("independent_pixels")), 42
        IndependentPixels(
            moments, ImageFormat.read(ready_digits.uri), likelihood, gaussian_scale=0.3
        ).save(f"{champion.uri}/Format-Serving")
        champion.set_string_custom_property("kind", "independent pixels")
        return champion

    return make


@pytest.fixture(scope="session")
def independent_pixels(make_independent_pixels):
    return make_independent_pixels()


@pytest.fixture(scope="session")
def as_model(tmp_path_factory):
    """Makes a Model artifact; `write` gets the path of its SavedModel."""
    from tfx.types import standard_artifacts

    def make(write, number=7):
        artifact = standard_artifacts.Model()
        artifact.uri, artifact.id = str(tmp_path_factory.mktemp("model")), number
        write(Path(artifact.uri, "Format-Serving"))
        return artifact

    return make


@pytest.fixture(scope="session")
def judge(trained, ready_digits, independent_pixels, tmp_path_factory):
    """Runs ElboEvaluator's executor as the component wires it."""
    from tfx.dsl.components.base import base_beam_executor
    from tfx.types import channel_utils, standard_artifacts

    from components.elbo_evaluator import ElboEvaluator, GateConfig
    from components.elbo_evaluator.executor import Executor

    def run(
        model=None, champion=None, examples=None, bless_anyway="", beam_arguments=(), **thresholds
    ):
        inputs = {
            "examples": [examples or ready_digits],
            "model": [model or trained[0]],
            "champion": [champion or independent_pixels],
        }
        component = ElboEvaluator(
            **{name: channel_utils.as_channel(artifacts) for name, artifacts in inputs.items()},
            gate=GateConfig(**{**QUICK, **thresholds}),
            bless_anyway=bless_anyway,
        )
        folder = tmp_path_factory.mktemp("judged")
        evaluation = standard_artifacts.ModelEvaluation()
        blessing = standard_artifacts.ModelBlessing()
        evaluation.uri, blessing.uri = str(folder / "evaluation"), str(folder / "blessing")
        context = base_beam_executor.BaseBeamExecutor.Context(
            beam_pipeline_args=list(beam_arguments), tmp_dir=str(folder / "tmp")
        )
        Executor(context).Do(
            inputs,
            {"evaluation": [evaluation], "blessing": [blessing]},
            dict(component.exec_properties),
        )
        return Judged(evaluation, blessing)

    return run
