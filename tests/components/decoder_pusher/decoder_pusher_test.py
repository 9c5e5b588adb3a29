import json
import math
import shutil
from pathlib import Path

import pytest
from tfx import types
from tfx.types import channel_utils, standard_artifacts
from tfx.utils import path_utils

from components.champion_resolver.registry import ChampionRegistry
from components.decoder_pusher import DecoderPusher
from components.decoder_pusher import executor as executor_module
from components.decoder_pusher.push import remove_old_versions
from components.decoder_pusher.rollback import roll_back
from components.errors import InputError
from components.saved_models import model_fingerprint, version_numbers

_NO_ELBO = {"elbo": math.nan, "elbo_standard_error": math.nan, "rate": math.inf}


class _Target:
    """A serving folder and a registry, and pushes to them."""

    def __init__(self, folder, image_format):
        self.serving_dir = folder / "serving" / "decoder"
        self.registry = ChampionRegistry(str(folder / "champions" / "decoder"))
        self._card = {"recipe": "digits", "image_format": image_format}

    def push(self, candidate, judged_against=None, keep_versions=None):
        """Runs the executor as the component wires it; gives the PushedModel.

        The candidate was judged against the newest champion, unless another version is given.
        """
        champion = standard_artifacts.Model()
        champion.set_int_custom_property(
            "version",
            max(self.registry.versions(), default=0) if judged_against is None else judged_against,
        )
        inputs = {**candidate.inputs(), "champion": [champion]}
        component = DecoderPusher(
            **{name: channel_utils.as_channel(value) for name, value in inputs.items()},
            serving_dir=str(self.serving_dir),
            registry=self.registry.folder,
            card=self._card,
            keep_versions=keep_versions,
        )
        pushed = standard_artifacts.PushedModel()
        properties = dict(component.exec_properties)
        executor_module.Executor().Do(inputs, {"pushed_model": [pushed]}, properties)
        return pushed

    def served(self):
        return version_numbers(str(self.serving_dir))

    def leftovers(self):
        folders = (self.serving_dir, Path(self.registry.folder))
        entries = [entry for folder in folders if folder.exists() for entry in folder.iterdir()]
        return [entry.name for entry in entries if entry.name.startswith(".")]

    def card(self, version):
        return json.loads((self.serving_dir / str(version) / "model_card.json").read_text())


@pytest.fixture
def target(tmp_path, image_format):
    return _Target(tmp_path, image_format)


def _version(pushed):
    assert pushed.get_int_custom_property("pushed") == 1
    return int(pushed.get_string_custom_property("pushed_version"))


def _fingerprint(artifact):
    return model_fingerprint(path_utils.serving_model_path(artifact.uri))


def test_construction(image_format, monkeypatch):
    inputs = {
        "model": standard_artifacts.Model,
        "decoder": standard_artifacts.Model,
        "champion": standard_artifacts.Model,
        "evaluation": standard_artifacts.ModelEvaluation,
        "model_blessing": standard_artifacts.ModelBlessing,
        "infra_blessing": standard_artifacts.InfraBlessing,
    }
    channels = {name: types.Channel(type=kind) for name, kind in inputs.items()}
    card = {"recipe": "digits", "image_format": image_format}

    def construct(**more):
        folders = {"serving_dir": "serving", "registry": "champions"}
        return DecoderPusher(**channels, **folders, card=card, **more)

    component = construct()
    for name, channel in channels.items():
        assert component.inputs[name] is channel
    pushed = component.outputs["pushed_model"]
    assert pushed.type_name == standard_artifacts.PushedModel.TYPE_NAME
    assert component.exec_properties["serving_dir"] == "serving"
    assert component.exec_properties["registry"] == "champions"
    # Kubeflow passes no dictionaries.
    assert json.loads(component.exec_properties["card"]) == card
    assert len(component.exec_properties["code_fingerprint"]) == 16
    assert component.exec_properties.get("keep_versions") is None
    assert construct(keep_versions=2).exec_properties["keep_versions"] == 2
    with pytest.raises(InputError, match="keep_versions must be at least 2, not 1"):
        construct(keep_versions=1)
    monkeypatch.setattr(
        "components.decoder_pusher.component.code_fingerprint", lambda *names: ",".join(names)
    )
    code = construct().exec_properties["code_fingerprint"].split(",")
    assert {"components.decoder_pusher", "components.saved_models"} <= set(code)


