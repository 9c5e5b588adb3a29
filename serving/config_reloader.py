"""Changes what a server serves, as a whole or not at all."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping

import grpc
from tensorflow_serving.config import model_server_config_pb2

from serving.model_config import ModelSettings, model_settings
from serving.model_manager import ModelManager, State, no_versions
from serving.model_registry import Labels, ModelRegistry
from serving.monitoring import Metrics
from serving.status import StatusError, invalid_argument
from serving.version_directory import list_versions
from serving.version_policy import wanted_versions


class ConfigReloader:
    """Keeps a registry in step with the configuration that was given last.

    One change happens at a time. Models that are new, or that moved to another base path, are
    loaded before anything changes for the requests; the others are not touched, so a reload never
    fails a request to a model that stays.
    """

    def __init__(
        self,
        registry: ModelRegistry,
        poll_wait_seconds: float,
        allow_labels_for_unavailable: bool = False,
        metrics: Metrics | None = None,
    ):
        """Creates a reloader for a registry that is still empty.

        Args:
          registry: What requests are answered from.
          poll_wait_seconds: Seconds between two looks for new versions; 0 looks once.
          allow_labels_for_unavailable: Whether a label that is not in use may be given to a
            version that is not available.
          metrics: Counts loads and warm-ups, if given.
        """
        self._registry = registry
        self._poll_wait_seconds = poll_wait_seconds
        self._allow_labels_for_unavailable = allow_labels_for_unavailable
        self._metrics = metrics
        self._lock = threading.Lock()
        self._config = model_server_config_pb2.ModelServerConfig()
        self._models: dict[str, ModelSettings] = {}
        self._stopped = False

    @property
    def config(self) -> model_server_config_pb2.ModelServerConfig:
        """The configuration that is in effect; not to be changed."""
        return self._config

    def begin(self, config: model_server_config_pb2.ModelServerConfig) -> None:
        """Registers the models that a server starts with; loading them is up to the caller.

        Args:
          config: The configuration.

        Raises:
          StatusError: It is not valid.
        """
        with self._lock:
            models = model_settings(config)
            labels = self._checked_labels(models)
            self._registry.replace(
                {name: self._manager(settings) for name, settings in models.items()}, labels
            )
            self._remember(config, models)

    def watch(self) -> None:
        """Looks for new versions from now on."""
        with self._lock:
            self._watch(self._registry.managers.values())

    def reload(self, config: model_server_config_pb2.ModelServerConfig) -> None:
        """Serves what a configuration says, when its new models are loaded.

        Args:
          config: The configuration, as a whole: a model that it leaves out is unloaded.

        Raises:
          StatusError: It is not valid, or a new model cannot be loaded; then nothing has changed.
        """
        with self._lock:
            if self._stopped:
                raise StatusError(grpc.StatusCode.UNAVAILABLE, "The server is shutting down.")
            models = model_settings(config, self._models)
            labels = self._checked_labels(models)
            changed = [
                settings
                for settings in models.values()
                if not self._has(settings) or settings.policy != self._models[settings.name].policy
            ]
            for settings in changed:
                _check_has_versions(settings)
            new = {
                settings.name: self._manager(settings)
                for settings in changed
                if not self._has(settings)
            }
            _load_all(new)

            old = self._registry.managers
            current = {name: new.get(name) or old[name] for name in models}
            self._registry.replace(current, labels)
            self._remember(config, models)
            self._watch(new.values())
            for name, manager in old.items():
                if current.get(name) is not manager:
                    manager.stop()
            for settings in changed:
                if settings.name not in new:
                    current[settings.name].set_policy(settings.policy)

    def stop(self) -> None:
        """Unloads every model; later reloads are refused."""
        # Before the lock, so that reloads which wait for it are refused.
        self._stopped = True
        with self._lock:
            for manager in self._registry.managers.values():
                manager.stop()

    def _manager(self, settings: ModelSettings) -> ModelManager:
        return ModelManager(
            settings.name,
            settings.base_path,
            self._poll_wait_seconds,
            settings.policy,
            self._metrics,
        )

    def _has(self, settings: ModelSettings) -> bool:
        known = self._models.get(settings.name)
        return known is not None and known.base_path == settings.base_path

    def _remember(
        self,
        config: model_server_config_pb2.ModelServerConfig,
        models: dict[str, ModelSettings],
    ) -> None:
        self._config = model_server_config_pb2.ModelServerConfig()
        self._config.CopyFrom(config)
        self._models = models

    def _watch(self, managers: Iterable[ModelManager]) -> None:
        if self._poll_wait_seconds:
            for manager in managers:
                manager.start_watching()

    def _checked_labels(self, models: Mapping[str, ModelSettings]) -> Labels:
        for settings in models.values():
            statuses = self._registry.statuses(settings.name)
            used = self._registry.labels.get(settings.name, {})
            for label, version in settings.labels.items():
                if version in statuses and statuses[version].state == State.AVAILABLE:
                    continue
                if self._allow_labels_for_unavailable and used.get(label, version) == version:
                    continue
                raise StatusError(
                    grpc.StatusCode.FAILED_PRECONDITION,
                    f"Request to assign label to version {version} of model {settings.name}, "
                    "which is not currently available for inference",
                )
        return {settings.name: settings.labels for settings in models.values()}


def _check_has_versions(settings: ModelSettings) -> None:
    """Refuses what TF Serving would wait for, and block every later reload meanwhile."""
    try:
        found = list_versions(settings.base_path)
    except OSError as error:
        raise invalid_argument(
            f"Could not find base path {settings.base_path} for servable {settings.name} "
            f"with error {error}"
        ) from error
    complete = [version for version, directory in found.items() if directory.fingerprint]
    if not wanted_versions(settings.policy, complete):
        raise StatusError(
            grpc.StatusCode.FAILED_PRECONDITION, no_versions(settings.name, settings.base_path)
        )


def _load_all(managers: Mapping[str, ModelManager]) -> None:
    failures = []
    try:
        for manager in managers.values():
            manager.poll()
            if manager.latest_version is None:
                failures.append(_failure(manager))
        if failures:
            raise StatusError(
                grpc.StatusCode.UNKNOWN,
                f"{len(failures)} model(s) did not become available: {{{''.join(failures)}}}",
            )
    except BaseException:
        for manager in managers.values():
            manager.stop()
        raise


def _failure(manager: ModelManager) -> str:
    for version, status in manager.statuses().items():
        if status.error is not None:
            return (
                f"{{{{name: {manager.name} version: {version}}} due to error: "
                f"{status.error.code.name}: {status.error.message}}}, "
            )
    return f"{{{{name: {manager.name}}}}}, "
