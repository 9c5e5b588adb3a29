"""The client's connection to a server: TLS, deadlines, repeated requests, errors of one line."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.errors import InputError

_INT32_MAX = 2**31 - 1
_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 1.0


@dataclass(frozen=True)
class Tls:
    """Files in PEM form for a connection over TLS.

    Attributes:
      root_certificates: Who may have signed the server's certificate; None for the authorities
        that gRPC trusts by itself.
      client_key: The client's private key, for a server that asks who calls.
      client_certificate: The certificate that goes with it; both or neither.
    """

    root_certificates: Path | None = None
    client_key: Path | None = None
    client_certificate: Path | None = None

    def __post_init__(self):
        if (self.client_key is None) != (self.client_certificate is None):
            raise InputError("TLS needs client_key and client_certificate together, or neither.")


class ClientChannel:
    """A connection to one server, made by the first request."""

    def __init__(self, target: str, timeout: float, tls: Tls | None = None):
        """Describes a connection.

        Args:
          target: `host:port`, or `unix:/path` of a socket.
          timeout: Seconds that a call may take, its retries included.
          tls: How to encrypt; None not to.

        Raises:
          InputError: If a file of `tls` cannot be read.
        """
        import grpc

        self._target = target
        self._timeout = timeout
        self._encrypted = tls is not None
        options = [
            ("grpc.max_receive_message_length", _INT32_MAX),
            ("grpc.max_send_message_length", _INT32_MAX),
            # gRPC by itself would wait up to two minutes before it tries to connect again.
            ("grpc.initial_reconnect_backoff_ms", int(_FIRST_PAUSE_SECONDS * 1000)),
            ("grpc.min_reconnect_backoff_ms", int(_FIRST_PAUSE_SECONDS * 1000)),
            ("grpc.max_reconnect_backoff_ms", int(_LONGEST_PAUSE_SECONDS * 1000)),
        ]
        if tls is None:
            self.grpc_channel = grpc.insecure_channel(target, options)
        else:
            credentials = grpc.ssl_channel_credentials(
                _read(tls.root_certificates), _read(tls.client_key), _read(tls.client_certificate)
            )
            self.grpc_channel = grpc.secure_channel(target, credentials, options)

    def close(self) -> None:
        """Closes the connection."""
        self.grpc_channel.close()

    def call(self, method: Any, request: Any) -> Any:
        """Sends a request until it is answered, or until the timeout is spent.

        Args:
          method: A method of a stub on `grpc_channel`.
          request: Its message; must change nothing at the server, because it may be repeated.

        Raises:
          InputError: If there was no answer in time, or the answer was an error.
        """
        import grpc

        deadline = time.monotonic() + self._timeout
        pause = _FIRST_PAUSE_SECONDS
        while True:
            try:
                # Not `wait_for_ready`: with it, a server that is absent and one that is slow both
                # end in DEADLINE_EXCEEDED, and could not be told apart.
                return method(request, timeout=max(deadline - time.monotonic(), 0.001))
            except grpc.RpcError as error:
                # Clients that were refused together must not come back together.
                wait = pause * random.uniform(0.5, 1.0)
                is_final = error.code() != grpc.StatusCode.UNAVAILABLE
                if is_final or time.monotonic() + wait >= deadline:
                    raise self._input_error(error) from error
            time.sleep(wait)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    def _input_error(self, error: Any) -> InputError:
        import grpc

        # The runtime's messages run over several lines.
        details = " ".join((error.details() or "").split())
        if error.code() == grpc.StatusCode.DEADLINE_EXCEEDED:
            return InputError(
                f"The model server at {self._target} did not answer within {self._timeout:g} s."
            )
        # A busy TF Serving also answers UNAVAILABLE, and then says so itself.
        if error.code() == grpc.StatusCode.UNAVAILABLE and "queue" not in details:
            if self._encrypted:
                return InputError(
                    f"No model server answers over TLS at {self._target} ({details}); check that "
                    "one serves there, over TLS, and the files of Tls."
                )
            return InputError(
                f"No model server answers at {self._target}; start one with: tfx-vae serve"
            )
        return InputError(
            f"The model server at {self._target} answered {error.code().name}: {details}"
        )


def _read(path: Path | None) -> bytes | None:
    if path is None:
        return None
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise InputError(
            f"The TLS file {path} cannot be read ({error.strerror}); give the path of a PEM file."
        ) from error
