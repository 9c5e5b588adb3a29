import numpy as np
import pytest
import tensorflow as tf

from components.elbo_evaluator.metrics import SCORES
from tests.example_files import write_examples

_LABELS = [0] * 40 + [1] * 19 + [2]


def _scores():
    """Scores by model name, float32 [examples, len(SCORES)], and the labels."""
    random = np.random.default_rng(7)
    candidate = random.normal([-100, 12, 88, -97], [9, 2, 8, 9], (len(_LABELS), 4))
    # The one example of label 2 is far below every floor in these tests.
    candidate[-1, 0] = -5000
    noise = random.normal(0, 3, candidate.shape)
    models = {"candidate": candidate, "worse": candidate - 20 + noise, "better": candidate + 9}
    # In one example each; the last one leaves a running mean infinite rather than NaN.
    models["nan"], models["infinite"] = candidate.copy(), candidate.copy()
    models["nan"][17, 0] = np.nan
    models["infinite"][-1, 0] = np.inf
    models["autoencoder"] = candidate.copy()
    models["autoencoder"][:, [0, 1, 3]] = -np.inf, np.inf, np.nan
    return {name: scores.astype(np.float32) for name, scores in models.items()}


class _Model(tf.Module):
    """Reads its scores from the Example."""

    def __init__(self, feature):
        super().__init__()
        self._feature = feature

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "examples")], autograph=False)
    def evaluate(self, examples):
        spec = {self._feature: tf.io.FixedLenFeature([len(SCORES)], tf.float32)}
        scores = tf.io.parse_example(examples, spec)[self._feature]
        return {
            **{name: scores[:, i] for i, name in enumerate(SCORES)},
            "posterior_mean": scores[:, :2],
            "posterior_variance": scores[:, 2:],
        }


def _example(label, scores):
    features = {name: _floats(values) for name, values in scores.items()}
    features["label"] = tf.train.Feature(int64_list=tf.train.Int64List(value=[label]))
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


def _floats(values):
    return tf.train.Feature(float_list=tf.train.FloatList(value=values))


@pytest.fixture(scope="session")
def known_scores():
    """Float64 scores [examples, len(SCORES)] by model name."""
    return {name: scores.astype(np.float64) for name, scores in _scores().items()}


@pytest.fixture(scope="session")
def known_labels():
    return np.array(_LABELS)


@pytest.fixture(scope="session")
def known_models(tmp_path_factory):
    """Model artifacts by name; `mute` has a signature, but not `evaluate`."""
    from tfx.types import standard_artifacts

    models = {}
    for number, name in enumerate([*_scores(), "mute"], start=1):
        artifact = standard_artifacts.Model()
        artifact.uri, artifact.id = str(tmp_path_factory.mktemp(name)), number
        model = _Model(name)
        signature = "something_else" if name == "mute" else "evaluate"
        tf.saved_model.save(
            model, f"{artifact.uri}/Format-Serving", signatures={signature: model.evaluate}
        )
        models[name] = artifact
    return models


@pytest.fixture(scope="session")
def known_examples(tmp_path_factory):
    """Examples that hold every model's scores; the split `train` would give other numbers."""
    scores = _scores()
    records = [
        _example(label, {name: values[i] for name, values in scores.items()})
        for i, label in enumerate(_LABELS)
    ]
    folder = tmp_path_factory.mktemp("known_examples")
    return write_examples(folder, {"train": records[:3], "test": records})


@pytest.fixture(scope="session")
def judge(known_models, known_examples, tmp_path_factory):
    """Runs TFX's Evaluator as the pipeline wires it; gives the two output artifacts."""
    from tfx.components.evaluator.executor import Executor
    from tfx.types import channel_utils, standard_artifacts

    from components.elbo_evaluator import elbo_evaluator

    def run(candidate, champion, gate, examples=known_examples, num_pixels=784):
        inputs = {
            "examples": [examples],
            "model": [known_models[candidate]],
            "baseline_model": [known_models[champion]],
        }
        channels = {key: channel_utils.as_channel(value) for key, value in inputs.items()}
        component = elbo_evaluator(
            examples=channels["examples"],
            model=channels["model"],
            champion=channels["baseline_model"],
            gate=gate,
            num_pixels=num_pixels,
            likelihood="bernoulli",
        )
        folder = tmp_path_factory.mktemp("evaluator")
        evaluation = standard_artifacts.ModelEvaluation()
        blessing = standard_artifacts.ModelBlessing()
        evaluation.uri, blessing.uri = str(folder / "evaluation"), str(folder / "blessing")
        Executor().Do(
            inputs,
            {"evaluation": [evaluation], "blessing": [blessing]},
            dict(component.exec_properties),
        )
        return evaluation, blessing

    return run
