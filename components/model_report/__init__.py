"""One HTML page of pictures and numbers for a run."""

from components.lazy_exports import lazy_exports

__all__ = ["ModelReport"]

__getattr__ = lazy_exports(__name__, {"ModelReport": "component"})
