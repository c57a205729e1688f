"""JSON schemas as providers take them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Literal

import pytest
from pydantic import BaseModel

from exegete.llm.schema import in_words, name_of, strict


class Cat(BaseModel):
    kind: Literal["cat"] = "cat"
    name: str = "Tom"
    friend: Cat | None = None


class Dog(BaseModel):
    kind: Literal["dog"]
    barks: bool


class Pets(BaseModel):
    """Everything pydantic nests objects in."""

    one: Cat
    many: list[Cat | Dog]
    maybe: Dog | None = None
    grid: list[list[int]] = []


def objects(schema: Any) -> Iterator[dict[str, Any]]:
    """All objects of a schema, however deep, found without knowing where schemas nest."""
    if isinstance(schema, dict):
        if schema.get("type") == "object":
            yield schema
        for value in schema.values():
            yield from objects(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from objects(value)


def test_strict() -> None:
    """Every object requires all of its properties and allows no others; nothing has a default."""
    schema = strict(Pets.model_json_schema())
    found = list(objects(schema))
    assert len(found) == 3
    for item in found:
        assert item["additionalProperties"] is False
        assert item["required"] == list(item["properties"])
    assert "default" not in json.dumps(schema)
    assert schema["properties"]["maybe"]["anyOf"] == [{"$ref": "#/$defs/Dog"}, {"type": "null"}]


def test_properties_named_like_keywords() -> None:
    """A property that is called "default" or "type" is a property all the same."""
    schema = {
        "type": "object",
        "properties": {"default": {"type": "string"}, "type": {"type": "string", "default": "x"}},
    }
    made = strict(schema)
    assert made["properties"] == {"default": {"type": "string"}, "type": {"type": "string"}}
    assert made["required"] == ["default", "type"]


def test_the_original_is_left_alone() -> None:
    """The schema in a request is part of its key and must not change."""
    schema = Pets.model_json_schema()
    before = json.dumps(schema)
    strict(schema)
    assert json.dumps(schema) == before


def test_one_of_becomes_any_of() -> None:
    """Strict mode has no oneOf."""
    made = strict(
        {"oneOf": [{"type": "string", "default": "x"}, {"$ref": "#/$defs/A", "description": "an A"}]}
    )
    assert made == {"anyOf": [{"type": "string"}, {"$ref": "#/$defs/A"}]}


def test_free_names_can_not_be_said() -> None:
    """An object with free property names is refused: strict mode would make it an empty object."""
    with pytest.raises(ValueError, match="'Levels' has free property names"):
        strict({"title": "Levels", "type": "object", "additionalProperties": {"type": "integer"}})


@pytest.mark.parametrize(
    ("title", "name"),
    [("Proposals", "Proposals"), ("Answer[int]", "Answer_int_"), (None, "reply"), ("x" * 99, "x" * 64)],
)
def test_names(title: str | None, name: str) -> None:
    """Names are what providers take."""
    assert name_of({"title": title} if title else {}) == name


def test_in_words() -> None:
    """The prompt version holds the whole strict schema."""
    schema = Dog.model_json_schema()
    assert json.dumps(strict(schema)) in in_words(schema)
