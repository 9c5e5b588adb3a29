"""The HTTP server of TF Serving's REST API and of its Prometheus page."""

from __future__ import annotations

import contextlib
import errno
import http.server
import logging
import os
import re
import socket
import socketserver
import threading
import time
import zlib
from http import HTTPStatus
from typing import Any

import grpc

from components.errors import InputError
from serving.model_registry import ModelRegistry
from serving.monitoring import CONTENT_TYPE, Metrics
from serving.rest_api import RestApi, error_body

# Of a body, before and after decompression. As lists of Python numbers it takes some ten times
# that.
MAX_BODY_BYTES = 64 * 2**20
MAX_CONNECTIONS = 256
# A connection on which nothing arrives for so long is closed.
IDLE_SECONDS = 60.0

_LOG = logging.getLogger(__name__)

_API_PATH = re.compile(r"/v1/.*", re.IGNORECASE | re.DOTALL)
_AUTHORITY = re.compile(r"^https?://[^/?#]*", re.IGNORECASE)
_MAX_LINE = 65536
_MAX_TRAILERS = 100
_LINGER_SECONDS = 2.0
# TF Serving's default of --rest_api_num_threads, and http_server.cc's ToHTTPStatusCode.
_REQUESTS_AT_ONCE = 4 * (os.cpu_count() or 1)
_HTTP_STATUS = {
    grpc.StatusCode.OK: 200,
    grpc.StatusCode.CANCELLED: 499,
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.ALREADY_EXISTS: 409,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.FAILED_PRECONDITION: 400,
    grpc.StatusCode.ABORTED: 409,
    grpc.StatusCode.OUT_OF_RANGE: 400,
    grpc.StatusCode.UNIMPLEMENTED: 501,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.UNAUTHENTICATED: 401,
}


