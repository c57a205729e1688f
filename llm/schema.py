"""JSON schemas in the two forms providers take: strict, and in words."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cached_property, lru_cache
from typing import Any

_NESTED = ("anyOf", "allOf", "items")
_NAMED = ("properties", "$defs")


class Schema(dict[str, Any]):
    """A JSON schema that many requests share, and its forms, worked out once each; not to be changed."""

    @cached_property
    def text(self) -> str:
        """As JSON, in its own order."""
        return json.dumps(self)

    @cached_property
    def stored(self) -> str:
        """As the journal keeps it: the same for equal schemas."""
        return json.dumps(self, sort_keys=True, ensure_ascii=False)

    @cached_property
    def keyed(self) -> bytes:
        """As it stands in the key of a request."""
        return json.dumps(self, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()

    @cached_property
    def strict(self) -> Mapping[str, Any]:
        """`strict` of it."""
        return strict(self)

    def __reduce__(self) -> tuple[Any, ...]:
        """Sent to another process, it is the one that is known there, with the forms it has there."""
        return _known, (self.text,)


def known(schema: Mapping[str, Any]) -> Schema:
    """A schema with its forms; equal ones share them."""
    return schema if isinstance(schema, Schema) else _known(json.dumps(schema))


@lru_cache(maxsize=64)
def _known(text: str) -> Schema:
    return Schema(json.loads(text))


def strict(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A copy in which every object lists all of its properties as required and allows no others.

    This is what OpenAI's `strict` mode demands: an optional field has to be one that can be null. Defaults
    are left out, `oneOf` becomes `anyOf`.

    Args:
        schema: a JSON schema, for example a pydantic model's.

    Raises:
        ValueError: an object whose property names are free can't be written in this form.
    """
    copy = {name: value for name, value in schema.items() if name not in ("default", "discriminator")}
    if "oneOf" in copy:
        copy["anyOf"] = copy.pop("oneOf")
    for name in _NAMED:
        if isinstance(copy.get(name), Mapping):
            copy[name] = {key: strict(value) for key, value in copy[name].items()}
    for name in _NESTED:
        value = copy.get(name)
        if isinstance(value, list):
            copy[name] = [strict(variant) for variant in value]
        elif isinstance(value, Mapping):
            copy[name] = strict(value)
    if "$ref" in copy:  # strict mode takes no neighbours beside a reference
        return {name: value for name, value in copy.items() if name in ("$ref", "$defs")}
    if copy.get("type") == "object":
        if "properties" not in copy and copy.get("additionalProperties", True) is not False:
            title = schema.get("title", "an object")
            raise ValueError(f"schema {title!r} has free property names: use a list of pairs")
        copy["required"] = list(copy.get("properties", {}))
        copy["additionalProperties"] = False
    return copy


def name_of(schema: Mapping[str, Any]) -> str:
    """The schema's title as providers take it: letters, digits, underscores and dashes, at most 64."""
    return re.sub(r"[^A-Za-z0-9_-]+", "_", str(schema.get("title") or "reply"))[:64]


def in_words(schema: Mapping[str, Any]) -> str:
    """What is added to a prompt when a server doesn't take schemas."""
    return (
        "Reply with a single JSON value that fits this JSON schema, with no text before or after it:\n"
        + json.dumps(strict(schema), ensure_ascii=False)
    )


def with_schema_in_words(texts: list[tuple[str, str]], schema: Mapping[str, Any]) -> list[tuple[str, str]]:
    """A conversation (role, text) whose last turn also says which JSON is wanted."""
    *earlier, (role, text) = texts
    return [*earlier, (role, f"{text}\n\n{in_words(schema)}")]
