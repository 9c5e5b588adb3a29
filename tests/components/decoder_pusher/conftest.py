import dataclasses
import json
from pathlib import Path

import pytest

from components.image_binarizer.image_format import ImageFormat
from components.saved_models import model_fingerprint

_SCORES = {
    "example_count": 500.0,
    "elbo": -80.25,
    "elbo_standard_error": 0.5,
    "rate": 20.0,
    "distortion": 60.25,
    "importance_weighted_bound": -78.5,
}


@dataclasses.dataclass
class Candidate:
    """The input artifacts of DecoderPusher for one model."""

    model: object
    decoder: object
    evaluation: object
    model_blessing: object
    infra_blessing: object

    def inputs(self):
        return {field.name: [getattr(self, field.name)] for field in dataclasses.fields(self)}


def _write_model(folder, content):
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_text(content)
    (folder / "variables" / "variables.index").write_text(f"weights of {content}")


@pytest.fixture
def make_candidate(tmp_path, monkeypatch):
    """Makes a model called `name` with all that belongs to it; the pusher loads no model."""
    from tfx.types import standard_artifacts
    from tfx.utils import path_utils

    from components.decoder_pusher import executor
    from components.elbo_evaluator.measurements import Comparison
    from components.elbo_evaluator.results import GateResult
    from components.elbo_evaluator.rules import Rule

    results = {}
    monkeypatch.setattr(executor, "read_gate_result", lambda uri: results[uri])

    def make(
        name,
        number,
        blessed=True,
        infra_blessed=True,
        failures=(),
        scores=_SCORES,
        bless_anyway="",
    ):
        folder = tmp_path / "artifacts" / name
        candidate = Candidate(
            standard_artifacts.Model(),
            standard_artifacts.Model(),
            standard_artifacts.ModelEvaluation(),
            standard_artifacts.ModelBlessing(),
            standard_artifacts.InfraBlessing(),
        )
        for field, (artifact,) in candidate.inputs().items():
            artifact.uri = str(folder / field)
        candidate.model.id = number
        model_path = folder / "model" / "Format-Serving"
        decoder_path = folder / "decoder" / "Format-Serving"
        _write_model(model_path, f"model {name}")
        _write_model(decoder_path, f"decoder {name}")
        candidate.decoder.set_string_custom_property(
            "source_model_fingerprint", model_fingerprint(str(model_path))
        )
        results[candidate.evaluation.uri] = GateResult(
            blessed=blessed,
            bless_anyway=bless_anyway,
            rules=(
                Rule("signatures", "they agree", True),
                *(Rule("floor", "it is high enough", False, message) for message in failures),
            ),
            diagnosis=("Untrained.",) if failures else (),
            champion_name="independent pixels",
            overall=Comparison(scores),
            by_label={},
            samples={},
        )
        blessing = candidate.model_blessing
        blessing.set_string_custom_property("current_model", candidate.model.uri)
        blessing.set_int_custom_property("current_model_id", number)
        blessing.set_int_custom_property("blessed", int(blessed))
        infra = candidate.infra_blessing
        infra.set_string_custom_property(
            "decoder_fingerprint", model_fingerprint(str(decoder_path))
        )
        infra.set_int_custom_property("blessed", int(infra_blessed))
        infra.set_string_custom_property("reasons", "" if infra_blessed else "decode: it is NaN")
        if infra_blessed:
            stamped = Path(path_utils.stamped_model_path(infra.uri))
            _write_model(stamped, f"decoder {name}")
            (stamped / "assets.extra").mkdir()
            (stamped / "assets.extra" / "tf_serving_warmup_requests").write_bytes(b"requests")
        return candidate

    return make


@pytest.fixture
def image_format():
    return dataclasses.asdict(ImageFormat(28, 28, 1, "threshold"))


@dataclasses.dataclass
class Shelf:
    """Pushes without the executor, into local folders or an object store.

    Models are named by letters; the files of each say which they are.
    """

    models: Path
    serving_dir: str
    registry: object
    image_format: dict

    def push(self, name, keep_versions=None):
        """Pushes the model of that name."""
        from components.decoder_pusher.push import push_decoder

        for kind in ("model", "decoder"):
            if not (self.models / kind / name).exists():
                _write_model(self.models / kind / name, f"{kind} {name}")
        card = {"image_format": self.image_format, "source_model_fingerprint": name}
        paths = [str(self.models / kind / name) for kind in ("decoder", "model")]
        return push_decoder(*paths, card, self.serving_dir, self.registry, keep_versions)

    def served(self):
        """The visible versions and their models' names; each must be whole."""
        from tfx.dsl.io import fileio

        from components.saved_models import version_numbers

        found = {}
        for version in version_numbers(self.serving_dir):
            folder = f"{self.serving_dir}/{version}"
            with fileio.open(f"{folder}/model_card.json") as file:
                card = json.loads(file.read())
            name = card["source_model_fingerprint"]
            _check_whole(folder, f"decoder {name}")
            assert card["version"] == version
            found[version] = name
        return found

    def champions(self):
        """The visible champions and their names; each must be whole."""
        found = {}
        for version in self.registry.versions():
            champion = self.registry.read(version)
            name = champion.card["source_model_fingerprint"]
            _check_whole(champion.path, f"model {name}")
            assert champion.card["version"] == version
            found[version] = name
        return found

    def names(self):
        """All entries of the two folders, finished or not."""
        from tfx.dsl.io import fileio

        folders = (self.serving_dir, self.registry.folder)
        return sorted(name.rstrip("/") for folder in folders for name in fileio.listdir(folder))


def _check_whole(folder, content):
    from tfx.dsl.io import fileio

    for file, text in (
        ("saved_model.pb", content),
        ("variables/variables.index", f"weights of {content}"),
    ):
        with fileio.open(f"{folder}/{file}") as opened:
            assert opened.read() == text


@pytest.fixture(params=["local", "objects"])
def make_shelf(request, tmp_path, image_format):
    """Makes empty places to push to."""
    from components.champion_resolver.registry import ChampionRegistry
    from tests.object_store import register_object_store

    register_object_store()
    made = []

    def make():
        made.append(None)
        root = f"{tmp_path}/{len(made)}"
        if request.param == "objects":
            root = f"objects://bucket/{len(made)}"
        registry = ChampionRegistry(f"{root}/champions/decoder")
        return Shelf(tmp_path / "models", f"{root}/serving/decoder", registry, image_format)

    return make
