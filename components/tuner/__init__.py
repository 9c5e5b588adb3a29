"""The stock TFX Tuner with our `tuner_fn`: which model has the best validation ELBO."""

from components.lazy_exports import lazy_exports

__all__ = ["LogRange", "SearchSpace", "vae_tuner"]

__getattr__ = lazy_exports(
    __name__, {"LogRange": "search", "SearchSpace": "search", "vae_tuner": "component"}
)
