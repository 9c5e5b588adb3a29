"""The error that becomes a gRPC status, and the rules for sending it."""

from __future__ import annotations

from typing import NoReturn

import grpc

# grpc_status_util.cc of TF Serving 2.16.1: longer messages do not fit into HTTP/2 trailers
# everywhere.
MESSAGE_LIMIT = 1024
TRUNCATION_MARK = "...TRUNCATED"

_CODES = {code.value[0]: code for code in grpc.StatusCode}


class StatusError(Exception):
    """A request, or the loading of a model, ended with a status other than OK.

    Attributes:
      code: The gRPC status code.
      message: The text, of any length.
    """

    def __init__(self, code: grpc.StatusCode, message: str):
        super().__init__(message)
        self.code = code
        self.message = message


def invalid_argument(message: str) -> StatusError:
    """Returns the most common error of the API."""
    return StatusError(grpc.StatusCode.INVALID_ARGUMENT, message)


def code_from_number(number: int) -> grpc.StatusCode:
    """Returns the gRPC code with TensorFlow's number for it; they are the same numbers."""
    return _CODES.get(number, grpc.StatusCode.UNKNOWN)


def abort(context: grpc.ServicerContext, error: StatusError) -> NoReturn:
    """Ends an RPC with the status of an error, cutting its message as TF Serving does."""
    message = error.message
    if len(message) > MESSAGE_LIMIT:
        message = message[:MESSAGE_LIMIT] + TRUNCATION_MARK
    context.abort(error.code, message)
