"""The Trainer's construction and its configuration."""

import json

import pytest
from tfx import types
from tfx.types import standard_artifacts

from components.errors import InputError
from components.image_binarizer import ImageFormat
from components.trainer import TrainingConfig, component, vae_trainer

EXAMPLES = types.Channel(type=standard_artifacts.Examples)


def test_is_the_stock_trainer_with_our_run_fn():
    trainer = vae_trainer(examples=EXAMPLES, config=TrainingConfig(latent_size=7))
    assert type(trainer).__module__ == "tfx.components.trainer.component"
    assert trainer.outputs["model"].type_name == standard_artifacts.Model.TYPE_NAME
    assert trainer.outputs["model_run"].type_name == standard_artifacts.ModelRun.TYPE_NAME
    properties = trainer.spec.exec_properties
    assert properties["run_fn"] == "components.trainer.run_fn.run_fn"
    config = json.loads(json.loads(properties["custom_config"])["config"])
    assert TrainingConfig(**config) == TrainingConfig(latent_size=7)


def test_edited_code_changes_the_cache_key(monkeypatch):
    def custom_config():
        trainer = vae_trainer(examples=EXAMPLES, config=TrainingConfig())
        return trainer.spec.exec_properties["custom_config"]

    before = custom_config()
    assert custom_config() == before
    monkeypatch.setattr(component, "code_fingerprint", lambda *packages: "edited")
    assert custom_config() != before


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("architecture", "resnet", "Unknown architecture 'resnet'; choose one of conv, dense"),
        ("latent_size", 0, "latent_size must be at least 1, not 0"),
        ("epochs", 0, "epochs must be at least 1"),
        ("batch_size", -1, "batch_size must be at least 1"),
        ("importance_samples", 0, "importance_samples must be at least 1"),
        ("learning_rate", 0.0, "learning_rate must be positive"),
        ("learning_rate", float("nan"), "learning_rate must be positive, not nan"),
        ("gradient_clip_norm", -1.0, "gradient_clip_norm must be positive"),
        ("kl_weight", -0.1, "kl_weight must not be negative"),
    ],
)
def test_impossible_configurations_are_refused(field, value, message):
    with pytest.raises(InputError, match=message):
        TrainingConfig(**{field: value})


def test_grey_pixels_do_not_fit_a_bernoulli_likelihood():
    TrainingConfig().check_fits(ImageFormat(8, 8, 1, "dynamic"))
    with pytest.raises(InputError, match="choose threshold, stochastic or dynamic"):
        TrainingConfig().check_fits(ImageFormat(8, 8, 1, "none"))
