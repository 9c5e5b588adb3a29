"""The full model in, its decoder alone out."""

from components.lazy_exports import lazy_exports

__all__ = ["DecoderExporter"]

__getattr__ = lazy_exports(__name__, {"DecoderExporter": "component"})
