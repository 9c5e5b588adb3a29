"""What can be set about a model server apart from its model and address."""

from __future__ import annotations

import os
from dataclasses import dataclass

from components.errors import InputError

_INT32_MAX = 2**31 - 1


@dataclass(frozen=True)
class ServerOptions:
    """Settings named like the flags of the command line, most of which are TF Serving's.

    Attributes:
      model_config_file: A ModelServerConfig in text format, instead of one model.
      model_config_file_poll_wait_seconds: Seconds between two looks at that file; 0 reads it once.
      allow_version_labels_for_unavailable_models: Whether a label that is not in use may be given
        to a version that is not available; needed for labels in the first configuration.
      ssl_config_file: An SSLConfig in text format; the gRPC port then speaks TLS only.
      grpc_socket_path: A UNIX socket to listen on besides the port.
      rest_api_port: A port for the REST API, which never has TLS; 0 lets the system choose a free
        one, None is no REST API.
      monitoring_config_file: A MonitoringConfig in text format; its page is on the REST port.
      grpc_max_threads: Requests that are computed at the same time; None is four a processor,
        TF Serving's default.
      max_request_bytes: The size beyond which a request is refused unparsed; TF Serving takes
        2 GiB. Times `grpc_max_threads`, this bounds the memory that requests themselves take.
      max_requests_in_flight: Requests that are computed or wait for it; the next one is refused.
    """

    model_config_file: str | os.PathLike[str] | None = None
    model_config_file_poll_wait_seconds: float = 0.0
    allow_version_labels_for_unavailable_models: bool = False
    ssl_config_file: str | os.PathLike[str] | None = None
    grpc_socket_path: str | os.PathLike[str] | None = None
    rest_api_port: int | None = None
    monitoring_config_file: str | os.PathLike[str] | None = None
    grpc_max_threads: int | None = None
    max_request_bytes: int = 64 * 2**20
    max_requests_in_flight: int = 256

    def __post_init__(self):
        if self.model_config_file_poll_wait_seconds < 0:
            raise InputError(
                "--model_config_file_poll_wait_seconds is negative; give more, or 0 to read the "
                "file only once."
            )
        if self.model_config_file_poll_wait_seconds and self.model_config_file is None:
            raise InputError(
                "--model_config_file_poll_wait_seconds needs a --model_config_file to look at."
            )
        if self.monitoring_config_file is not None and self.rest_api_port is None:
            raise InputError(
                "--monitoring_config_file needs a --rest_api_port to show its page on."
            )
        if self.grpc_max_threads is not None and self.grpc_max_threads < 1:
            raise InputError("--grpc_max_threads is less than 1; give at least 1.")
        if not 1 <= self.max_request_bytes <= _INT32_MAX:
            raise InputError(f"--max_request_bytes must be from 1 to {_INT32_MAX}.")
        if self.max_requests_in_flight < 1:
            raise InputError("--max_requests_in_flight is less than 1; give at least 1.")
