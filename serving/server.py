"""A local model server with TF Serving's gRPC API: `python -m serving.server --help`.

It stands in for tensorflow_model_server where that binary is absent. Nothing heavy is imported
until a server starts, so importing this module and asking for help are instant.
"""

from __future__ import annotations

import argparse
import errno
import logging
import os
import signal
import socket
import sys
import threading
import time
import warnings
from collections.abc import Sequence
from concurrent import futures
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from components.errors import InputError

if TYPE_CHECKING:
    import grpc

    from serving.model_manager import ModelManager

DEFAULT_PORT = 8500
DEFAULT_HOST = "127.0.0.1"
# Shorter than the 30 s that Kubernetes and Docker Swarm wait between SIGTERM and SIGKILL.
DRAIN_SECONDS = 20.0

_INT32_MAX = 2**31 - 1


class ModelServer:
    """Serves the newest version under a base path, and each newer one as it appears.

    A server is started once and stopped once. As with TF Serving, its port opens when the first
    version is loaded and warmed up, so a client that can connect gets answers.

    Example:
      >>> with ModelServer("decoder", "serving_model/decoder") as server:
      ...     print(server.port)
    """

    def __init__(
        self,
        model_name: str,
        model_base_path: str | os.PathLike[str],
        port: int = 0,
        host: str = DEFAULT_HOST,
        poll_wait_seconds: float = 1.0,
    ):
        """Describes a server; nothing is opened or loaded before `start`.

        Args:
          model_name: The name that requests must use.
          model_base_path: A local directory with one numbered directory a version.
          port: The port to listen on; 0 lets the system choose a free one.
          host: The address to listen on; `0.0.0.0` for all.
          poll_wait_seconds: Seconds between two looks for new versions; 0 to look only once.

        Raises:
          InputError: The name is empty or the poll interval negative.
        """
        if not model_name:
            raise InputError("The model name is empty; give one with --model_name.")
        if poll_wait_seconds < 0:
            raise InputError(
                f"The poll interval is {poll_wait_seconds:g} s; give more, or 0 to look only once."
            )
        self._model_name = model_name
        self._base_path = Path(os.path.abspath(model_base_path))
        self._requested_port = port
        self._host = host
        self._poll_wait_seconds = poll_wait_seconds
        self._manager: ModelManager | None = None
        self._server: grpc.Server | None = None
        self._workers: futures.Executor | None = None
        self._port: int | None = None
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
        if self._port is None:
            raise RuntimeError("The server has not started, so it has no port yet.")
        return self._port

    @property
    def target(self) -> str:
        """The address for clients, `host:port`."""
        return _address(self._host, self.port)

    @property
    def version(self) -> int | None:
        """The version that serves, or None."""
        return self._manager.latest_version if self._manager is not None else None

    def start(self, timeout: float | None = None) -> bool:
        """Loads the newest version, then opens the port.

        A base path without a version is waited for, as TF Serving does.

        Args:
          timeout: Seconds to wait for a first version to appear, or None to wait until `stop`.

        Returns:
          True once the server serves; False if `stop` was called before that.

        Raises:
          InputError: The base path does not exist, holds no version in time, or holds one that
            cannot be loaded; or the port is in use or the address is not this machine's.
        """
        with self._lifecycle:
            if self._manager is not None or self._stopping.is_set():
                raise RuntimeError("A ModelServer starts once; create another one.")
            if not self._base_path.is_dir():
                raise InputError(
                    f"The model base path {self._base_path} is not a directory; "
                    "push a model there first, or correct --model_base_path."
                )
            # Told before the model is loaded, which may take a while.
            _check_can_listen(self._host, self._requested_port)

            from serving.model_manager import ModelManager

            self._manager = ModelManager(self._model_name, self._base_path, self._poll_wait_seconds)
            try:
                self._load_first_version(timeout)
                if self._stopping.is_set():
                    return False
                self._open_port()
            except BaseException:
                self._manager.stop()
                raise
            if self._poll_wait_seconds:
                self._manager.start_watching()
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
        """Refuses new requests, lets the running ones finish, and unloads the model.

        Args:
          grace: Seconds that running requests get; None cancels them at once.
        """
        self._stopping.set()
        with self._lifecycle:
            if self._stopped.is_set():
                return
            if self._server is not None:
                self._server.stop(grace).wait()
                self._workers.shutdown(wait=False)
            if self._manager is not None:
                self._manager.stop()
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

    def _load_first_version(self, timeout: float | None) -> None:
        deadline = None if timeout is None else time.monotonic() + timeout
        while not self._stopping.is_set():
            self._manager.poll()
            if self._manager.latest_version is not None:
                return
            for version, status in self._manager.statuses().items():
                if status.error is not None:
                    reason = " ".join(status.error.message.split())
                    raise InputError(
                        f"Version {version} of model {self._model_name} in {self._base_path} "
                        f"cannot be loaded: {reason}"
                    )
            expired = deadline is not None and time.monotonic() >= deadline
            if expired or not self._poll_wait_seconds:
                raise InputError(
                    f"The model base path {self._base_path} holds no version; push a model there, "
                    "in a directory whose name is a number."
                )
            self._stopping.wait(self._poll_wait_seconds)

    def _open_port(self) -> None:
        import grpc
        from tensorflow_serving.apis import model_service_pb2_grpc, prediction_service_pb2_grpc

        from serving.model_registry import ModelRegistry
        from serving.model_service import ModelService
        from serving.prediction_service import PredictionService

        # TF Serving's default; TensorFlow releases the interpreter lock while it computes.
        self._workers = futures.ThreadPoolExecutor(
            4 * (os.cpu_count() or 1), thread_name_prefix="grpc"
        )
        server = grpc.server(
            self._workers,
            options=[
                ("grpc.max_receive_message_length", _INT32_MAX),
                ("grpc.max_send_message_length", _INT32_MAX),
                # Otherwise a second server on the port would silently take half of the requests.
                ("grpc.so_reuseport", 0),
            ],
        )
        registry = ModelRegistry([self._manager])
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
            PredictionService(registry), server
        )
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(ModelService(registry), server)
        try:
            self._port = server.add_insecure_port(_address(self._host, self._requested_port))
        except RuntimeError as error:
            # Someone took the port while the model was loading.
            raise _port_error(self._host, self._requested_port) from error
        server.start()
        self._server = server


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a server until SIGTERM or SIGINT; a second signal ends it without waiting for requests.

    Args:
      arguments: The command line, or None for the process's own.

    Returns:
      The exit code: 0 after a signal, 1 if the server cannot start.
    """
    options = _parser().parse_args(arguments)
    _silence_libraries()
    try:
        server = ModelServer(
            options.model_name,
            options.model_base_path,
            options.port,
            options.host,
            options.file_system_poll_wait_seconds,
        )
        _stop_on_signals(server)
        _tell_if_waiting(options)
        if server.start():
            print(
                f"Serving {options.model_name} version {server.version} on {server.target} (gRPC)",
                flush=True,
            )
            server.wait()
    except InputError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    return 0


def _tell_if_waiting(options: argparse.Namespace) -> None:
    """Says what an otherwise silent server waits for."""
    from serving.version_directory import list_versions

    base_path = Path(options.model_base_path)
    if (
        options.file_system_poll_wait_seconds
        and base_path.is_dir()
        and not list_versions(base_path)
    ):
        print(
            f"Waiting for a first version in {base_path}: a folder that is named by a number and "
            "holds a SavedModel.",
            flush=True,
        )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m serving.server",
        description="Serves a SavedModel with TF Serving's gRPC API.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--model_base_path", required=True, help="directory with one numbered directory a version"
    )
    parser.add_argument("--model_name", default="default", help="the name that requests use")
    parser.add_argument("--port", type=int, default=DEFAULT_PORT, help="0 chooses a free port")
    parser.add_argument("--host", default=DEFAULT_HOST, help="address to listen on")
    parser.add_argument(
        "--file_system_poll_wait_seconds",
        type=float,
        default=1.0,
        help="seconds between two looks for new versions; 0 looks once",
    )
    return parser


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


def _check_can_listen(host: str, port: int) -> None:
    """Raises InputError if the address cannot be listened on.

    gRPC's own failure does not tell a port in use from an address of another machine.
    """
    if not 0 <= port <= 65535:
        raise InputError(f"Port {port} does not exist; give a --port from 0 to 65535.")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            # As gRPC does, so that connections of a server that just ended do not count as its use.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise _port_error(host, port) from error
        raise InputError(
            f"Cannot listen on {_address(host, port)} ({error.strerror}); "
            "give another --host or --port."
        ) from error


def _port_error(host: str, port: int) -> InputError:
    return InputError(
        f"Port {port} on {host} is in use; stop the program that listens there, "
        "or give another --port."
    )


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


if __name__ == "__main__":
    sys.exit(main())
