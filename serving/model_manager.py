"""Which versions of one model are loaded: watches a directory and switches without a gap."""

from __future__ import annotations

import enum
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc

from serving.monitoring import Metrics
from serving.servable import Servable
from serving.status import StatusError
from serving.version_directory import VersionDirectory, list_versions
from serving.version_policy import Unload, VersionPolicy, next_action, wanted_versions
from serving.warmup import warm_up

_LOG = logging.getLogger(__name__)


class State(enum.IntEnum):
    """The life of a version, with the numbers of tensorflow.serving.ModelVersionStatus.State."""

    START = 10
    LOADING = 20
    AVAILABLE = 30
    UNLOADING = 40
    END = 50


@dataclass(frozen=True)
class VersionStatus:
    """Where a version is in its life.

    Attributes:
      state: Its state; END for a version that was unloaded and for one that failed to load.
      error: Why it failed, or None.
    """

    state: State
    error: StatusError | None = None


@dataclass(eq=False)
class _Loaded:
    """A servable and the requests that hold it; both counters change under the manager's lock."""

    servable: Servable
    users: int = 0
    retired: bool = False


def not_found(model_name: str, version: int | None) -> StatusError:
    """Returns the error for a model or version that does not serve."""
    asked = f"Latest({model_name})" if version is None else f"Specific({model_name}, {version})"
    return StatusError(grpc.StatusCode.NOT_FOUND, f"Servable not found for request: {asked}")


def no_versions(model_name: str, base_path: Path) -> str:
    """Returns TF Serving's text for a base path without a version to serve."""
    return (
        f"No versions of servable {model_name} found under base path {base_path}. "
        "Did you forget to name your leaf directory as a number (eg. '/1/')?"
    )


