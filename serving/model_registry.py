"""The models of a server, found by the ModelSpec of a request."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from tensorflow_serving.apis import model_pb2

from serving.model_manager import ModelManager, VersionStatus, not_found
from serving.servable import Servable
from serving.status import StatusError, invalid_argument

Labels = Mapping[str, Mapping[str, int]]


@dataclass(frozen=True)
class _Served:
    """What is served at one moment; replaced as a whole, so a request never sees a mixture."""

    managers: Mapping[str, ModelManager]
    labels: Labels
    # Models that a reload removed; only their statuses are of interest.
    removed: Mapping[str, ModelManager]


class ModelRegistry:
    """Looks up servables and version statuses by model name."""

    def __init__(self, managers: Iterable[ModelManager] = ()):
        self._served = _Served({manager.name: manager for manager in managers}, {}, {})

    @property
    def managers(self) -> Mapping[str, ModelManager]:
        """The models by name; not to be changed."""
        return self._served.managers

    @property
    def labels(self) -> Labels:
        """Versions by model name and label; not to be changed."""
        return self._served.labels

    def replace(self, managers: Mapping[str, ModelManager], labels: Labels) -> None:
        """Serves other models from now on; stopping those that are gone is up to the caller.

        Args:
          managers: The models by name.
          labels: Versions by model name and label.
        """
        removed = {
            name: manager
            for name, manager in {**self._served.removed, **self._served.managers}.items()
            if name not in managers
        }
        self._served = _Served(managers, labels, removed)

    @contextmanager
    def acquire(self, spec: model_pb2.ModelSpec) -> Iterator[Servable]:
        """Lends the servable that a ModelSpec asks for.

        Args:
          spec: A name, and a version, a version label, or neither for the latest.

        Yields:
          The servable, which stays loaded until it is given back.

        Raises:
          StatusError: No name, an unknown name or label, or a version that does not serve.
        """
        if not spec.name:
            raise invalid_argument("ModelSpec has no name specified.")
        with ExitStack() as held:
            yield self._borrow(spec, held)

    def statuses(self, name: str) -> dict[int, VersionStatus]:
        """Returns the statuses of a model's versions, the highest first.

        Args:
          name: A model; one that was removed is remembered, as in TF Serving.

        Returns:
          Statuses by version; none for a model that was never served.
        """
        served = self._served
        manager = served.managers.get(name) or served.removed.get(name)
        return manager.statuses() if manager is not None else {}

    def _borrow(self, spec: model_pb2.ModelSpec, held: ExitStack) -> Servable:
        while True:
            served = self._served
            try:
                version = _version(spec, served.labels)
                if spec.name not in served.managers:
                    raise not_found(spec.name, version)
                return held.enter_context(served.managers[spec.name].acquire(version))
            except StatusError:
                # A reload between looking up and borrowing may have stopped that very manager.
                if served is self._served:
                    raise


def _version(spec: model_pb2.ModelSpec, labels: Labels) -> int | None:
    choice = spec.WhichOneof("version_choice")
    if choice == "version_label":
        version = labels.get(spec.name, {}).get(spec.version_label)
        if version is None:
            raise invalid_argument(f"Unrecognized servable version label: {spec.version_label}")
        return version
    return spec.version.value if choice == "version" else None
