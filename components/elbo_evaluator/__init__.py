"""The gate: what a candidate is scored on, and the rules that it must hold."""

from components.lazy_exports import lazy_exports

__all__ = ["ElboEvaluator", "GateConfig"]

__getattr__ = lazy_exports(__name__, {"ElboEvaluator": "component", "GateConfig": "config"})
