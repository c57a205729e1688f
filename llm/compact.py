"""JSON as it is sent and stored: UTF-8, with nothing between its parts.

A prompt is written twice a call, into its key and its body, and orjson takes a fraction of the standard
library's CPU for that. Of texts and whole numbers it writes the very bytes that `json.dumps` writes (with
`ensure_ascii=False` and compact separators), of floats the shorter of two notations (1e-7 for 1e-07).
"""

from __future__ import annotations

import json
from typing import Any

import orjson

_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode


def compact(value: Any) -> bytes:
    """A value as JSON.

    Args:
        value: of dicts, lists, texts and numbers; no float of it may be NaN or infinite (they become null).

    Raises:
        UnicodeEncodeError: a text holds half a surrogate pair.
        TypeError: something in it is no JSON.
    """
    try:
        return orjson.dumps(value)
    except TypeError:  # it refuses whole numbers of more than 64 bits, and halves of surrogate pairs
        return _json(value).encode()


def parsed(content: bytes) -> Any:
    """JSON as Python reads it: NaN, half a surrogate pair and other encodings of Unicode are taken too.

    Raises:
        ValueError: it is none.
    """
    try:
        return orjson.loads(content)
    except ValueError:
        return json.loads(content)
