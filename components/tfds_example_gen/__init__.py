"""TFDS data set or image folder -> `Examples`: encoded images, labels and names."""

from components.lazy_exports import lazy_exports

__all__ = ["DataSource", "TfdsExampleGen"]

__getattr__ = lazy_exports(__name__, {"DataSource": "source", "TfdsExampleGen": "component"})
