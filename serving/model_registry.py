"""The models of a server, found by the ModelSpec of a request."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager

from tensorflow_serving.apis import model_pb2

from serving.model_manager import ModelManager, VersionStatus, not_found
from serving.servable import Servable
from serving.status import invalid_argument


class ModelRegistry:
    """Looks up servables and version statuses by model name."""

    def __init__(self, managers: Iterable[ModelManager]):
        self._managers = {manager.name: manager for manager in managers}

    def acquire(self, spec: model_pb2.ModelSpec) -> AbstractContextManager[Servable]:
        """Lends the servable that a ModelSpec asks for.

        Args:
          spec: A name, and a version, a version label, or neither for the latest.

        Returns:
          A context manager; entering it raises StatusError NOT_FOUND if that version does not
          serve.

        Raises:
          StatusError: No name, an unknown name, or a version label: this server assigns none.
        """
        if not spec.name:
            raise invalid_argument("ModelSpec has no name specified.")
        choice = spec.WhichOneof("version_choice")
        if choice == "version_label":
            raise invalid_argument(f"Unrecognized servable version label: {spec.version_label}")
        version = spec.version.value if choice == "version" else None
        if spec.name not in self._managers:
            raise not_found(spec.name, version)
        return self._managers[spec.name].acquire(version)

    def statuses(self, name: str) -> dict[int, VersionStatus]:
        """Returns the statuses of a model's versions, the highest first, if it is known."""
        return self._managers[name].statuses() if name in self._managers else {}
