"""A blessed decoder becomes a new served version, and its model the champion."""

from components.lazy_exports import lazy_exports

__all__ = ["DecoderPusher"]

__getattr__ = lazy_exports(__name__, {"DecoderPusher": "component"})
