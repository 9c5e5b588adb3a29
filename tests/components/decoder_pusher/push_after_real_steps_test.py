"""The steps from a trained model to a pushed decoder, each by its own executor."""

import json
from pathlib import Path

import pytest
import tensorflow as tf
from tfx.types import channel_utils, standard_artifacts

from components.champion_resolver import executor as champion_resolver
from components.decoder_exporter import executor as decoder_exporter
from components.decoder_pusher import executor as decoder_pusher
from components.elbo_evaluator import ElboEvaluator, GateConfig
from components.elbo_evaluator import executor as elbo_evaluator
from components.elbo_evaluator.results import read_gate_result
from components.saved_models import model_fingerprint
from components.serving_validator import executor as serving_validator

_LIKELIHOOD = {"likelihood": "bernoulli", "gaussian_scale": 1.0, "new_line": 0}
# Four epochs on 400 images: the samples do not look like digits yet.
_GATE = GateConfig(max_frechet_ratio=None, min_coverage=None, max_missing_classes=10)


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    return tmp_path_factory.mktemp("places")


def _folders(places):
    return {"registry": str(places / "champions"), "serving_dir": str(places / "serving")}


def _artifact(kind, places, name):
    artifact = kind()
    artifact.uri = str(places / name)
    return artifact


@pytest.fixture(scope="module")
def pushed(places, ready_digits, trained, image_format_of_digits):
    """The PushedModel and the ModelEvaluation."""
    inputs = {"examples": [ready_digits], "model": [trained[0]]}
    folders = _folders(places)
    champion = _artifact(standard_artifacts.Model, places, "champion")
    champion_resolver.Executor().Do(inputs, {"champion": [champion]}, {**folders, **_LIKELIHOOD})

    channels = [channel_utils.as_channel([a]) for a in (ready_digits, trained[0], champion)]
    evaluator = ElboEvaluator(*channels, gate=_GATE)
    evaluation = _artifact(standard_artifacts.ModelEvaluation, places, "evaluation")
    blessing = _artifact(standard_artifacts.ModelBlessing, places, "blessing")
    elbo_evaluator.Executor().Do(
        {**inputs, "champion": [champion]},
        {"evaluation": [evaluation], "blessing": [blessing]},
        dict(evaluator.exec_properties),
    )

    decoder = _artifact(standard_artifacts.Model, places, "decoder")
    decoder_exporter.Executor().Do({"model": [trained[0]]}, {"decoder": [decoder]}, {})
    infra_blessing = _artifact(standard_artifacts.InfraBlessing, places, "infra_blessing")
    serving_validator.Executor().Do({"decoder": [decoder]}, {"blessing": [infra_blessing]}, {})

    pushed_model = _artifact(standard_artifacts.PushedModel, places, "pushed_model")
    decoder_pusher.Executor().Do(
        {
            "model": [trained[0]],
            "decoder": [decoder],
            "champion": [champion],
            "evaluation": [evaluation],
            "model_blessing": [blessing],
            "infra_blessing": [infra_blessing],
        },
        {"pushed_model": [pushed_model]},
        {**folders, "card": json.dumps({"image_format": image_format_of_digits})},
    )
    return pushed_model, evaluation


@pytest.fixture(scope="module")
def image_format_of_digits(ready_digits):
    return json.loads(Path(ready_digits.uri, "image_format.json").read_text())


def test_the_served_decoder(pushed, trained):
    assert pushed[0].get_string_custom_property("reason") == ""
    folder = Path(pushed[0].get_string_custom_property("pushed_destination"))
    assert (folder / "assets.extra" / "tf_serving_warmup_requests").is_file()
    z = tf.constant([[0.5, -1.0, 0.0, 2.0]])
    full_model = tf.saved_model.load(f"{trained[0].uri}/Format-Serving")
    served = tf.saved_model.load(str(folder))
    images = served.signatures["serving_default"](z=z)["mean"]
    assert (images.numpy() == full_model.signatures["decode"](z=z)["mean"].numpy()).all()


def test_the_model_card_has_the_evaluators_numbers(
    places, pushed, trained, ready_digits, image_format_of_digits
):
    card = json.loads((places / "serving" / "1" / "model_card.json").read_text())
    metrics = read_gate_result(pushed[1].uri).candidate
    for name in (
        "elbo",
        "elbo_standard_error",
        "rate",
        "distortion",
        "importance_weighted_bound",
    ):
        assert card[name] == metrics[name]
    assert card["num_test_images"] == 100
    assert card["version"] == 1
    assert card["image_format"] == image_format_of_digits
    fingerprint = model_fingerprint(f"{trained[0].uri}/Format-Serving")
    assert card["source_model_fingerprint"] == fingerprint
    # Scored once more, without TFMA.
    (file,) = Path(ready_digits.uri, "Split-test").iterdir()
    records = list(tf.data.TFRecordDataset(str(file), "GZIP").as_numpy_iterator())
    evaluate = tf.saved_model.load(f"{trained[0].uri}/Format-Serving").signatures["evaluate"]
    elbo = evaluate(tf.constant(records))["elbo"].numpy().astype(float)
    assert card["elbo"] == pytest.approx(elbo.mean(), rel=1e-5)
    assert card["elbo_standard_error"] == pytest.approx(elbo.std(ddof=1) / 10, rel=1e-4)


def test_the_next_candidate_has_to_beat_it(places, pushed, trained, ready_digits):
    champion = _artifact(standard_artifacts.Model, places, "next_champion")
    champion_resolver.Executor().Do(
        {"examples": [ready_digits], "model": [trained[0]]},
        {"champion": [champion]},
        {**_folders(places), **_LIKELIHOOD},
    )
    assert champion.get_int_custom_property("version") == 1
    resolved = model_fingerprint(f"{champion.uri}/Format-Serving")
    assert resolved == model_fingerprint(f"{trained[0].uri}/Format-Serving")