def test_two_models_become_versions_1_and_2(target, make_candidate):
    first, second = make_candidate("a", 1), make_candidate("b", 2)
    pushed = target.push(first)
    assert _version(pushed) == 1
    folder = target.serving_dir / "1"
    assert pushed.get_string_custom_property("pushed_destination") == str(folder)
    assert _version(target.push(second)) == 2
    assert target.served() == target.registry.versions() == [1, 2]
    assert target.leftovers() == []
    for version, candidate in ((1, first), (2, second)):
        champion = target.registry.read(version)
        assert model_fingerprint(champion.path) == _fingerprint(candidate.model)
        assert champion.card == target.card(version)
    decoder = Path(path_utils.serving_model_path(first.decoder.uri))
    for file in ("saved_model.pb", "variables/variables.index"):
        assert (folder / file).read_bytes() == (decoder / file).read_bytes()
    assert (folder / "assets.extra" / "tf_serving_warmup_requests").read_bytes() == b"requests"


def test_the_model_card(target, make_candidate, image_format):
    candidate = make_candidate("a", 1)
    target.push(candidate)
    assert target.card(1) == {
        "recipe": "digits",
        "image_format": image_format,
        "source_model_fingerprint": _fingerprint(candidate.model),
        "elbo": -80.25,
        "elbo_standard_error": 0.5,
        "rate": 20.0,
        "distortion": 60.25,
        "importance_weighted_bound": -78.5,
        "num_test_images": 500,
        "version": 1,
    }


def test_the_card_of_a_model_that_was_blessed_anyway_says_why_and_what_failed(
    target, make_candidate
):
    failures = ["elbo is -80.25, below its floor of -50.00", "its samples hardly show class 3"]
    candidate = make_candidate("a", 1, failures=failures, bless_anyway="for the demo")
    assert _version(target.push(candidate)) == 1
    card = target.card(1)
    assert card["bless_anyway"] == "for the demo"
    assert card["failed_rules"] == failures
    assert target.registry.newest().card == card


def test_a_reason_that_was_not_needed_is_kept_too(target, make_candidate):
    target.push(make_candidate("a", 1, bless_anyway="for the demo"))
    assert target.card(1)["bless_anyway"] == "for the demo"
    assert target.card(1)["failed_rules"] == []


def test_a_model_without_scores_that_was_blessed_anyway_has_a_card(target, make_candidate):
    failures = ["the model has no signature decode"]
    settings = {"scores": {}, "failures": failures, "bless_anyway": "for the demo"}
    assert _version(target.push(make_candidate("a", 1, **settings))) == 1
    card = target.card(1)
    assert card["failed_rules"] == failures
    assert card["elbo"] is None
    assert card["num_test_images"] == 0


def test_the_same_model_again_is_the_same_version(target, make_candidate):
    candidate = make_candidate("a", 1)
    target.push(candidate)
    before = {path: path.stat().st_mtime_ns for path in target.serving_dir.parents[1].rglob("*")}
    assert _version(target.push(candidate)) == 1
    after = {path: path.stat().st_mtime_ns for path in target.serving_dir.parents[1].rglob("*")}
    assert after == before


def test_an_older_model_that_beats_the_champion_is_a_new_version(target, make_candidate):
    first, second = make_candidate("a", 1), make_candidate("b", 2)
    target.push(first)
    target.push(second)
    assert _version(target.push(first)) == 3
    assert target.served() == target.registry.versions() == [1, 2, 3]
    assert model_fingerprint(target.registry.newest().path) == _fingerprint(first.model)


