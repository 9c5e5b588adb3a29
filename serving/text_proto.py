"""Reading configuration files in protobuf's text format."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TypeVar

from google.protobuf import text_format
from google.protobuf.message import Message

from components.errors import InputError

_AnyMessage = TypeVar("_AnyMessage", bound=Message)


def read_text_proto(path: str | os.PathLike[str], kind: type[_AnyMessage]) -> _AnyMessage:
    """Reads a message from a text file.

    Args:
      path: The file.
      kind: The class of the message.

    Returns:
      The message.

    Raises:
      InputError: The file cannot be read or does not hold such a message.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8"
        raise InputError(f"Cannot read {path} ({reason}); correct the path or the file.") from error
    try:
        return text_format.Parse(text, kind())
    except text_format.ParseError as error:
        # The first words are TF Serving's, which tools look for.
        raise InputError(
            f"Error parsing text-format {kind.DESCRIPTOR.full_name}: {path}:{error}; "
            "correct the file."
        ) from error
