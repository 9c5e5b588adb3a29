"""A fingerprint of source code, so that edited code is never a cache hit.

TFX keys its cache on inputs, parameters and the executor's class path, not on the executor's
source. Every component of this project therefore carries this fingerprint as a parameter.
"""

import hashlib
from importlib import util
from pathlib import Path

from components.errors import InputError


def code_fingerprint(*packages: str) -> str:
    """Hashes the Python sources of packages or modules, without importing them.

    Args:
      *packages: Import names, for instance `components.trainer`. A package stands for every
        `.py` file beneath it.

    Returns:
      Sixteen hexadecimal digits that change when any of the sources changes.

    Raises:
      InputError: If a name cannot be found.
    """
    digest = hashlib.sha256()
    for package in sorted(packages):
        try:
            spec = util.find_spec(package)
        except ModuleNotFoundError:  # The parent package is missing.
            spec = None
        if spec is None or spec.origin is None:
            raise InputError(f"No source found for {package!r}; is it an importable package?")
        origin = Path(spec.origin)
        is_package = spec.submodule_search_locations is not None
        files = sorted(origin.parent.rglob("*.py")) if is_package else [origin]
        for file in files:
            digest.update(f"{package}/{file.relative_to(origin.parent)}\0".encode())
            digest.update(file.read_bytes() + b"\0")
    return digest.hexdigest()[:16]
