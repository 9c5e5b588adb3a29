"""The stock TFX Evaluator with label-free VAE metrics, and the gate's configuration."""

from components.lazy_exports import lazy_exports

__all__ = ["GateConfig", "elbo_evaluator"]

__getattr__ = lazy_exports(__name__, {"GateConfig": "config", "elbo_evaluator": "component"})