class ModelManager:
    """Serves the versions under a base path that a policy picks; the newest one unless told.

    The order of loading is TF Serving's "availability preserving": an old version serves until a
    new one is loaded and warmed up, and a version that fails to load never displaces the only one
    that works. A failed version is tried again only when its `saved_model.pb` changes.

    Attributes:
      name: The model's name.
      base_path: The directory that holds its version directories.
    """

    def __init__(
        self,
        name: str,
        base_path: Path,
        poll_wait_seconds: float = 1.0,
        policy: VersionPolicy | None = None,
        metrics: Metrics | None = None,
    ):
        """Creates a manager that has loaded nothing yet.

        Args:
          name: The model's name.
          base_path: The directory that holds its version directories.
          poll_wait_seconds: Seconds between two looks at the directory by the watching thread.
          policy: Which versions to serve, or None for the newest.
          metrics: Counts loads and warm-ups, if given.
        """
        self.name = name
        self.base_path = base_path
        self._poll_wait_seconds = poll_wait_seconds
        self._metrics = metrics or Metrics()
        self._policy = policy or VersionPolicy()
        self._lock = threading.Lock()
        # One poll at a time: the watching thread's, or that of a reload.
        self._polling = threading.Lock()
        self._available: dict[int, _Loaded] = {}
        self._statuses: dict[int, VersionStatus] = {}
        self._failed: dict[int, tuple[int, int] | None] = {}
        self._stopping = threading.Event()
        self._watcher: threading.Thread | None = None
        self._last_complaint = ""

    @property
    def latest_version(self) -> int | None:
        """The version that answers requests which name none, or None."""
        with self._lock:
            return max(self._available, default=None)

    def statuses(self) -> dict[int, VersionStatus]:
        """Returns the status of every version seen so far, the highest version first."""
        with self._lock:
            return dict(sorted(self._statuses.items(), reverse=True))

    @contextmanager
    def acquire(self, version: int | None = None) -> Iterator[Servable]:
        """Lends a servable that stays loaded until it is given back.

        Args:
          version: A version, or None for the latest.

        Yields:
          The servable.

        Raises:
          StatusError: NOT_FOUND, if that version does not serve.
        """
        with self._lock:
            wanted = max(self._available, default=None) if version is None else version
            loaded = self._available.get(wanted)
            if loaded is None:
                raise not_found(self.name, version)
            loaded.users += 1
        try:
            yield loaded.servable
        finally:
            with self._lock:
                loaded.users -= 1
                last = loaded.retired and not loaded.users
            if last:
                self._close(loaded)

    def poll(self) -> None:
        """Looks at the directory once, and loads and unloads what follows from it.

        A base path that cannot be read changes nothing: it may be a file system that comes back.
        """
        with self._polling:
            if not self._stopping.is_set():
                self._poll()

    def set_policy(self, policy: VersionPolicy) -> None:
        """Serves other versions from now on, and returns when they are loaded.

        Args:
          policy: Which versions to serve.
        """
        with self._polling:
            self._policy = policy
        self.poll()

    def _poll(self) -> None:
        try:
            present = self._present()
        except OSError as error:
            self._complain(
                f"Could not find base path {self.base_path} for servable {self.name} "
                f"with error {error}"
            )
            return
        wanted = wanted_versions(self._policy, present)
        self._complain_about_absent(wanted)
        while not self._stopping.is_set():
            serving = set(self._available)
            loadable = {
                version for version in wanted - serving if not self._has_failed(present[version])
            }
            action = next_action(wanted, serving, loadable)
            if action is None:
                return
            if isinstance(action, Unload):
                self._retire({action.version})
            else:
                self._load(present[action.version])

    def _present(self) -> dict[int, VersionDirectory]:
        """Lists what can serve; a version to be loaded must be complete, one that serves not."""
        return {
            version: directory
            for version, directory in list_versions(self.base_path).items()
            if directory.fingerprint or version in self._available
        }

    def _complain_about_absent(self, wanted: set[int]) -> None:
        if not wanted:
            self._complain(no_versions(self.name, self.base_path))
            return
        absent = sorted(set(self._policy.specific.versions) - wanted)
        if absent:
            self._complain(
                f"Versions {absent} of servable {self.name}, which its version policy asks for, "
                f"were not found under base path {self.base_path}."
            )

    def start_watching(self) -> None:
        """Polls in a thread until `stop`."""
        self._watcher = threading.Thread(target=self._watch, name=f"watch-{self.name}", daemon=True)
        self._watcher.start()

    def stop(self) -> None:
        """Stops watching and unloads everything; a request still running keeps its servable."""
        self._stopping.set()
        if self._watcher is not None:
            self._watcher.join()
        with self._polling:
            self._retire(set(self._available))

    def _watch(self) -> None:
        while not self._stopping.wait(self._poll_wait_seconds):
            try:
                self.poll()
            except Exception:
                # A thread that dies here would leave a server that never sees another version.
                _LOG.exception("Looking for versions of %s failed; trying again.", self.name)

    def _has_failed(self, directory: VersionDirectory) -> bool:
        version = directory.version
        return version in self._failed and self._failed[version] == directory.fingerprint

    def _load(self, directory: VersionDirectory) -> None:
        """Loads and warms up a version, which then serves or has failed."""
        version = directory.version
        self._failed.pop(version, None)
        self._set_status(version, VersionStatus(State.START))
        self._set_status(version, VersionStatus(State.LOADING))
        try:
            servable = self._ready_servable(directory)
        except Exception as error:
            if not isinstance(error, StatusError):
                error = StatusError(grpc.StatusCode.UNKNOWN, f"{type(error).__name__}: {error}")
            self._failed[version] = directory.fingerprint
            self._set_status(version, VersionStatus(State.END, error))
            _LOG.warning("Version %d of %s cannot be loaded: %s", version, self.name, error.message)
            return
        with self._lock:
            self._available[version] = _Loaded(servable)
            self._statuses[version] = VersionStatus(State.AVAILABLE)
        _LOG.info("Version %d of %s is available.", version, self.name)

    def _ready_servable(self, directory: VersionDirectory) -> Servable:
        """Returns a servable that is warm, and counts what that took."""
        path = str(directory.path)
        began = time.monotonic()
        try:
            servable = Servable(directory.path, directory.version)
        except Exception:
            self._metrics.observe_load(path, False, time.monotonic() - began)
            raise
        loaded = time.monotonic()
        self._metrics.observe_load(path, True, loaded - began)
        try:
            if warm_up(servable):
                self._metrics.observe_warmup(path, "OK", time.monotonic() - loaded)
        except Exception as error:
            code = error.code.name if isinstance(error, StatusError) else "UNKNOWN"
            self._metrics.observe_warmup(path, code, time.monotonic() - loaded)
            servable.close()
            raise
        return servable

    def _retire(self, versions: set[int]) -> None:
        """Takes versions out of service; the last request that holds one closes it."""
        with self._lock:
            retired = [self._available.pop(version) for version in versions]
            for loaded in retired:
                loaded.retired = True
                self._statuses[loaded.servable.version] = VersionStatus(State.UNLOADING)
            unused = [loaded for loaded in retired if not loaded.users]
        for loaded in unused:
            self._close(loaded)

    def _close(self, loaded: _Loaded) -> None:
        loaded.servable.close()
        version = loaded.servable.version
        with self._lock:
            # The same version may be loaded again by now, after a roll-back.
            if self._statuses[version].state == State.UNLOADING:
                self._statuses[version] = VersionStatus(State.END)
        _LOG.info("Version %d of %s is unloaded.", version, self.name)

    def _set_status(self, version: int, status: VersionStatus) -> None:
        with self._lock:
            self._statuses[version] = status

    def _complain(self, text: str) -> None:
        """Logs a condition when it begins, not once a second while it lasts."""
        if text != self._last_complaint:
            self._last_complaint = text
            _LOG.warning("%s", text)