@pytest.mark.parametrize("name", ["an older model", "a new model"])
def test_a_blessing_from_before_the_newest_champion_is_stale(target, make_candidate, name):
    older = make_candidate("an older model", 1)
    target.push(older)
    target.push(make_candidate("b", 2))
    candidate = older if name == "an older model" else make_candidate(name, 3)
    pushed = target.push(candidate, judged_against=1)
    assert pushed.get_int_custom_property("pushed") == 0
    reason = pushed.get_string_custom_property("reason")
    assert "judged against champion 1, but champion 2 has been pushed since" in reason
    assert target.served() == target.registry.versions() == [1, 2]


def test_a_repeated_push_of_the_champion_itself_is_not_stale(target, make_candidate):
    candidate = make_candidate("a", 1)
    target.push(candidate)
    assert _version(target.push(candidate, judged_against=0)) == 1


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (
            {"blessed": False, "failures": ["elbo is -9, below", "too few"]},
            "elbo is -9, below; too few",
        ),
        ({"blessed": False}, "ElboEvaluator did not bless the model"),
        (
            {"blessed": False, "failures": ["there is no ELBO"], "scores": _NO_ELBO},
            "there is no ELBO",
        ),
        ({"infra_blessed": False}, "decode: it is NaN"),
        (
            {"blessed": False, "failures": ["too few"], "infra_blessed": False},
            "too few; decode: it is NaN",
        ),
    ],
)
def test_without_both_blessings_nothing_is_pushed(target, make_candidate, settings, reason):
    pushed = target.push(make_candidate("a", 1, **settings))
    assert pushed.get_int_custom_property("pushed") == 0
    assert pushed.get_string_custom_property("reason") == reason
    assert not pushed.has_custom_property("pushed_version")
    assert not target.serving_dir.exists()
    assert not Path(target.registry.folder).exists()


def _refused(target, candidate, *named):
    with pytest.raises(InputError) as info:
        target.push(candidate)
    for artifact in named:
        assert artifact.uri in str(info.value)
    assert not target.serving_dir.exists()
    assert not Path(target.registry.folder).exists()
    return str(info.value)


def test_a_blessing_of_another_model(target, make_candidate):
    ours, other = make_candidate("a", 1), make_candidate("b", 2)
    ours.model_blessing = other.model_blessing
    message = _refused(target, ours, ours.model, other.model, other.model_blessing)
    assert "is of the model" in message


def test_a_blessing_without_a_model_id_of_another_model(target, make_candidate):
    ours, other = make_candidate("a", 0), make_candidate("b", 0)
    ours.model_blessing = other.model_blessing
    _refused(target, ours, ours.model, other.model)


def test_a_model_that_moved_is_known_by_its_id(target, make_candidate):
    candidate = make_candidate("a", 5)
    candidate.model_blessing.set_string_custom_property("current_model", "s3://elsewhere/model")
    assert _version(target.push(candidate)) == 1


def test_a_decoder_of_another_model(target, make_candidate):
    ours, other = make_candidate("a", 1), make_candidate("b", 2)
    ours.decoder, ours.infra_blessing = other.decoder, other.infra_blessing
    assert "was not exported from" in _refused(target, ours, ours.model, other.decoder)


def test_a_blessing_of_another_decoder(target, make_candidate):
    ours, other = make_candidate("a", 1), make_candidate("b", 2)
    ours.infra_blessing = other.infra_blessing
    message = _refused(target, ours, ours.decoder, other.infra_blessing)
    assert "is not of the decoder" in message


def test_another_models_blessing_is_told_even_if_nothing_is_blessed(target, make_candidate):
    ours = make_candidate("a", 1, blessed=False)
    ours.model_blessing = make_candidate("b", 2, blessed=False).model_blessing
    _refused(target, ours, ours.model)


def test_a_model_that_changed_since_it_was_judged(target, make_candidate):
    candidate = make_candidate("a", 1)
    Path(candidate.model.uri, "Format-Serving", "saved_model.pb").write_text("trained again")
    assert "was not exported from" in _refused(target, candidate, candidate.model)


def test_a_blessed_copy_that_is_gone_or_changed(target, make_candidate):
    candidate = make_candidate("a", 1)
    stamped = Path(path_utils.stamped_model_path(candidate.infra_blessing.uri))
    (stamped / "saved_model.pb").write_text("something else")
    assert "run ServingValidator again" in _refused(target, candidate, candidate.decoder)
    shutil.rmtree(stamped)
    assert "run ServingValidator again" in _refused(target, candidate, candidate.decoder)


