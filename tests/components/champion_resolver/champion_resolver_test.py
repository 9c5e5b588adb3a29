import copy
import dataclasses
import shutil
from pathlib import Path

import pytest
import tensorflow as tf
from tfx import types
from tfx.types import channel_utils, standard_artifacts

from components.champion_resolver import ChampionResolver
from components.champion_resolver.executor import Executor
from components.champion_resolver.registry import ChampionRegistry
from components.errors import InputError
from components.image_binarizer.image_format import ImageFormat
from components.saved_models import model_fingerprint

_FORMAT = ImageFormat(28, 28, 1, "threshold")


@pytest.fixture
def registry(tmp_path):
    return ChampionRegistry(str(tmp_path / "champions"))


def _card(image_format=_FORMAT):
    return {"image_format": dataclasses.asdict(image_format)}


def _resolve(examples, model, registry, folder, likelihood="bernoulli", gaussian_scale=0.25):
    """Runs the executor as the component wires it; gives the `champion` artifact."""
    component = ChampionResolver(
        examples=channel_utils.as_channel([examples]),
        model=channel_utils.as_channel([model]),
        registry=registry.folder,
        likelihood=likelihood,
        gaussian_scale=gaussian_scale,
    )
    champion = standard_artifacts.Model()
    champion.uri = str(folder / "champion")
    Executor().Do(
        {"examples": [examples], "model": [model]},
        {"champion": [champion]},
        dict(component.exec_properties),
    )
    return champion


def _files(folder):
    return {str(p.relative_to(folder)) for p in Path(folder).rglob("*") if p.is_file()}


def test_construction(monkeypatch):
    examples = types.Channel(type=standard_artifacts.Examples)
    model = types.Channel(type=standard_artifacts.Model)

    def construct():
        return ChampionResolver(
            examples=examples,
            model=model,
            registry="champions/decoder",
            likelihood="gaussian",
            gaussian_scale=1,
        )

    component = construct()
    assert component.inputs["examples"] is examples
    assert component.inputs["model"] is model
    assert component.outputs["champion"].type_name == standard_artifacts.Model.TYPE_NAME
    assert component.exec_properties["registry"] == "champions/decoder"
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
    assert champion.get_string_custom_property("kind") == "independent pixels"
    assert champion.get_int_custom_property("version") == 0
    assert champion.get_string_custom_property("likelihood") == "bernoulli"
    loaded = tf.saved_model.load(f"{champion.uri}/Format-Serving")
    assert list(loaded.signatures) == ["evaluate"]
    assert not Path(registry.folder).exists()


def test_later_runs_have_the_newest_champion_to_beat(ready_digits, trained, registry, tmp_path):
    model_path = f"{trained[0].uri}/Format-Serving"
    older = tmp_path / "older"
    shutil.copytree(model_path, older)
    (older / "assets").mkdir(exist_ok=True)
    (older / "assets" / "note.txt").write_text("another model")
    registry.register(9, str(older), _card())
    registry.register(10, model_path, _card())
    champion = _resolve(ready_digits, trained[0], registry, tmp_path)
    assert champion.get_string_custom_property("kind") == "registered champion"
    assert champion.get_int_custom_property("version") == 10
    resolved = f"{champion.uri}/Format-Serving"
    assert _files(resolved) == _files(model_path)
    assert model_fingerprint(resolved) == model_fingerprint(model_path)


@pytest.mark.parametrize(
    "other",
    [
        dataclasses.replace(_FORMAT, threshold=0.25),
        dataclasses.replace(_FORMAT, width=32),
        dataclasses.replace(_FORMAT, binarization="dynamic"),
    ],
)
def test_a_champion_of_other_images_is_not_compared(
    ready_digits, trained, registry, tmp_path, other
):
    registry.register(4, f"{trained[0].uri}/Format-Serving", _card(other))
    with pytest.raises(InputError, match=r"Champion 4 in .*cannot be compared") as info:
        _resolve(ready_digits, trained[0], registry, tmp_path)
    for part in (str(other), str(_FORMAT), "--serving-name"):
        assert part in str(info.value)


@pytest.mark.parametrize(
    ("theirs", "ours", "comparable"),
    [
        ("mnist", "mnist", True),
        ("mnist", "fashion_mnist", False),
        (None, "mnist", True),
        ("mnist", None, True),
    ],
)
def test_a_champion_of_another_data_set_is_not_compared(
    ready_digits, trained, registry, tmp_path, theirs, ours, comparable
):
    dataset = {"dataset": {"name": theirs}} if theirs else {}
    registry.register(2, f"{trained[0].uri}/Format-Serving", {**_card(), **dataset})
    examples = copy.deepcopy(ready_digits)
    examples.set_string_custom_property("dataset", ours or "")
    if comparable:
        champion = _resolve(examples, trained[0], registry, tmp_path)
        assert champion.get_int_custom_property("version") == 2
        return
    with pytest.raises(InputError, match=r"is a model of mnist .* this data is fashion_mnist"):
        _resolve(examples, trained[0], registry, tmp_path)


_GAUSSIANS = ("gaussian", "gaussian_learned_scale", "gaussian_analytic_scale")


@pytest.mark.parametrize(
    ("theirs", "ours", "comparable"),
    [
        # A card from before there were others does not name its likelihood.
        (None, "bernoulli", True),
        (None, "gaussian", False),
        ("bernoulli", "bernoulli", True),
        ("gaussian", "continuous_bernoulli", False),
        ("continuous_bernoulli", "gaussian_learned_scale", False),
        ("bernoulli", "continuous_bernoulli", False),
        ("discretized_logistic", "discretized_logistic", True),
        *((theirs, ours, True) for theirs in _GAUSSIANS for ours in _GAUSSIANS),
    ],
)
def test_a_champion_of_another_likelihood_is_not_compared(
    ready_digits, trained, registry, tmp_path, theirs, ours, comparable
):
    training = {"training": {"likelihood": theirs}} if theirs else {"training": {"epochs": 4}}
    registry.register(5, f"{trained[0].uri}/Format-Serving", {**_card(), **training})
    if comparable:
        champion = _resolve(ready_digits, trained[0], registry, tmp_path, ours)
        assert champion.get_int_custom_property("version") == 5
        assert champion.get_string_custom_property("likelihood") == ours
        return
    with pytest.raises(InputError) as info:
        _resolve(ready_digits, trained[0], registry, tmp_path, ours)
    assert str(info.value) == (
        f"Champion 5 in {registry.folder} has the likelihood {theirs or 'bernoulli'}; this model "
        f"has {ours}, so their ELBOs cannot be compared. Start a new line of champions with "
        "another --serving-name."
    )


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


def test_a_champion_without_the_signature(ready_digits, trained, registry, tmp_path):
    module = tf.Module()
    module.encode = tf.function(lambda x: x, input_signature=[tf.TensorSpec([], tf.float32)])
    tf.saved_model.save(module, str(tmp_path / "mute"), signatures={"encode": module.encode})
    registry.register(1, str(tmp_path / "mute"), _card())
    with pytest.raises(InputError, match=r"has no `evaluate` signature; remove \S+/champions/1 to"):
        _resolve(ready_digits, trained[0], registry, tmp_path)
