"""Whole pipelines, run in this process as `tfx-vae run` runs them."""

import dataclasses
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from pipelines.cli import main


@dataclasses.dataclass
class Run:
    """What a run printed, and the state that it gave each step."""

    output: str
    exit_code: int

    @property
    def steps(self) -> dict[str, str]:
        """Step to `cached` or its seconds, from the table at the end."""
        table = self.output.split("step ")[-1]
        return dict(re.findall(r"^([A-Z]\w+) +(cached|[\d.]+)$", table, re.MULTILINE))

    @property
    def cached(self) -> set[str]:
        """The steps that were not run again."""
        return {step for step, state in self.steps.items() if state == "cached"}


ALL_STEPS = {
    "TfdsExampleGen",
    "StatisticsGen",
    "ImportSchemaGen",
    "ExampleValidator",
    "ImageBinarizer",
    "Trainer",
    "ChampionResolver",
    "ElboEvaluator",
    "DecoderExporter",
    "ServingValidator",
    "DecoderPusher",
    "ModelReport",
}


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory) -> Path:
    """Where TFDS keeps prepared data sets in these tests."""
    return tmp_path_factory.mktemp("tfds")


@pytest.fixture(scope="session")
def tfx_vae_run(data_dir):
    """Runs `tfx-vae run` with a data folder of the tests' own."""

    def run(*arguments) -> Run:
        command = ["run", "--data-dir", data_dir, *arguments]
        result = CliRunner().invoke(main, [str(argument) for argument in command])
        return Run(result.output, result.exit_code)

    return run


QUICK = (
    *("--architecture", "dense", "--set", "training.hidden_units=400,400", "--latent-size", "4"),
    *("--epochs", "8", "--batch-size", "64", "--learning-rate", "0.002"),
)


@pytest.fixture(scope="session")
def digits_root(tmp_path_factory) -> Path:
    """The pipeline root that the runs on `digits` share."""
    return tmp_path_factory.mktemp("digits_root")


@pytest.fixture(scope="session")
def first_run(tfx_vae_run, digits_root) -> Run:
    """A first, small run on the digits."""
    return tfx_vae_run("--recipe", "digits", "--pipeline-root", digits_root, *QUICK)
