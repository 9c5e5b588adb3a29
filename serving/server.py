"""A local model server with TF Serving's gRPC API: `python -m serving.server --help`.

It stands in for tensorflow_model_server where that binary is absent. Nothing heavy is imported
until a server starts, so importing this module and asking for help are instant.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from components.errors import InputError
from serving.listening import address, check_can_listen, check_can_listen_on_socket
from serving.server_flags import DEFAULT_HOST, DEFAULT_MODEL_NAME, flag_parser, server_options
from serving.server_options import ServerOptions

if TYPE_CHECKING:
    import grpc
    from tensorflow_serving.config import model_server_config_pb2

    from serving.config_file_watcher import ConfigFileWatcher
    from serving.config_reloader import ConfigReloader
    from serving.grpc_endpoint import GrpcEndpoint
    from serving.model_manager import ModelManager
    from serving.model_registry import ModelRegistry
    from serving.monitoring import Metrics
    from serving.rest_server import RestServer

# Shorter than the 30 s that Kubernetes and Docker Swarm wait between SIGTERM and SIGKILL.
DRAIN_SECONDS = 20.0


class ModelServer:
    """Serves models from base paths, and their newer versions as they appear.

    A server is started once and stopped once. As with TF Serving, its port opens when every model
    has a version that is loaded and warmed up, so a client that can connect gets answers.

    Example:
      >>> with ModelServer("decoder", "serving_model/decoder") as server:
      ...     print(server.port)
    """

    def __init__(
        self,
        model_name: str | None = None,
        model_base_path: str | os.PathLike[str] | None = None,
        port: int = 0,
        host: str = DEFAULT_HOST,
        poll_wait_seconds: float = 1.0,
        options: ServerOptions | None = None,
    ):
        """Describes a server; nothing is opened or loaded before `start`.

        Args:
          model_name: The name that requests must use; None with a `model_config_file`.
          model_base_path: A local directory with one numbered directory a version; None with a
            `model_config_file`.
          port: The port to listen on; 0 lets the system choose a free one.
          host: The address to listen on; `0.0.0.0` for all.
          poll_wait_seconds: Seconds between two looks for new versions; 0 to look only once.
          options: Everything else, or None for the defaults.

        Raises:
          InputError: Both or neither of one model and a configuration file are given, the name is
            empty, or the poll interval negative.
        """
        self._options = options or ServerOptions()
        if self._options.model_config_file is not None:
            if model_name is not None or model_base_path is not None:
                raise InputError(
                    "A --model_config_file names the models; leave out --model_name and "
                    "--model_base_path, or the file."
                )
        elif model_base_path is None:
            raise InputError(
                "There is nothing to serve; give a --model_base_path or a --model_config_file."
            )
        elif not model_name:
            raise InputError("The model name is empty; give one with --model_name.")
        if poll_wait_seconds < 0:
            raise InputError(
                f"The poll interval is {poll_wait_seconds:g} s; give more, or 0 to look only once."
            )
        self._model_name = model_name
        self._base_path = (
            None if model_base_path is None else Path(os.path.abspath(model_base_path))
        )
        self._requested_port = port
        self._host = host
        self._poll_wait_seconds = poll_wait_seconds
        self._registry: ModelRegistry | None = None
        self._reloader: ConfigReloader | None = None
        self._file_watcher: ConfigFileWatcher | None = None
        self._metrics: Metrics | None = None
        self._grpc: GrpcEndpoint | None = None
        self._rest: RestServer | None = None
        # Held by `start` and by the teardown, so that a signal during loading cannot interleave
        # them.
        self._lifecycle = threading.Lock()
        self._stopping = threading.Event()
        self._stopped = threading.Event()

    @property
    def port(self) -> int:
        """The port that the server listens on.

        Raises:
          RuntimeError: The server has not started.
        """
        if self._grpc is None:
            raise RuntimeError("The server has not started, so it has no port yet.")
        return self._grpc.port

    @property
    def target(self) -> str:
        """The address for clients, `host:port`."""
        return address(self._host, self.port)

    @property
    def rest_target(self) -> str | None:
        """The address of the REST API, `host:port`; None if there is none."""
        return None if self._rest is None else address(self._host, self._rest.port)

    @property
    def registry(self) -> ModelRegistry:
        """The models, for another API to answer from.

        Raises:
          RuntimeError: The server has not started.
        """
        if self._registry is None:
            raise RuntimeError("The server has not started, so it has no models yet.")
        return self._registry

    @property
    def versions(self) -> dict[str, int | None]:
        """The version of each model that answers requests which name none."""
        managers = self._registry.managers if self._registry is not None else {}
        return {name: manager.latest_version for name, manager in managers.items()}

    @property
    def version(self) -> int | None:
        """The version that serves; None if there is none, or more than one model."""
        versions = list(self.versions.values())
        return versions[0] if len(versions) == 1 else None

    def start(
        self, timeout: float | None = None, on_wait: Callable[[Path], object] = lambda path: None
    ) -> bool:
        """Loads every model, then opens the port.

        A base path without a version is waited for, as TF Serving does.

        Args:
          timeout: Seconds to wait for first versions to appear, or None to wait until `stop`.
          on_wait: Called once with each base path that has to be waited for.

        Returns:
          True once the server serves; False if `stop` was called before that.

        Raises:
          InputError: The configuration is not valid; a base path does not exist, holds no version
            in time, or holds one that cannot be loaded; or the port is in use or the address is not
            this machine's.
        """
        with self._lifecycle:
            if self._registry is not None or self._stopping.is_set():
                raise RuntimeError("A ModelServer starts once; create another one.")
            # Told before the models are loaded, which may take a while.
            config = self._read_config()
            check_can_listen(self._host, self._requested_port)
            if self._options.rest_api_port:
                check_can_listen(self._host, self._options.rest_api_port, "--rest_api_port")
            if self._options.grpc_socket_path is not None:
                check_can_listen_on_socket(os.fspath(self._options.grpc_socket_path))
            credentials = self._credentials()
            monitoring_path = self._monitoring_path()

            from serving.config_reloader import ConfigReloader
            from serving.model_registry import ModelRegistry
            from serving.monitoring import Metrics

            self._metrics = Metrics()
            self._registry = ModelRegistry()
            self._reloader = ConfigReloader(
                self._registry,
                self._poll_wait_seconds,
                self._options.allow_version_labels_for_unavailable_models,
                self._metrics,
            )
            try:
                self._begin(config)
                self._load_first_versions(timeout, on_wait)
                if self._stopping.is_set():
                    return False
                # Before a reload can arrive, which watches its own models.
                self._reloader.watch()
                self._open_ports(credentials, monitoring_path)
            except BaseException:
                self._reloader.stop()
                raise
            self._watch_config_file()
            return True

    def wait(self, timeout: float | None = None) -> bool:
        """Waits until the server has stopped.

        Args:
          timeout: Seconds to wait at most, or None.

        Returns:
          Whether it has stopped.
        """
        return self._stopped.wait(timeout)

    def stop(self, grace: float | None = None) -> None:
        """Refuses new requests, lets the running ones finish, and unloads the models.

        Args:
          grace: Seconds that running requests get; None cancels them at once.
        """
        self._stopping.set()
        with self._lifecycle:
            if self._stopped.is_set():
                return
            # Both refuse new requests first, and then drain at the same time.
            drained = self._grpc.stop(grace) if self._grpc is not None else None
            if self._rest is not None:
                self._rest.stop(grace)
            if drained is not None:
                drained.wait()
            if self._file_watcher is not None:
                self._file_watcher.stop()
            if self._reloader is not None:
                self._reloader.stop()
            self._stopped.set()

    def __enter__(self) -> ModelServer:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop(grace=DRAIN_SECONDS)

    def _read_config(self) -> model_server_config_pb2.ModelServerConfig:
        from tensorflow_serving.config import model_server_config_pb2

        from serving.model_config import model_settings, one_model
        from serving.status import StatusError
        from serving.text_proto import read_text_proto

        path = self._options.model_config_file
        if path is None:
            if not self._base_path.is_dir():
                raise InputError(
                    f"The model base path {self._base_path} is not a directory; "
                    "push a model there first, or correct --model_base_path."
                )
            return one_model(self._model_name, self._base_path)
        config = read_text_proto(path, model_server_config_pb2.ModelServerConfig)
        if config.WhichOneof("config") != "model_config_list":
            raise InputError(f"{path} has no model_config_list; add one.")
        try:
            models = model_settings(config)
        except StatusError as error:
            raise InputError(f"{error.message}; correct {path}.") from error
        for model in models.values():
            if not model.base_path.is_dir():
                raise InputError(
                    f"The base path {model.base_path} of model {model.name} is not a directory; "
                    f"push a model there first, or correct {path}."
                )
        return config

    def _credentials(self) -> grpc.ServerCredentials | None:
        if self._options.ssl_config_file is None:
            return None
        from serving.tls import server_credentials

        return server_credentials(self._options.ssl_config_file)

    def _monitoring_path(self) -> str | None:
        """Returns the path of the Prometheus page, or None for no page."""
        file = self._options.monitoring_config_file
        if file is None:
            return None
        from serving.config_messages import MonitoringConfig
        from serving.monitoring import PROMETHEUS_PATH
        from serving.text_proto import read_text_proto

        prometheus = read_text_proto(file, MonitoringConfig).prometheus_config
        path = prometheus.path or PROMETHEUS_PATH
        if not path.startswith("/"):
            raise InputError(f"The path {path} in {file} is not absolute; begin it with a slash.")
        return path if prometheus.enable else None

    def _begin(self, config: model_server_config_pb2.ModelServerConfig) -> None:
        from serving.status import StatusError

        try:
            self._reloader.begin(config)
        except StatusError as error:
            # The only check that is left: labels, when nothing is loaded yet.
            raise InputError(
                f"{error.message}; start with --allow_version_labels_for_unavailable_models, or "
                "assign the label when the version is loaded."
            ) from error

    def _load_first_versions(
        self, timeout: float | None, on_wait: Callable[[Path], object]
    ) -> None:
        deadline = None if timeout is None else time.monotonic() + timeout
        waiting = list(self._registry.managers.values())
        told: set[Path] = set()
        while not self._stopping.is_set():
            for manager in waiting:
                manager.poll()
                _check_no_failure(manager)
            waiting = [manager for manager in waiting if manager.latest_version is None]
            if not waiting:
                return
            expired = deadline is not None and time.monotonic() >= deadline
            if expired or not self._poll_wait_seconds:
                raise InputError(
                    f"The model base path {waiting[0].base_path} holds no version; push a model "
                    "there, in a directory whose name is a number."
                )
            for manager in waiting:
                if manager.base_path not in told:
                    told.add(manager.base_path)
                    on_wait(manager.base_path)
            self._stopping.wait(self._poll_wait_seconds)

    def _watch_config_file(self) -> None:
        if not self._options.model_config_file_poll_wait_seconds:
            return
        from serving.config_file_watcher import ConfigFileWatcher

        self._file_watcher = ConfigFileWatcher(
            Path(os.path.abspath(self._options.model_config_file)),
            self._reloader,
            self._options.model_config_file_poll_wait_seconds,
        )
        self._file_watcher.start()

    def _open_ports(
        self, credentials: grpc.ServerCredentials | None, monitoring_path: str | None
    ) -> None:
        from serving.grpc_endpoint import GrpcEndpoint
        from serving.rest_server import RestServer

        self._grpc = GrpcEndpoint(
            self._registry,
            self._reloader,
            self._metrics,
            self._host,
            self._requested_port,
            self._options,
            credentials,
        )
        if self._options.rest_api_port is None:
            return
        self._rest = RestServer(
            self._registry, self._host, self._options.rest_api_port, monitoring_path, self._metrics
        )
        try:
            self._rest.start()
        except InputError:
            self._rest = None
            self._grpc.stop(None).wait()
            raise


def _check_no_failure(manager: ModelManager) -> None:
    if manager.latest_version is not None:
        return
    for version, status in manager.statuses().items():
        if status.error is not None:
            reason = " ".join(status.error.message.split())
            raise InputError(
                f"Version {version} of model {manager.name} in {manager.base_path} "
                f"cannot be loaded: {reason}"
            )


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a server until SIGTERM or SIGINT; a second signal ends it without waiting for requests.

    Args:
      arguments: The command line, or None for the process's own.

    Returns:
      The exit code: 0 after a signal, 1 if the server cannot start.
    """
    flags = flag_parser().parse_args(arguments)
    _silence_libraries()
    name = flags.model_name
    if name is None and flags.model_config_file is None:
        name = DEFAULT_MODEL_NAME
    try:
        options = server_options(flags)
        server = ModelServer(
            name,
            flags.model_base_path,
            flags.port,
            flags.host,
            flags.file_system_poll_wait_seconds,
            options,
        )
        _stop_on_signals(server)
        if server.start(on_wait=_say_waiting):
            print(_serving_line(server, options), flush=True)
            server.wait()
    except InputError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    return 0


