"""The Tuner's construction."""

import json

import pytest
from tfx import types
from tfx.types import standard_artifacts

from components.errors import InputError
from components.trainer import TrainingConfig
from components.tuner import SearchSpace, component, vae_tuner

EXAMPLES = types.Channel(type=standard_artifacts.Examples)
SEARCH = SearchSpace({"latent_size": [2, 3]})


def custom_config(config=None, search=SEARCH, trials_dir="trials"):
    tuner = vae_tuner(EXAMPLES, config or TrainingConfig(), search, trials_dir)
    return json.loads(tuner.spec.exec_properties["custom_config"])


def test_is_the_stock_tuner_with_our_tuner_fn():
    tuner = vae_tuner(EXAMPLES, TrainingConfig(epochs=7), SEARCH, "trials")
    assert type(tuner).__module__ == "tfx.components.tuner.component"
    assert set(tuner.outputs) == {"best_hyperparameters", "tuner_results"}
    assert tuner.spec.exec_properties["tuner_fn"] == "components.tuner.tuner_fn.tuner_fn"
    custom = custom_config(TrainingConfig(epochs=7))
    assert TrainingConfig(**json.loads(custom["config"])) == TrainingConfig(epochs=7)
    assert SearchSpace.from_json(custom["search"]) == SEARCH
    assert custom["trials_dir"] == "trials"


def test_edited_code_changes_the_cache_key(monkeypatch):
    before = custom_config()
    assert custom_config() == before
    monkeypatch.setattr(component, "code_fingerprint", lambda *packages: "edited")
    assert custom_config() != before


def test_a_search_that_cannot_be_done_is_refused_at_once():
    with pytest.raises(InputError, match="latent_size must be at least 1, not 0"):
        custom_config(search=SearchSpace({"latent_size": [2, 0]}))
