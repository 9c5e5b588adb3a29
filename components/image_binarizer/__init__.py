"""Encoded images in, compact model-ready records out."""

from components.lazy_exports import lazy_exports

__all__ = ["ImageBinarizer", "ImageFormat"]

__getattr__ = lazy_exports(__name__, {"ImageBinarizer": "component", "ImageFormat": "image_format"})
