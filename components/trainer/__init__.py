"""The stock TFX Trainer with our `run_fn`; everything that knows a model's Python lives here."""

from components.lazy_exports import lazy_exports

__all__ = ["TrainingConfig", "vae_trainer"]

__getattr__ = lazy_exports(__name__, {"TrainingConfig": "config", "vae_trainer": "component"})
