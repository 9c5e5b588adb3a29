"""JSON bodies: read as RapidJSON reads them for TF Serving, and quoted in errors as it does.

orjson reads and writes; it is exact, and several times faster than `json`. What it refuses is read
again by `json`, which knows `NaN` and `Infinity` as TF Serving does, and tells where an error is.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

import numpy as np
import orjson

from serving.status import MESSAGE_LIMIT, TRUNCATION_MARK, StatusError, invalid_argument

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_WHITESPACE = b" \t\n\r"
_STRING = re.compile(r'"(?:\\.|[^"\\])*"', re.DOTALL)
_BRACKET = re.compile(r"[][{}]")

_TYPE_NAMES = {
    type(None): "Null",
    dict: "Object",
    list: "Array",
    str: "String",
    int: "Number",
    float: "Number",
}
# What `json` says and what RapidJSON's en.h says about the same mistake.
_REASONS = {
    "Expecting value": "Invalid value.",
    "Extra data": "The document root must not be followed by other values.",
    "Expecting property name enclosed in double quotes": "Missing a name for object member.",
    "Expecting ':' delimiter": "Missing a colon after a name of object member.",
    "Unterminated string starting at": "Missing a closing quotation mark in string.",
    "Invalid control character at": "Invalid encoding in string.",
    "Invalid \\escape": "Invalid escape character in string.",
    "Invalid \\uXXXX escape": "Incorrect hex digit after \\u escape in string.",
}


class _TooBigError(Exception):
    """A number that no double holds; its text is the argument."""


def parse_object(body: bytes) -> dict[str, Any]:
    """Reads a request body.

    Args:
      body: UTF-8, with or without a byte order mark.

    Returns:
      The top-level object. Integers beyond 64 bits are floats, as in RapidJSON.

    Raises:
      StatusError: INVALID_ARGUMENT with the text of `ParseJson` in json_tensor.cc, 2.16.1.
    """
    if not body:
        raise invalid_argument("JSON Parse error: The document is empty")
    body = body.removeprefix(_BYTE_ORDER_MARK)
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        document = _parse_carefully(body)
    if not isinstance(document, dict):
        raise invalid_argument(f"JSON Value: {quote(document)} Is not object")
    return document


def dump(value: Any) -> bytes:
    """Writes JSON; NumPy arrays and scalars are written with the shortest digits of their dtype."""
    return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)


def writable(array: np.ndarray) -> Any:
    """Returns what `dump` writes an array as.

    Args:
      array: Numbers of any shape.

    Returns:
      The array, its only value if it has no dimensions, or finished JSON when it holds values that
      orjson would write as null: TF Serving writes `NaN`, `Infinity` and `-Infinity`.
    """
    plain = np.ascontiguousarray(array) if array.ndim else array[()]
    if array.dtype.kind != "f":
        return plain
    odd = array[~np.isfinite(array)]
    if not odd.size:
        return plain
    # Numbers and brackets hold no other "null", and both orders are row-major.
    pieces = dump(plain).split(b"null")
    tokens = [_token(value) for value in odd.tolist()]
    return orjson.Fragment(pieces[0] + b"".join(map(bytes.__add__, tokens, pieces[1:])))


def type_name(value: Any) -> str:
    """Returns RapidJSON's name for the type of a JSON value."""
    if isinstance(value, bool):
        return str(value)
    return _TYPE_NAMES[type(value)]


def quote(value: Any) -> str:
    """Returns a JSON value as TF Serving's errors show it: indented by four.

    Source: `JsonValueToString` in json_tensor.cc. It repeats whole requests; here the text is cut
    where gRPC's errors are cut.
    """
    text = ""
    # A generator, so a long value costs no more than what is shown of it.
    for piece in json.JSONEncoder(indent=4, ensure_ascii=False).iterencode(value):
        text += piece
        if len(text) > MESSAGE_LIMIT:
            return text[:MESSAGE_LIMIT] + TRUNCATION_MARK
    return text


def _token(value: float) -> bytes:
    if math.isnan(value):
        return b"NaN"
    return b"Infinity" if value > 0 else b"-Infinity"


def _parse_carefully(body: bytes) -> Any:
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise _parse_error("Invalid encoding in string.", error.start) from error
    if not body.strip(_WHITESPACE):
        raise _parse_error("The document is empty.", len(body))
    try:
        document = json.JSONDecoder(parse_int=_integer, parse_float=_double).decode(text)
        if "\\u" in text:
            # `json` lets half of a surrogate pair pass, which no UTF-8 string can hold.
            json.dumps(document, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        reason = _REASONS.get(error.msg) or _missing_comma(text[: error.pos])
        raise _parse_error(reason, _offset(text, error.pos)) from error
    except _TooBigError as error:
        offset = _offset(text, text.find(str(error)))
        raise _parse_error("Number too big to be stored in double.", offset) from error
    except UnicodeEncodeError as error:
        raise invalid_argument(
            "JSON Parse error: The surrogate pair in string is invalid."
        ) from error
    except RecursionError as error:
        raise invalid_argument("JSON Parse error: The document is nested too deeply.") from error
    return document


def _parse_error(reason: str, offset: int) -> StatusError:
    return invalid_argument(f"JSON Parse error: {reason} at offset: {offset}")


def _offset(text: str, position: int) -> int:
    return len(text[:position].encode())


def _missing_comma(text: str) -> str:
    """Returns which comma is missing at the end of a text, by the bracket that is open there."""
    opened: list[str] = []
    for match in _BRACKET.finditer(_STRING.sub("", text)):
        if match[0] in "[{":
            opened.append(match[0])
        elif opened:
            opened.pop()
    if opened and opened[-1] == "{":
        return "Missing a comma or } after an object member."
    return "Missing a comma or ] after an array element."


def _integer(text: str) -> int | float:
    # Twenty characters hold every 64-bit integer; longer ones may be too long for `int` itself.
    value = int(text) if len(text) <= 20 else None
    return value if value is not None and -(2**63) <= value < 2**64 else _double(text)


def _double(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise _TooBigError(text)
    return value
