"""The Trainer's construction."""

import json

from tfx import types
from tfx.types import standard_artifacts

from components.trainer import TrainingConfig, component, vae_trainer

EXAMPLES = types.Channel(type=standard_artifacts.Examples)


def test_is_the_stock_trainer_with_our_run_fn():
    wanted = TrainingConfig(latent_size=7, hidden_units=(30, 20))
    trainer = vae_trainer(examples=EXAMPLES, config=wanted)
    assert type(trainer).__module__ == "tfx.components.trainer.component"
    assert trainer.outputs["model"].type_name == standard_artifacts.Model.TYPE_NAME
    assert trainer.outputs["model_run"].type_name == standard_artifacts.ModelRun.TYPE_NAME
    properties = trainer.spec.exec_properties
    assert properties["run_fn"] == "components.trainer.run_fn.run_fn"
    config = json.loads(json.loads(properties["custom_config"])["config"])
    assert TrainingConfig(**config) == wanted


def test_edited_code_changes_the_cache_key(monkeypatch):
    def custom_config():
        trainer = vae_trainer(examples=EXAMPLES, config=TrainingConfig())
        return trainer.spec.exec_properties["custom_config"]

    before = custom_config()
    assert custom_config() == before
    monkeypatch.setattr(component, "code_fingerprint", lambda *packages: "edited")
    assert custom_config() != before
