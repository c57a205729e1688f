"""Reading a reply as JSON of a known shape: what the model said, all of it, and nothing it did not say.

1. The reply is that JSON, whole.
2. It stands in prose or a code fence, once. Two different ones, or any other bracket, and it could be a draft
   or a piece of something torn: refused.
3. It lacks closing brackets. json_repair closes it; what it made is accepted only if its tokens are those
   of the reply plus closers. A list that was never closed may have gone on, and a number at the very end may
   have had more digits: refused.

In each case the JSON is then read strictly: no NaN or infinity, no name twice, no value of another type, no
field too many, and no default in the place of a field that was left out (None, which says "missing", is
allowed to).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from typing import Any, TypeVar

import orjson
from pydantic import BaseModel, ValidationError

M = TypeVar("M", bound=BaseModel)

_THINKING = re.compile(r"\s*<think(?:ing)?>.*?(?:</think(?:ing)?>|\Z)", re.DOTALL | re.IGNORECASE)
_FENCE = re.compile(r"```\w*\n(.*?)(?:\n```)?", re.DOTALL)
_BRACKET = re.compile(r"[\[\]{}]")
_TOKEN = re.compile(
    r"\s*(?:(?P<string>\"(?:[^\"\\]|\\.)*\")|(?P<number>-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)"
    r"|(?P<word>true|false|null)|(?P<mark>[{}\[\]:,]))"
)
_LONGEST_REPAIRED = 200_000
_MOST_COMPLAINTS = 5

Token = tuple[str, object]


class Unreadable(ValueError):
    """Why a reply can't be read, in words fit for asking the model again."""


def read(text: str, schema: type[M]) -> M:
    """Read a reply.

    Args:
        text: of a reply that ended by itself; one that was cut is no business of this function.
        schema: what it should hold.

    Raises:
        Unreadable: it does not hold exactly one such value.
    """
    text = _THINKING.sub("", text, count=1) if _THINKING.match(text) else text
    text = text.strip()
    if not text:
        raise Unreadable("the reply is empty")
    with suppress(Unreadable):  # what most replies are; why another is not is found out below
        return _strictly(text, schema)
    complaints: list[str] = []
    for find in (_whole, _in_prose, _closed):
        values: list[M] = []
        for candidate in find(text):
            try:
                values.append(_strictly(candidate, schema))
            except Unreadable as error:
                complaints.append(str(error))
        if any(value != values[0] for value in values):
            raise Unreadable("the reply holds more than one answer")
        if values:
            return values[0]
    raise Unreadable(complaints[0] if complaints else "the reply is not a single valid JSON value")


def _whole(text: str) -> list[str]:
    """The text, if it is JSON."""
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return []
    return [text]


def _in_prose(text: str) -> list[str]:
    """All JSON objects and lists that stand in a text, or none if there are brackets beside them."""
    decoder = json.JSONDecoder()
    found: list[str] = []
    at = 0
    while bracket := _BRACKET.search(text, at):
        try:
            _, at = decoder.raw_decode(text, bracket.start())
        except (ValueError, RecursionError):
            return []
        found.append(text[bracket.start() : at])
    return found


def _closed(text: str) -> list[str]:
    """The text with the closing brackets it lacks, if that is all it lacks."""
    from json_repair import repair_json

    fenced = _FENCE.fullmatch(text)
    text = fenced[1].strip() if fenced else text
    if text[:1] not in ("{", "[") or len(text) > _LONGEST_REPAIRED:
        return []
    try:
        repaired = repair_json(text, ensure_ascii=False)
        said, made = _tokens(text), _tokens(repaired)
    except (ValueError, RecursionError):
        return []
    return [repaired] if _only_closers_added(said, made) else []


def _only_closers_added(said: list[Token], made: list[Token]) -> bool:
    """Is `made` what was `said` plus closing brackets, none of which ends a list that may have gone on?"""
    if not said or said[-1][0] == "number":
        return False
    at = 0
    for token in made:
        if at < len(said) and token == said[at]:
            at += 1
        elif token != ("mark", "}") and not (token == ("mark", "]") and at < len(said)):
            return False
    return at == len(said)


def _tokens(text: str) -> list[Token]:
    """JSON tokens as (kind, value).

    Raises:
        ValueError: there is something else in the text.
    """
    tokens: list[Token] = []
    at = 0
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None or found.lastgroup is None:
            raise ValueError("not a JSON token")
        kind = found.lastgroup
        tokens.append((kind, found[kind] if kind == "mark" else json.loads(found[kind])))
        at = found.end()
    return tokens


def _strictly(text: str, schema: type[M]) -> M:
    """One JSON value as a model, nothing converted, nothing ignored, nothing filled in.

    Raises:
        Unreadable: with the first few complaints, each with its place.
    """
    try:
        # pydantic alone would take NaN, infinity and a name given twice (the last one wins).
        if not _comes_back(text):
            _STRICTLY.decode(text)
        value = schema.model_validate_json(text, strict=True, extra="forbid")
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False, include_context=False)
        complaints = [f"{_place(detail['loc'])}{detail['msg']}" for detail in details[:_MOST_COMPLAINTS]]
        raise Unreadable("; ".join(complaints)) from None
    except (ValueError, RecursionError) as error:
        raise Unreadable(str(error)) from None
    left_out = [] if _fills_in_nothing(schema) else list(_left_out(value, ""))
    if left_out:
        raise Unreadable(f"left out: {', '.join(left_out[:_MOST_COMPLAINTS])}")
    return value


def _comes_back(text: str) -> bool:
    """Is this what orjson makes of what it reads there? Then no name is given twice, and no number is odd.

    It is so of most of what servers write that keep to a schema, at a third of the time that looking takes.
    """
    try:
        return orjson.dumps(orjson.loads(text)) == text.encode()
    except (ValueError, TypeError):  # TypeError: nested too deeply to be written
        return False


def _place(path: tuple[int | str, ...]) -> str:
    """Where in the reply a complaint is about."""
    return f"{'.'.join(str(step) for step in path)}: " if path else ""


@lru_cache(maxsize=64)
def _fills_in_nothing(schema: type[BaseModel]) -> bool:
    """Is every field of a model, and of those in it, either required or None where it is left out?"""
    whole = schema.model_json_schema()
    objects = [whole, *whole.get("$defs", {}).values()]
    return all(
        name in each.get("required", ()) or ("default" in field and field["default"] is None)
        for each in objects
        for name, field in each.get("properties", {}).items()
    )


def _left_out(value: object, path: str) -> Iterator[str]:
    """Paths of all fields that hold a default other than None because the reply did not name them."""
    if isinstance(value, BaseModel):
        for name in type(value).model_fields:
            item = getattr(value, name)
            if name in value.model_fields_set:
                yield from _left_out(item, f"{path}{name}.")
            elif item is not None:
                yield f"{path}{name}"
    elif isinstance(value, (list, tuple)):
        for number, item in enumerate(value):
            yield from _left_out(item, f"{path}{number}.")
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _left_out(item, f"{path}{key}.")


def _refused(constant: str) -> Any:
    """NaN, Infinity and -Infinity are no JSON, though Python reads them."""
    raise ValueError(f"{constant} is not a number")


def _finite(digits: str) -> float:
    """A number that fits a float."""
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError(f"{digits} is too large")
    return number


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose names are all different."""
    names = dict(pairs)
    if len(names) != len(pairs):
        raise ValueError("an object names the same field twice")
    return names


_STRICTLY = json.JSONDecoder(parse_constant=_refused, parse_float=_finite, object_pairs_hook=_distinct)
