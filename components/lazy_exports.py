"""Packages whose names are imported on first use, because importing TFX takes seconds."""

from collections.abc import Callable
from importlib import import_module
from typing import Any


def lazy_exports(package: str, exports: dict[str, str]) -> Callable[[str], Any]:
    """A module-level `__getattr__` (PEP 562) that imports each name from its own module.

    Args:
      package: The package's `__name__`.
      exports: Exported name to the module, within the package, that defines it.
    """

    def module_getattr(name: str) -> Any:
        if name not in exports:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(f"{package}.{exports[name]}"), name)

    return module_getattr
