"""The gRPC side of a server: its services, limits, TLS, port and UNIX socket."""

from __future__ import annotations

import os
import threading
from concurrent import futures

import grpc
from tensorflow_serving.apis import model_service_pb2_grpc, prediction_service_pb2_grpc

from components.errors import InputError
from serving.config_reloader import ConfigReloader
from serving.listening import address, check_can_listen, port_error
from serving.model_registry import ModelRegistry
from serving.model_service import ModelService
from serving.monitoring import Metrics, MetricsInterceptor
from serving.prediction_service import PredictionService
from serving.server_options import ServerOptions
from serving.tls import unusable

_INT32_MAX = 2**31 - 1
_IDENTITY_ONLY = 1


class GrpcEndpoint:
    """Answers gRPC requests from when it is created until `stop`.

    Attributes:
      port: The port that it listens on.
    """

    def __init__(
        self,
        registry: ModelRegistry,
        reloader: ConfigReloader,
        metrics: Metrics,
        host: str,
        port: int,
        options: ServerOptions,
        credentials: grpc.ServerCredentials | None,
    ):
        """Opens the port, and the socket if there is to be one.

        Args:
          registry: The models.
          reloader: Changes them.
          metrics: Counts the requests.
          host: The address to listen on.
          port: The port; 0 lets the system choose a free one.
          options: The limits and the path of the socket.
          credentials: Key and certificates, or None for no TLS.

        Raises:
          InputError: The address or the socket cannot be listened on, or TLS cannot be set up.
        """
        self._options = options
        self._credentials = credentials
        # TF Serving's default; TensorFlow releases the interpreter lock while it computes.
        threads = options.grpc_max_threads or 4 * (os.cpu_count() or 1)
        self._workers = futures.ThreadPoolExecutor(threads, thread_name_prefix="grpc")
        self._server = grpc.server(
            self._workers,
            interceptors=[MetricsInterceptor(metrics)],
            options=[
                ("grpc.max_receive_message_length", options.max_request_bytes),
                ("grpc.max_send_message_length", _INT32_MAX),
                # gRPC looks at the size only after it has decompressed a message: a megabyte of
                # gzip would take a gigabyte here, whatever the limit.
                ("grpc.compression_enabled_algorithms_bitset", _IDENTITY_ONLY),
                # Otherwise a second server on the port would silently take half of the requests.
                ("grpc.so_reuseport", 0),
            ],
            maximum_concurrent_rpcs=options.max_requests_in_flight,
        )
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
            PredictionService(registry), self._server
        )
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(
            ModelService(registry, reloader), self._server
        )
        try:
            self.port = self._listen(address(host, port))
        except RuntimeError as error:
            raise self._port_failure(host, port) from error
        if options.grpc_socket_path is not None:
            try:
                self._listen(f"unix:{os.fspath(options.grpc_socket_path)}")
            except RuntimeError as error:
                raise InputError(
                    f"Cannot listen on {options.grpc_socket_path}; check that its folder can be "
                    "written to, or give another --grpc_socket_path."
                ) from error
        self._server.start()

    def stop(self, grace: float | None) -> threading.Event:
        """Refuses new requests, and lets the running ones finish.

        Args:
          grace: Seconds that running requests get; None cancels them at once.

        Returns:
          An event that is set when the last request has ended.
        """
        ended = self._server.stop(grace)
        self._workers.shutdown(wait=False)
        return ended

    def _listen(self, target: str) -> int:
        if self._credentials is None:
            return self._server.add_insecure_port(target)
        return self._server.add_secure_port(target, self._credentials)

    def _port_failure(self, host: str, port: int) -> InputError:
        """Returns the reason: gRPC says the same of a bad certificate and of a port in use."""
        if self._credentials is not None:
            try:
                check_can_listen(host, port)
            except InputError as error:
                return error
            return unusable(self._options.ssl_config_file)
        # Someone took the port while the models were loading.
        return port_error(host, port)
