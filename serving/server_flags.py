"""The command line of the model server; the names are TF Serving's where it has such a flag."""

from __future__ import annotations

import argparse

from serving.server_options import ServerOptions

DEFAULT_PORT = 8500
DEFAULT_HOST = "127.0.0.1"
DEFAULT_MODEL_NAME = "default"


def flag_parser() -> argparse.ArgumentParser:
    """Returns the parser; a flag that is not given and has no default is None."""
    parser = argparse.ArgumentParser(
        prog="python -m serving.server",
        description="Serves SavedModels with TF Serving's gRPC and REST APIs.",
        allow_abbrev=False,
    )
    one = parser.add_argument_group("one model")
    one.add_argument("--model_base_path", help="directory with one numbered directory a version")
    one.add_argument(
        "--model_name", help=f"the name that requests use (default: {DEFAULT_MODEL_NAME})"
    )
    several = parser.add_argument_group("or several models")
    several.add_argument(
        "--model_config_file", help="ModelServerConfig in text format: models, policies, labels"
    )
    several.add_argument(
        "--model_config_file_poll_wait_seconds",
        type=float,
        default=0.0,
        help="seconds between two looks at that file; 0 reads it once (default: 0)",
    )
    several.add_argument(
        "--allow_version_labels_for_unavailable_models",
        type=_boolean,
        nargs="?",
        const=True,
        default=False,
        metavar="BOOL",
        help="new labels may name versions that are not loaded yet",
    )
    _add_versions_and_addresses(parser)
    _add_limits(parser)
    return parser


def server_options(flags: argparse.Namespace) -> ServerOptions:
    """Returns the settings in parsed flags.

    Raises:
      InputError: A value makes no sense.
    """
    return ServerOptions(
        model_config_file=flags.model_config_file,
        model_config_file_poll_wait_seconds=flags.model_config_file_poll_wait_seconds,
        allow_version_labels_for_unavailable_models=(
            flags.allow_version_labels_for_unavailable_models
        ),
        ssl_config_file=flags.ssl_config_file,
        grpc_socket_path=flags.grpc_socket_path,
        # 0 turns it off, as in TF Serving.
        rest_api_port=flags.rest_api_port or None,
        monitoring_config_file=flags.monitoring_config_file,
        grpc_max_threads=flags.grpc_max_threads,
        max_request_bytes=flags.max_request_bytes,
        max_requests_in_flight=flags.max_requests_in_flight,
    )


def _add_versions_and_addresses(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--file_system_poll_wait_seconds",
        type=float,
        default=1.0,
        help="seconds between two looks for new versions; 0 looks once (default: 1)",
    )
    parser.add_argument(
        "--port",
        type=int,
        default=DEFAULT_PORT,
        help=f"gRPC port; 0 takes a free one (default: {DEFAULT_PORT})",
    )
    parser.add_argument(
        "--host", default=DEFAULT_HOST, help=f"address to listen on (default: {DEFAULT_HOST})"
    )
    parser.add_argument(
        "--rest_api_port", type=int, default=0, help="port of the REST API; 0 is off (default: 0)"
    )
    parser.add_argument(
        "--monitoring_config_file",
        help="MonitoringConfig in text format: the Prometheus page on the REST port",
    )
    parser.add_argument("--grpc_socket_path", help="UNIX socket to listen on as well")
    parser.add_argument(
        "--ssl_config_file", help="SSLConfig in text format; gRPC then takes TLS only"
    )


def _add_limits(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--grpc_max_threads",
        type=int,
        help="requests that are computed at the same time (default: 4 a processor)",
    )
    parser.add_argument(
        "--max_request_bytes",
        type=int,
        default=ServerOptions.max_request_bytes,
        help="larger requests are refused (default: %(default)s)",
    )
    parser.add_argument(
        "--max_requests_in_flight",
        type=int,
        default=ServerOptions.max_requests_in_flight,
        help="requests running or waiting, beyond which more are refused (default: %(default)s)",
    )


def _boolean(text: str) -> bool:
    if text.lower() in ("true", "1"):
        return True
    if text.lower() in ("false", "0"):
        return False
    raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")