class RestServer:
    """Serves the models of a registry over HTTP; started once and stopped once.

    Example:
      >>> server = RestServer(registry, "127.0.0.1", 8501)
      >>> server.start()
      >>> server.stop(grace=20.0)
    """

    def __init__(
        self,
        registry: ModelRegistry,
        host: str,
        port: int,
        monitoring_path: str | None = None,
        metrics: Metrics | None = None,
    ):
        """Describes a server; nothing is opened before `start`.

        Args:
          registry: The models.
          host: The address to listen on; `0.0.0.0` for all.
          port: The port to listen on; 0 lets the system choose a free one.
          monitoring_path: The path of the Prometheus page, beginning with a slash; None for no
            page.
          metrics: Counts the requests; give the one that counts gRPC requests to have both on the
            page.
        """
        self._host = host
        self._requested_port = port
        self._monitoring_path = monitoring_path
        self._metrics = metrics or Metrics()
        self._api = RestApi(registry)
        self._server: _HttpServer | None = None
        self._acceptor: threading.Thread | None = None

    @property
    def port(self) -> int:
        """The port that the server listens on.

        Raises:
          RuntimeError: The server has not started.
        """
        if self._server is None:
            raise RuntimeError("The server has not started, so it has no port yet.")
        return self._server.server_address[1]

    def start(self) -> None:
        """Opens the port, and answers from threads.

        Raises:
          InputError: The port is in use or does not exist, or the address is not this machine's.
        """
        if not 0 <= self._requested_port <= 65535:
            # The look-up below would take it modulo 65536.
            raise InputError(
                f"Port {self._requested_port} does not exist; give one from 0 to 65535 for REST."
            )
        try:
            family, _, _, _, address = socket.getaddrinfo(
                self._host, self._requested_port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
            self._server = _HttpServer(
                family, address, self._api, self._metrics, self._monitoring_path
            )
        except OSError as error:
            reason = "it is in use" if error.errno == errno.EADDRINUSE else error.strerror
            raise InputError(
                f"Cannot listen on port {self._requested_port} of {self._host} for REST "
                f"({reason}); stop the program that listens there, or give another port or host."
            ) from error
        self._acceptor = threading.Thread(
            # The interval is how long `stop` may wait for the loop to notice it.
            target=self._server.serve_forever,
            args=(0.05,),
            name="rest-accept",
            daemon=True,
        )
        self._acceptor.start()

    def stop(self, grace: float | None = None) -> None:
        """Refuses new connections and lets running requests finish; safe to call twice.

        Args:
          grace: Seconds that running requests get; None closes their connections at once.
        """
        if self._acceptor is None:
            return
        self._server.shutdown()
        self._acceptor.join()
        self._server.server_close()
        self._server.drain(grace or 0.0)


class _HttpServer(http.server.ThreadingHTTPServer):
    """One thread a connection, a bounded number of them, and fewer that compute at once."""

    daemon_threads = True
    # `drain` waits, and not for ever.
    block_on_close = False
    request_queue_size = 128

    def __init__(
        self,
        family: socket.AddressFamily,
        address: Any,
        api: RestApi,
        metrics: Metrics,
        monitoring_path: str | None,
    ):
        self.address_family = family
        self.api = api
        self.metrics = metrics
        self.monitoring_path = monitoring_path
        self.slots = threading.BoundedSemaphore(_REQUESTS_AT_ONCE)
        self.draining = False
        self._changed = threading.Condition()
        # Open connections, and whether a request has begun to arrive on each.
        self._connections: dict[socket.socket, bool] = {}
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        """Binds without HTTPServer's look-up of the host's name, which may take seconds."""
        socketserver.TCPServer.server_bind(self)

    def process_request(self, request: socket.socket, client_address: Any) -> None:
        """Starts a thread for a connection, or refuses it if there are too many."""
        with self._changed:
            accepted = len(self._connections) < MAX_CONNECTIONS
            if accepted:
                self._connections[request] = False
        if not accepted:
            _refuse_connection(request)
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except RuntimeError:
            # No thread could be started.
            self.shutdown_request(request)

    def shutdown_request(self, request: socket.socket) -> None:
        """Closes a connection."""
        with self._changed:
            self._connections.pop(request, None)
            self._changed.notify_all()
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Notes a connection that broke; nobody is left to tell."""
        _LOG.debug("The connection of %s broke.", client_address, exc_info=True)

    def mark(self, connection: socket.socket, busy: bool) -> None:
        """Notes that a request begins or ends."""
        with self._changed:
            self._connections[connection] = busy

    def drain(self, seconds: float) -> None:
        """Ends idle connections, then waits for the others, then ends those too."""
        with self._changed:
            self.draining = True
            for connection, busy in self._connections.items():
                if not busy:
                    # What has arrived already can still be read, and is answered.
                    _shut(connection, socket.SHUT_RD)
            self._changed.wait_for(lambda: not self._connections, seconds)
            for connection in self._connections:
                _shut(connection, socket.SHUT_RDWR)


class _RefusedError(Exception):
    """A request that HTTP itself forbids; the connection cannot be used any further."""

    def __init__(self, code: int, message: str):
        super().__init__(message)
        self.code = code


class _Handler(http.server.BaseHTTPRequestHandler):
    """One connection."""

    server: _HttpServer
    protocol_version = "HTTP/1.1"
    timeout = IDLE_SECONDS
    disable_nagle_algorithm = True
    # Buffered, so that a short answer is one packet.
    wbufsize = -1

    def handle_one_request(self) -> None:
        super().handle_one_request()
        self.server.mark(self.connection, False)
        if self.server.draining:
            self.close_connection = True

    def parse_request(self) -> bool:
        self.server.mark(self.connection, True)
        return super().parse_request()

    def do_GET(self) -> None:
        start = time.perf_counter()
        try:
            body = self._read_body()
        except _RefusedError as error:
            self._refuse(error.code, str(error))
            return
        path = _AUTHORITY.sub("", self.path).partition("?")[0].partition("#")[0]
        self._answer(path, body, start)

    # TF Serving hands all of these to the API, which knows GET and POST only.
    do_POST = do_PUT = do_DELETE = do_PATCH = do_HEAD = do_GET
    do_OPTIONS = do_TRACE = do_CONNECT = do_GET

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answers what is not HTTP; called by the base class."""
        # Unset if the request line is not one, and then no status line would be sent.
        self.request_version = self.protocol_version
        self._refuse(int(code), message or HTTPStatus(code).phrase)

    def log_message(self, format: str, *args: Any) -> None:
        """Leaves standard error alone."""
        _LOG.debug(format, *args)

    def _answer(self, path: str, body: bytes, start: float) -> None:
        server = self.server
        if path == server.monitoring_path:
            self._send(200, server.metrics.page().encode(), CONTENT_TYPE)
            return
        if not _API_PATH.fullmatch(path):
            self._send(404, error_body(f"Nothing is at {path}; the API is at /v1/models."))
            return
        if self.command == "OPTIONS":
            self._answer_preflight(start)
            return
        with server.slots:
            reply = server.api.answer(self.command, path, body)
        # Counted before it is sent, so that a client finds its own request on the page.
        server.metrics.observe_request(
            reply.model_name,
            reply.method,
            reply.status.name,
            time.perf_counter() - start,
            entrypoint="REST",
        )
        self._send(_HTTP_STATUS.get(reply.status, 500), reply.body)

    def _answer_preflight(self, start: float) -> None:
        """Answers as TF Serving does without --rest_api_enable_cors_support: nothing is allowed."""
        allowed = re.search("https?://", self.headers.get("Origin", ""))
        status = "OK" if allowed else "FAILED_PRECONDITION"
        seconds = time.perf_counter() - start
        self.server.metrics.observe_request("", "", status, seconds, entrypoint="REST")
        self._send(200 if allowed else 400, b"")

    def _send(self, code: int, body: bytes, content_type: str = "application/json") -> None:
        self.log_request(code)
        if self.server.draining:
            self.close_connection = True
        self.send_response_only(code)
        self.send_header("Date", self.date_time_string())
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _refuse(self, code: int, message: str) -> None:
        """Answers a request whose end is not known, and closes."""
        self.close_connection = True
        self._send(code, error_body(message))
        self.wfile.flush()
        # A socket closed on unread bytes resets the connection, and the client loses the answer.
        _shut(self.connection, socket.SHUT_WR)
        self.connection.settimeout(_LINGER_SECONDS)
        deadline = time.monotonic() + _LINGER_SECONDS
        with contextlib.suppress(OSError):
            while time.monotonic() < deadline and self.connection.recv(_MAX_LINE):
                pass

    def _read_body(self) -> bytes:
        lengths = set(self.headers.get_all("Content-Length", []))
        if "Transfer-Encoding" in self.headers:
            coding = self.headers["Transfer-Encoding"].strip().lower()
            if coding != "chunked":
                raise _RefusedError(501, f"Transfer-Encoding {coding} is not known.")
            if lengths:
                # Two proxies could take such a request for two different ones.
                raise _RefusedError(400, "Transfer-Encoding and Content-Length exclude each other.")
            body = self._read_chunks()
        elif not lengths:
            body = b""
        else:
            length = lengths.pop().strip()
            if lengths or not re.fullmatch("[0-9]{1,18}", length):
                raise _RefusedError(400, "Content-Length is not one number.")
            _check_body_size(int(length))
            body = self._read_exactly(int(length))
        if "gzip" in self.headers.get("Content-Encoding", ""):
            body = _decompress(body)
        return body

    def _read_chunks(self) -> bytes:
        chunks, total = [], 0
        while True:
            size = self.rfile.readline(_MAX_LINE).partition(b";")[0].strip()
            if not re.fullmatch(b"[0-9a-fA-F]{1,15}", size):
                raise _RefusedError(400, "A chunk of the body has no size.")
            total += int(size, 16)
            _check_body_size(total)
            if not int(size, 16):
                break
            chunks.append(self._read_exactly(int(size, 16)))
            if self.rfile.readline(_MAX_LINE).strip():
                raise _RefusedError(400, "A chunk of the body is longer than its size.")
        for _ in range(_MAX_TRAILERS):
            if not self.rfile.readline(_MAX_LINE).strip():
                return b"".join(chunks)
        raise _RefusedError(400, "The body has too many trailers.")

    def _read_exactly(self, size: int) -> bytes:
        data = self.rfile.read(size)
        if len(data) < size:
            raise ConnectionError("The client closed the connection within a body.")
        return data


def _check_body_size(size: int) -> None:
    if size > MAX_BODY_BYTES:
        raise _RefusedError(413, f"The body is larger than {MAX_BODY_BYTES} bytes.")


def _decompress(body: bytes) -> bytes:
    # The window size for gzip; a bounded output, because a small body may unpack to gigabytes.
    unpacker = zlib.decompressobj(16 + zlib.MAX_WBITS)
    try:
        data = unpacker.decompress(body, MAX_BODY_BYTES + 1)
    except zlib.error as error:
        raise _RefusedError(400, "Failed to uncompress the gzipped body.") from error
    _check_body_size(len(data))
    if not unpacker.eof:
        raise _RefusedError(400, "Failed to uncompress the gzipped body.")
    return data


def _refuse_connection(connection: socket.socket) -> None:
    body = error_body(f"More than {MAX_CONNECTIONS} connections are open.")
    head = (
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    with contextlib.suppress(OSError):
        connection.settimeout(1.0)
        connection.sendall(head.encode() + body)


def _shut(connection: socket.socket, how: int) -> None:
    # The client may have closed first.
    with contextlib.suppress(OSError):
        connection.shutdown(how)
