import dataclasses
import shutil
from pathlib import Path

import pytest
import tensorflow as tf
from tfx import types
from tfx.types import channel_utils, standard_artifacts

from components.champion_resolver import ChampionResolver
from components.champion_resolver.executor import (
    CHAMPION_SIGNATURES,
    Executor,
    describe_champion,
)
from components.champion_resolver.registry import ChampionRegistry
from components.elbo_evaluator.scored_model import ScoredModel
from components.errors import InputError
from components.image_binarizer.image_format import ImageFormat
from components.saved_models import model_fingerprint

_FORMAT = ImageFormat(28, 28, 1, "threshold")


@pytest.fixture
def registry(tmp_path):
    return ChampionRegistry(str(tmp_path / "champions"))


def _card(image_format=_FORMAT):
    return {"image_format": dataclasses.asdict(image_format)}


def _resolve(examples, model, registry, folder, **changes):
    """Runs the executor as the component wires it; gives the `champion` artifact."""
    properties = {
        "serving_dir": str(folder / "serving"),
        "likelihood": "bernoulli",
        "gaussian_scale": 0.25,
        **changes,
    }
    component = ChampionResolver(
        examples=channel_utils.as_channel([examples]),
        model=channel_utils.as_channel([model]),
        registry=registry.folder,
        **properties,
    )
    champion = standard_artifacts.Model()
    champion.uri = str(folder / "champion")
    Executor().Do(
        {"examples": [examples], "model": [model]},
        {"champion": [champion]},
        dict(component.exec_properties),
    )
    return champion


def _described(champion):
    """What the artifact says of itself, and how the gate words it."""
    kind = champion.get_string_custom_property("kind")
    version = champion.get_int_custom_property("version")
    return kind, version, describe_champion(kind, version)


def _files(folder):
    return {str(p.relative_to(folder)) for p in Path(folder).rglob("*") if p.is_file()}


def test_construction(monkeypatch):
    examples = types.Channel(type=standard_artifacts.Examples)
    model = types.Channel(type=standard_artifacts.Model)

    def construct(**changes):
        return ChampionResolver(
            examples=examples,
            model=model,
            registry="champions/decoder",
            serving_dir="serving/decoder",
            likelihood="gaussian",
            gaussian_scale=1,
            **changes,
        )

    component = construct()
    assert component.inputs["examples"] is examples
    assert component.inputs["model"] is model
    assert component.outputs["champion"].type_name == standard_artifacts.Model.TYPE_NAME
    assert component.exec_properties["registry"] == "champions/decoder"
    assert component.exec_properties["serving_dir"] == "serving/decoder"
    assert component.exec_properties["new_line"] == 0
    assert construct(new_line=True).exec_properties["new_line"] == 1
    assert component.exec_properties["likelihood"] == "gaussian"
    assert component.exec_properties["gaussian_scale"] == 1.0
    code = component.exec_properties["code_fingerprint"]
    assert len(code) == 16
    monkeypatch.setattr(
        "components.champion_resolver.component.code_fingerprint", lambda *names: ",".join(names)
    )
    # The likelihoods are the trainer's code, but decide what this component writes.
    code = construct().exec_properties["code_fingerprint"].split(",")
    assert {"components.champion_resolver", "components.trainer.vae.likelihoods"} <= set(code)


def test_the_first_run_has_the_independent_pixels_to_beat(
    ready_digits, trained, registry, tmp_path
):
    champion = _resolve(ready_digits, trained[0], registry, tmp_path)
    assert _described(champion) == ("independent pixels", 0, "independent pixels")
    assert champion.get_string_custom_property("likelihood") == "bernoulli"
    assert champion.get_string_custom_property("dataset") == ""
    loaded = tf.saved_model.load(f"{champion.uri}/Format-Serving")
    assert set(CHAMPION_SIGNATURES) <= set(loaded.signatures)
    assert not Path(registry.folder).exists()


def test_the_independent_pixels_have_the_likelihood_of_the_candidate(
    ready_digits, trained, registry, tmp_path
):
    champion = _resolve(
        ready_digits, trained[0], registry, tmp_path, likelihood="continuous_bernoulli"
    )
    assert champion.get_string_custom_property("likelihood") == "continuous_bernoulli"
    model = ScoredModel(f"{champion.uri}/Format-Serving")
    assert model.training["likelihood"] == "continuous_bernoulli"
    assert model.image_format == _FORMAT


def test_later_runs_have_the_newest_champion_to_beat(ready_digits, trained, registry, tmp_path):
    model_path = f"{trained[0].uri}/Format-Serving"
    older = tmp_path / "older"
    shutil.copytree(model_path, older)
    (older / "assets").mkdir(exist_ok=True)
    (older / "assets" / "note.txt").write_text("another model")
    registry.register(9, str(older), _card())
    registry.register(10, model_path, _card())
    champion = _resolve(ready_digits, trained[0], registry, tmp_path)
    name = "registered champion, version 10"
    assert _described(champion) == ("registered champion", 10, name)
    resolved = f"{champion.uri}/Format-Serving"
    assert _files(resolved) == _files(model_path)
    assert model_fingerprint(resolved) == model_fingerprint(model_path)