def test_killed_between_the_decoder_and_the_champion(target, make_candidate, monkeypatch):
    target.push(make_candidate("a", 1))
    candidate = make_candidate("b", 2)
    with monkeypatch.context() as patch:

        def kill(*args):
            raise KeyboardInterrupt

        patch.setattr(ChampionRegistry, "register", kill)
        with pytest.raises(KeyboardInterrupt):
            target.push(candidate)
    assert (target.served(), target.registry.versions()) == ([1, 2], [1])
    assert _version(target.push(candidate)) == 2
    assert target.served() == target.registry.versions() == [1, 2]
    champion = target.registry.newest()
    assert model_fingerprint(champion.path) == _fingerprint(candidate.model)
    assert champion.card == target.card(2)


def test_a_version_is_above_all_that_exist(target, make_candidate):
    (target.serving_dir / "9").mkdir(parents=True)
    assert _version(target.push(make_candidate("a", 1))) == 10
    # Of a version whose served folder was cleared away, the registry still knows.
    shutil.rmtree(target.serving_dir / "10")
    (target.serving_dir / "not-a-version").mkdir()
    assert _version(target.push(make_candidate("b", 2))) == 11
    assert target.served() == [9, 11]
    assert target.registry.versions() == [10, 11]


def test_old_versions_go_with_their_champions(target, make_candidate):
    for number in range(1, 5):
        target.push(make_candidate(f"model {number}", number))
    assert _version(target.push(make_candidate("e", 5), keep_versions=3)) == 5
    assert target.served() == target.registry.versions() == [3, 4, 5]
    assert target.leftovers() == []
    # A lower number takes effect without a new version.
    assert _version(target.push(make_candidate("e again", 6), keep_versions=2)) == 6
    assert target.served() == target.registry.versions() == [5, 6]


def test_the_newest_champion_stays_even_if_its_decoder_was_cleared_away(target, make_candidate):
    for number in range(1, 4):
        target.push(make_candidate(f"model {number}", number))
    shutil.rmtree(target.serving_dir / "3")
    remove_old_versions(str(target.serving_dir), target.registry, 2)
    assert (target.served(), target.registry.versions()) == ([1, 2], [1, 2, 3])


def test_a_number_is_never_given_twice(target, make_candidate):
    for number in (1, 2):
        target.push(make_candidate(f"model {number}", number))
    shutil.rmtree(target.serving_dir / "2")
    target.registry.remove(2)
    assert _version(target.push(make_candidate("c", 3))) == 3
    (Path(target.registry.folder) / "highest_version").write_text("three")
    with pytest.raises(InputError, match=r"highest_version is damaged .*; write the highest"):
        target.push(make_candidate("d", 4))
    assert target.served() == target.registry.versions() == [1, 3]


def test_the_served_model_is_a_new_version_if_a_newer_champion_was_not_served(
    target, make_candidate
):
    first = make_candidate("a", 1)
    target.push(first)
    target.push(make_candidate("b", 2))
    shutil.rmtree(target.serving_dir / "2")
    assert _version(target.push(first)) == 3
    assert target.registry.newest().version == 3


def test_a_rollback_that_was_killed_is_finished_before_a_push(target, make_candidate, monkeypatch):
    first, second = make_candidate("a", 1), make_candidate("b", 2)
    target.push(first)
    target.push(second)
    with monkeypatch.context() as patch:
        patch.setattr(ChampionRegistry, "register", None)
        with pytest.raises(TypeError):
            roll_back(str(target.serving_dir), target.registry)
    assert (target.served(), target.registry.versions()) == ([1, 2, 3], [1, 2])
    # Else the model that was rolled back would count as the champion, and be pushed again.
    pushed = target.push(second, judged_against=1)
    assert "champion 3 has been pushed since" in pushed.get_string_custom_property("reason")
    assert target.served() == target.registry.versions() == [1, 2, 3]
    assert model_fingerprint(target.registry.newest().path) == _fingerprint(first.model)
