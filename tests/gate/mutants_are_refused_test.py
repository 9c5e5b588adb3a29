"""Every fault is refused by the rule that is there for it, with a champion and without one."""

import numpy as np
import pytest

from components.elbo_evaluator import examples as model_ready
from tests.gate.sabotage import (
    SIGNATURE_FAULTS,
    TRAINING_FAULTS,
    WEIGHT_FAULTS,
    change_signatures,
    change_weights,
    worsen,
)

# Rules that must be among the broken ones against a champion, and on a first run.
_BROKEN = {
    "weight 1e-4": ({"champion", "kl weight"}, {"champion", "kl weight"}),
    "weight 20": ({"champion", "collapse"}, {"champion", "collapse"}),
    "averaged pixels": ({"champion", "collapse"}, {"champion", "collapse"}),
    "averaged rate": ({"champion", "kl weight"}, {"kl weight"}),
    "no rate": ({"champion", "kl weight"}, {"champion", "kl weight"}),
    "rate counted twice": ({"champion"}, {"champion"}),
    # Right on average and only noisier: without a champion there is nothing to see.
    "one noise for all": ({"champion"}, set()),
    "log sigma for log variance": ({"signatures", "kl weight"}, {"signatures", "kl weight"}),
    "inverted pixels": ({"floor", "champion"}, {"floor", "champion"}),
    "shuffled pixels": ({"floor", "champion"}, {"floor", "champion"}),
    "decoder ignores the code": ({"champion", "collapse"}, {"champion", "collapse"}),
    "constant encoder": ({"champion", "collapse"}, {"champion", "collapse"}),
}
_DIAGNOSES = {
    "averaged rate": "Averaged KL",
    "no rate": "KL dropped",
    "weight 1e-4": "Under-regularised",
    "weight 20": "Posterior collapse",
    "averaged pixels": "Posterior collapse",
    "inverted pixels": "Inverted pixels",
    "shuffled pixels": "Broken decoder",
}


@pytest.mark.parametrize("name", TRAINING_FAULTS)
def test_a_faulty_training_is_refused(name, train_digits, judge):
    path = train_digits(TRAINING_FAULTS[name])
    against_champion, first = _BROKEN[name]
    broken, diagnosis = judge(path)
    assert against_champion <= broken
    assert _DIAGNOSES.get(name, "") in diagnosis
    assert first <= judge(path, first=True)[0]


def test_a_weight_that_has_no_effect_is_refused(train_digits, judge):
    def ineffective(model):
        model.kl_weight = type(model.kl_weight)(1.0)

    path = train_digits(ineffective, kl_weight=4.0)
    broken, diagnosis = judge(path, first=True)
    assert broken == {"kl weight"}
    assert "Ineffective KL weight" in diagnosis


def test_a_model_of_one_class_is_refused(train_digits, judge):
    path = train_digits(examples="only sevens")
    assert {"champion", "labels", "sample classes"} <= judge(path)[0]
    broken, diagnosis = judge(path, first=True)
    assert "sample classes" in broken
    assert "part of the classes" in diagnosis or "Broken decoder" in diagnosis


def test_an_untrained_model_is_refused(train_digits, judge):
    path = train_digits(epochs=1, learning_rate=1e-9, warmup_epochs=0)
    for first in (False, True):
        broken, diagnosis = judge(path, first)
        assert {"champion", "sample distance"} <= broken
        assert "Untrained" in diagnosis


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("NaN in one weight", "finite"),
        ("two bits a weight", "champion"),
    ],
)
def test_a_model_with_damaged_weights_is_refused(name, rule, champion_path, judge, tmp_path):
    change_weights(champion_path, str(tmp_path), WEIGHT_FAULTS[name])
    assert rule in judge(str(tmp_path))[0]


@pytest.mark.parametrize(("nats", "refused"), [(1.0, True), (0.4, False)])
def test_a_champion_made_a_little_worse(
    nats, refused, champion_path, judge, digit_examples, tmp_path
):
    files = model_ready.split_files(digit_examples[""], "test")
    examples = np.concatenate(list(model_ready.batches(files, 1000)))
    worsen(champion_path, str(tmp_path), examples, nats)
    assert ("champion" in judge(str(tmp_path))[0]) == refused
    # Without the champion there is nothing to be worse than.
    assert "champion" not in judge(str(tmp_path), first=True)[0]


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("NaN for some images", "finite"),
        ("decoder exported inverted", "signatures"),
        ("averaged scores", "signatures"),
        ("no evaluate", "signatures"),
        ("no generate", "signatures"),
    ],
)
@pytest.mark.parametrize("first", [False, True])
def test_a_model_with_a_wrong_signature_is_refused(
    name, rule, first, champion_path, judge, tmp_path
):
    change_signatures(champion_path, str(tmp_path), SIGNATURE_FAULTS[name])
    assert rule in judge(str(tmp_path), first)[0]


@pytest.mark.parametrize(
    ("examples", "rule"), [("stochastic", "test images"), ("no test images", "examples")]
)
def test_a_model_is_refused_on_other_test_images(examples, rule, champion_path, judge):
    assert judge(champion_path, examples=examples)[0] == {rule}