@pytest.mark.parametrize(
    ("card", "likelihood", "dataset"),
    [
        # A card from before there were others does not name its likelihood.
        ({}, "bernoulli", ""),
        ({"training": {"likelihood": "gaussian"}}, "gaussian", ""),
        ({"dataset": {"name": "mnist"}}, "bernoulli", "mnist"),
        # Whether it can be compared is for the gate to say.
        (_card(dataclasses.replace(_FORMAT, threshold=0.25)), "bernoulli", ""),
    ],
)
def test_what_a_champion_is_of_is_handed_on(
    ready_digits, trained, registry, tmp_path, card, likelihood, dataset
):
    registry.register(5, f"{trained[0].uri}/Format-Serving", {**_card(), **card})
    champion = _resolve(ready_digits, trained[0], registry, tmp_path)
    assert champion.get_int_custom_property("version") == 5
    assert champion.get_string_custom_property("likelihood") == likelihood
    assert champion.get_string_custom_property("dataset") == dataset


def test_a_new_line_leaves_champions_aside_and_remembers_the_version(
    ready_digits, trained, registry, tmp_path
):
    for version in (3, 12):
        registry.register(version, f"{trained[0].uri}/Format-Serving", _card())
    # Not even looked at.
    Path(registry.folder, "12", "champion.json").write_text("{")
    champion = _resolve(ready_digits, trained[0], registry, tmp_path, new_line=True)
    name = "independent pixels, a new line after version 12"
    assert _described(champion) == ("independent pixels", 12, name)
    assert "encode" not in tf.saved_model.load(f"{champion.uri}/Format-Serving").signatures
    assert registry.versions() == [3, 12]


def test_a_new_line_without_any_champion_is_a_first_run(ready_digits, trained, registry, tmp_path):
    champion = _resolve(ready_digits, trained[0], registry, tmp_path, new_line=True)
    assert _described(champion) == ("independent pixels", 0, "independent pixels")


def test_a_served_version_whose_champion_is_gone(ready_digits, trained, registry, tmp_path):
    for version in ("2", "10", "not-a-version"):
        (tmp_path / "serving" / version).mkdir(parents=True)
    with pytest.raises(InputError) as info:
        _resolve(ready_digits, trained[0], registry, tmp_path)
    assert str(info.value) == (
        f"{tmp_path}/serving has version 10, but {registry.folder} has no champion: it was "
        "removed, or a push was interrupted. Restore it, run what was pushed again, or start a "
        "new line of champions with --new-line."
    )
    assert not (tmp_path / "champion").exists()
    # The last remedy holds.
    champion = _resolve(ready_digits, trained[0], registry, tmp_path, new_line=True)
    assert champion.get_string_custom_property("kind") == "independent pixels"


def test_a_served_version_beside_its_champion(ready_digits, trained, registry, tmp_path):
    (tmp_path / "serving" / "4").mkdir(parents=True)
    registry.register(4, f"{trained[0].uri}/Format-Serving", _card())
    champion = _resolve(ready_digits, trained[0], registry, tmp_path)
    assert champion.get_int_custom_property("version") == 4


def test_a_damaged_card_is_told(ready_digits, trained, registry, tmp_path):
    registry.register(1, f"{trained[0].uri}/Format-Serving", _card())
    Path(registry.folder, "1", "champion.json").write_text("{")
    with pytest.raises(InputError, match=r"champions/1 is damaged .* remove its folder"):
        _resolve(ready_digits, trained[0], registry, tmp_path)


def test_a_champion_that_cannot_be_loaded(ready_digits, trained, registry, tmp_path):
    registry.register(1, f"{trained[0].uri}/Format-Serving", _card())
    Path(registry.folder, "1", "Format-Serving", "saved_model.pb").write_bytes(b"\xff not a proto")
    with pytest.raises(
        InputError, match=r"cannot be loaded .* remove \S+/champions/1 to fall back"
    ):
        _resolve(ready_digits, trained[0], registry, tmp_path)


@pytest.mark.parametrize(
    ("signatures", "missing"),
    [({"evaluate": "evaluate"}, "describe"), ({"encode": "evaluate"}, "evaluate, describe")],
)
def test_a_champion_without_a_signature(
    ready_digits, trained, registry, tmp_path, signatures, missing
):
    module = tf.Module()
    module.evaluate = tf.function(lambda x: x, input_signature=[tf.TensorSpec([], tf.float32)])
    functions = {name: getattr(module, function) for name, function in signatures.items()}
    tf.saved_model.save(module, str(tmp_path / "mute"), signatures=functions)
    registry.register(1, str(tmp_path / "mute"), _card())
    with pytest.raises(
        InputError,
        match=rf"has no signature {missing}; remove \S+/champions/1 to fall back .*--new-line",
    ):
        _resolve(ready_digits, trained[0], registry, tmp_path)
