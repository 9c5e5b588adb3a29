"""What `tfx-vae run` asks of the gate, and a champion that no model could be compared with."""

import dataclasses
import json

import pytest
from click.testing import CliRunner

from components.champion_resolver.registry import ChampionRegistry
from components.errors import InputError
from components.tfds_example_gen import DataSource
from pipelines import run as run_module
from pipelines.cli import main
from pipelines.judging import Judging
from pipelines.pipeline import create_pipeline
from pipelines.places import Places
from pipelines.recipe import load_recipe


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    """Where TFDS keeps the digits that these tests prepare once."""
    return tmp_path_factory.mktemp("tfds")


@pytest.fixture
def root(tmp_path):
    return tmp_path / "root"


@pytest.fixture
def run(data_dir, root, monkeypatch):
    """Runs `tfx-vae run` up to where the first step would start; gives the steps by node id."""

    def start(*options):
        pipelines = []

        def stop(pipeline, console, verbose):
            pipelines.append(pipeline)
            raise InputError("stopped before the first step")

        monkeypatch.setattr(run_module, "run_steps", stop)
        command = ["run", "--recipe", "digits", "--data-dir", data_dir, "--pipeline-root", root]
        result = CliRunner().invoke(main, [str(word) for word in (*command, *options)])
        assert result.exit_code == 1
        assert "Traceback" not in result.output
        if not pipelines:
            return result.output
        assert "stopped before the first step" in result.output
        return {step.id: step.exec_properties for step in pipelines[0].components}

    return start


def gate_of(steps):
    return json.loads(steps["ElboEvaluator"]["gate"])


def test_an_ordinary_run_leaves_it_to_recipe_and_rules(run, root):
    steps = run()
    assert gate_of(steps) == load_recipe("digits").to_dict()["gate"]
    assert steps["ElboEvaluator"]["bless_anyway"] == ""
    assert steps["ChampionResolver"]["new_line"] == 0
    assert steps["ChampionResolver"]["serving_dir"] == f"{root}/serving/decoder"
    assert steps["ChampionResolver"]["serving_dir"] == steps["DecoderPusher"]["serving_dir"]
    assert steps["ChampionResolver"]["registry"] == steps["DecoderPusher"]["registry"]


def test_the_options_reach_the_pipeline(run):
    steps = run(
        *("--comparison", "better", "--min-improvement", "0.25", "--new-line"),
        *("--full-iw", "5000", "--bless-anyway", "  for the [demo] "),
    )
    expected = {
        "comparison": "better",
        "min_improvement": 0.25,
        "importance_samples": 5000,
        "importance_images": None,
    }
    assert gate_of(steps) == load_recipe("digits").to_dict()["gate"] | expected
    assert steps["ElboEvaluator"]["bless_anyway"] == "for the [demo]"
    assert steps["ChampionResolver"]["new_line"] == 1
    # The recipe as the model card and the report have it.
    for step, key in (("DecoderPusher", "card"), ("ModelReport", "recipe")):
        assert json.loads(steps[step][key])["gate"] == gate_of(steps)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--comparison", "best"), "Unknown comparison 'best'; choose one of no_worse, better, si"),
        (("--min-improvement", "1"), "min_improvement asks for a gain, but the comparison no_wor"),
        (("--full-iw", "0"), "importance_samples must be at least 1, not 0"),
    ],
)
def test_options_that_make_no_sense_are_refused(run, root, options, message):
    output = run(*options)
    assert message in output
    assert len(output.strip().splitlines()) == 1
    assert not root.exists()


@pytest.mark.parametrize(
    "changes",
    [
        {"likelihood": "gaussian", "binarization": "none"},
        {"dataset": "fashion_mnist"},
        {"height": 32},
        {"likelihood": "bernoulli", "binarization": "dynamic"},
    ],
)
def test_a_champion_that_cannot_be_compared_stops_before_anything_is_trained(
    run, root, tmp_path, changes
):
    _register(root, tmp_path, **changes)
    output = run()
    last = output.strip().splitlines()[-1]
    assert last.startswith("Error: Nothing was trained: the champion is a model of ")
    assert "but this is one of digits, 28x28x1, threshold 0.5, likelihood bernoulli" in last
    assert "start a new line of champions with --new-line" in last
    assert not (root / "artifacts").exists()
    steps = run("--new-line")
    assert steps["ChampionResolver"]["new_line"] == 1
    # Another serving name is another line.
    assert run("--serving-name", "other")["ChampionResolver"]["new_line"] == 0


@pytest.mark.parametrize("changes", [{}, {"dataset": None}, {"likelihood": None}])
def test_a_champion_of_the_same_kind_or_an_old_card_stops_nothing(run, root, tmp_path, changes):
    _register(root, tmp_path, **changes)
    assert "ElboEvaluator" in run()


def test_the_three_gaussians_can_be_compared(run, root, tmp_path):
    _register(root, tmp_path, binarization="none", likelihood="gaussian_learned_scale")
    grey = ("--binarization", "none", "--likelihood")
    assert "ElboEvaluator" in run(*grey, "gaussian")
    assert "Nothing was trained" in run(*grey, "continuous_bernoulli")


def test_a_damaged_champion_stops_before_anything_is_trained(run, root, tmp_path):
    _register(root, tmp_path)
    (root / "champions" / "decoder" / "1" / "champion.json").write_text("{")
    assert "champions/decoder/1 is damaged" in run()


def test_a_pipeline_of_its_own_is_judged_by_its_recipe(data_dir, tmp_path):
    recipe = load_recipe("digits")
    source = DataSource("digits", data_dir=str(data_dir))
    for judging in (None, Judging(), Judging(new_line=True, bless_anyway="for the demo")):
        pipeline = create_pipeline(
            recipe, source, Places.under(str(tmp_path), "decoder"), judging=judging
        )
        steps = {step.id: step.exec_properties for step in pipeline.components}
        asked = judging or Judging()
        assert steps["ChampionResolver"]["new_line"] == int(asked.new_line)
        assert steps["ElboEvaluator"]["bless_anyway"] == asked.bless_anyway
        assert gate_of(steps) == dataclasses.asdict(recipe.gate)


def _register(
    root,
    tmp_path,
    dataset="digits",
    likelihood="bernoulli",
    binarization="threshold",
    height=28,
):
    """A champion of this kind; a card that does not say has None."""
    model = tmp_path / "model"
    model.mkdir()
    (model / "saved_model.pb").write_text("model")
    recipe = load_recipe("digits").to_dict()
    image_format = recipe["image_format"] | {"binarization": binarization, "height": height}
    card = {"image_format": image_format}
    if likelihood:
        card["training"] = {"likelihood": likelihood}
    if dataset:
        card["dataset"] = {"name": dataset, "version": "1.0.0", "kind": "TFDS name"}
    ChampionRegistry(str(root / "champions" / "decoder")).register(1, str(model), card)