def _serving_line(server: ModelServer, options: ServerOptions) -> str:
    models = ", ".join(f"{name} version {version}" for name, version in server.versions.items())
    protocol = "gRPC" if options.ssl_config_file is None else "gRPC, TLS"
    line = f"Serving {models or 'no model'} on {server.target} ({protocol})"
    if options.grpc_socket_path is not None:
        line += f", unix:{options.grpc_socket_path} ({protocol})"
    if server.rest_target is not None:
        line += f", http://{server.rest_target} (REST)"
    return line


def _say_waiting(base_path: Path) -> None:
    """Says what an otherwise silent server waits for."""
    print(
        f"Waiting for a first version in {base_path}: a folder that is named by a number and "
        "holds a SavedModel.",
        flush=True,
    )


def _silence_libraries() -> None:
    """Leaves standard error to this program; must run before TensorFlow and gRPC are imported."""
    # Level 3 because TensorFlow logs the absence of a GPU as an error. Errors of the runtime are
    # not lost: they arrive as exceptions.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    warnings.simplefilter("ignore", FutureWarning)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    logging.getLogger("tensorflow").setLevel(logging.ERROR)


def _stop_on_signals(server: ModelServer) -> None:
    """Stops a server on SIGTERM or SIGINT, from a thread.

    A handler would run between any two instructions of the main thread, which may just hold the
    lock that stopping needs. Threads started from here on inherit the blocked signals.
    """
    signals = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)

    def stop_then_quit() -> None:
        signal.sigwait(signals)
        threading.Thread(target=server.stop, args=(DRAIN_SECONDS,), daemon=True).start()
        os._exit(128 + signal.sigwait(signals))

    threading.Thread(target=stop_then_quit, name="signals", daemon=True).start()


if __name__ == "__main__":
    sys.exit(main())
