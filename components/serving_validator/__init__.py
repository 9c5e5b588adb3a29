"""A decoder that was really served and queried, or a reason why not."""

from components.lazy_exports import lazy_exports

__all__ = ["ServingValidator"]

__getattr__ = lazy_exports(__name__, {"ServingValidator": "component"})
