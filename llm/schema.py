"""JSON schemas in the two forms providers take: strict, and in words."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

_NESTED = ("anyOf", "allOf", "items")
_NAMED = ("properties", "$defs")


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


def strict_form(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """`strict` of a schema that comes with every call: worked out once, and not to be changed."""
    return _strict_form(json.dumps(schema))


@lru_cache(maxsize=64)
def _strict_form(text: str) -> Mapping[str, Any]:
    return strict(json.loads(text))


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
