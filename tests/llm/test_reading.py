"""Reading replies: what the model said, all of it, and nothing it did not say."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from exegete.llm.reading import Unreadable, read


class Item(BaseModel):
    word: str
    level: int


class Levels(BaseModel):
    items: list[Item]
    note: str | None = None
    sure: bool = True
    share: float = 0.5


class One(BaseModel):
    level: int
    why: str


ITEMS = st.lists(st.builds(Item, word=st.text(), level=st.integers(-5, 10**20)), max_size=4)
LEVELS = st.builds(
    Levels,
    items=ITEMS,
    note=st.none() | st.text(),
    sure=st.booleans(),
    share=st.floats(allow_nan=False, allow_infinity=False),
)
PIECES = ["", "{", "}", "[", "]", '"', ",", ":", "0", "NaN", "null", "```", "\n", " x "]
PROSE = st.text(st.characters(exclude_characters="[]{}"), max_size=30)


@given(LEVELS, st.sampled_from([None, 2]), st.booleans())
def test_whole(value: Levels, indent: int | None, ascii_only: bool) -> None:
    """Any value written as JSON reads back as itself."""
    assert read(json.dumps(value.model_dump(), indent=indent, ensure_ascii=ascii_only), Levels) == value


@given(LEVELS, PROSE, PROSE, st.sampled_from(["```json\n{}\n```", "```\n{}\n```", "{}", "Answer: {}"]))
def test_in_prose(value: Levels, before: str, after: str, frame: str) -> None:
    """A value in a fence or in prose reads as itself."""
    assume("<think" not in before)
    text = before + frame.replace("{}", json.dumps(value.model_dump())) + after
    assert read(text, Levels) == value


def test_after_thinking() -> None:
    """What a model thinks aloud before its answer is not its answer; thoughts alone are none."""
    draft, final = '{"level": 1, "why": "draft"}', '{"level": 7, "why": "final"}'
    assert read(f"<think>maybe {draft} or {{</think>\n{final}", One).level == 7
    for text in (f"<think>maybe {draft}</think>", f"<think>maybe {draft}", "<think>"):
        with pytest.raises(Unreadable, match="empty"):
            read(text, One)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  \n ",
        "null",
        "{}",
        "[]",
        '""',
        "I can't.",
        '{"level": 7}',  # a field is missing
        '{"level": "7", "why": "x"}',  # wrong types
        '{"level": 7.0, "why": "x"}',
        '{"level": true, "why": "x"}',
        '{"level": null, "why": "x"}',
        '{"level": 7, "why": "x", "extra": 1}',
        '{"level": 7, "why": "x", "level": 8}',  # which one?
        '{"level": NaN, "why": "x"}',
        '{"level": 1e999, "why": "x"}',
        '[{"level": 7, "why": "x"}]',
        '{"answer": {"level": 7, "why": "x"}}',
        '[{"level": 7, "why": "x"}, {"level": 8, "why"',  # the first item of a torn list
        '{"level": 7, "why": "x"} or {"level": 8, "why": "x"}',
        'a set {1, 2} then {"level": 7, "why": "x"}',
        "{'level': 7, 'why': 'x'}",
        "{level: 7, why: x}",
        '{"level": 7 "why": "x"}',
        '{"level": 7, "why": "x",}',
        '{"level": 7, // seven\n "why": "x"}',
        '{"level": 7, "why": "x',
        '{"level": 7, "why": ',
        '{"level": 7, "why"',
        '{"why": "x", "level": 7',  # or 70, or 75?
        '{"level": 7, "why": "\\ud800"}',
        "[" * 100_000,
        '{"level":' * 2_000,
        '{"level": ' + "7" * 5_000 + ', "why": "x"}',
    ],
)
def test_not_readable(text: str) -> None:
    """None of these says what was asked for, once and whole."""
    with pytest.raises(Unreadable) as error:
        read(text, One)
    assert str(error.value)


@pytest.mark.parametrize(
    ("text", "levels"),
    [
        (
            '{"items": [{"word": "a", "level": 1}, {"word": "b", "level": 2}], "sure": true, "share": 0.1e1',
            None,
        ),
        (
            '{"items": [{"word": "a", "level": 1}, {"word": "b", "level": 2}], "share": 1.0, "sure": true',
            [1, 2],
        ),
        ('```json\n{"items": [{"word": "a", "level": 1}], "share": 1.0, "sure": false\n```', [1]),
        (
            '{"items": [{"word": "a", "level": 1}, {"word": "b", "level": 2}, "share": 1.0, "sure": true}',
            None,
        ),
        (
            '{"items": [{"word": "a", "level": 1, {"word": "b", "level": 2}], "share": 1.0, "sure": true}',
            [1, 2],
        ),
        ('{"items": [{"word": "a", "level": 1}, {"word": "b", "level": 2}]', None),  # sure and share left out
        ('{"share": 1.0, "sure": true, "items": [{"word": "a", "level": 1}, {"word": "b", "level": 2}', None),
        ('{"share": 1.0, "sure": true, "items": [{"word": "a", "level": 1}', None),  # the list may go on
        ('{"share": 1.0, "sure": true, "items": [', None),
        ('{"share": 1.0, "sure": true, "items": []', []),
        ('{"items": [], "share": 1.0, "sure": tru', None),
    ],
)
def test_missing_closers(text: str, levels: list[int] | None) -> None:
    """Closing brackets may be missing, but not where a list or a number may have gone on."""
    if levels is None:
        with pytest.raises(Unreadable):
            read(text, Levels)
    else:
        assert [item.level for item in read(text, Levels).items] == levels


def test_a_field_left_out_is_not_filled_in() -> None:
    """Only None, which says that something is missing, may stand for what the reply left out."""
    with pytest.raises(Unreadable, match="left out: sure, share"):
        read('{"items": []}', Levels)
    assert read('{"items": [], "sure": false, "share": 0.0}', Levels).note is None


class Inner(BaseModel):
    """A field that makes its own default, and none that shows in the schema."""

    words: list[str] = Field(default_factory=list)


class Outer(BaseModel):
    """Nothing of its own is filled in."""

    inner: Inner | None = None


def test_a_field_left_out_further_in_is_not_filled_in() -> None:
    """The same holds of what stands inside, however its default comes about."""
    assert read("{}", Outer).inner is None
    assert read('{"inner": {"words": []}}', Outer).inner == Inner()
    with pytest.raises(Unreadable, match=r"left out: inner\.words"):
        read('{"inner": {}}', Outer)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999", '"1"', "null", "true"])
def test_numbers_that_are_none(number: str) -> None:
    """A field for any number takes no NaN, no infinity however it is written, and nothing else either."""
    assert read('{"items": [], "sure": true, "share": 1}', Levels).share == 1.0
    with pytest.raises(Unreadable):
        read(f'{{"items": [], "sure": true, "share": {number}}}', Levels)


@given(LEVELS, st.data())
@settings(max_examples=300)
def test_torn_anywhere(value: Levels, data: st.DataObject) -> None:
    """A reply that breaks off at any character reads as the whole value or not at all."""
    text = json.dumps(value.model_dump())
    at = data.draw(st.integers(0, len(text)))
    try:
        assert read(text[:at], Levels) == value
    except Unreadable:
        assert at < len(text)


def leaves(value: Any) -> list[Any]:
    """All names and scalars in a JSON value, with their types."""
    if isinstance(value, dict):
        return [leaf for key, item in value.items() for leaf in [("name", key), *leaves(item)]]
    if isinstance(value, list):
        return [leaf for item in value for leaf in leaves(item)]
    return [(type(value).__name__, value)]


def strings(text: str) -> set[str]:
    """What every string means that begins at any quote in a text."""
    found: set[str] = set()
    for at in (at for at, character in enumerate(text) if character == '"'):
        with contextlib.suppress(ValueError):
            found.add(json.decoder.scanstring(text, at + 1)[0])
    return found


@given(LEVELS, st.data())
@settings(max_examples=500)
def test_never_a_value_that_was_not_there(value: Levels, data: st.DataObject) -> None:
    """However a reply is damaged, whatever is read from it was said: each text and number stands in it."""
    text = json.dumps(value.model_dump())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(text)))
        to = data.draw(st.integers(at, min(len(text), at + 8)))
        put = data.draw(st.sampled_from(PIECES))
        text = text[:at] + put + text[to:]
    try:
        got = read(text, Levels)
    except Unreadable:
        return
    for kind, leaf in leaves(got.model_dump(exclude_unset=True)):
        if kind in ("name", "str"):
            assert leaf in strings(text)
        elif kind == "int":
            assert str(leaf) in text
        elif kind == "bool":
            assert str(leaf).lower() in text
    assert got.model_fields_set >= {"items", "sure", "share"}


@given(
    st.recursive(
        st.one_of(
            *map(st.sampled_from, (["1", "10", "1e999", "NaN", "-0", "7e0", "9" * 30], ['"a"', '"\\ud800"']))
        ),
        lambda inner: (
            st.lists(inner, max_size=2).map(lambda items: f"[{','.join(items)}]")
            | st.lists(st.tuples(st.sampled_from(["level", "why"]), inner), max_size=3).map(
                lambda pairs: "{" + ",".join(f'"{name}":{value}' for name, value in pairs) + "}"
            )
        ),
        max_leaves=6,
    )
)
def test_looked_at_closely_or_not(text: str) -> None:
    """Compact JSON that is not looked at for odd numbers and names given twice ends as if it were."""

    def outcome() -> tuple[str, str]:
        try:
            return "read", repr(read(text, One))
        except Unreadable as error:
            return "not read", str(error)

    quickly = outcome()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("exegete.llm.reading._comes_back", lambda text: False)
        assert outcome() == quickly


def test_nested_too_deeply() -> None:
    """A reply of brackets alone, as deep as they go, is not readable, and nothing else happens."""
    for depth in (100, 300, 2000, 100_000):
        with pytest.raises(Unreadable):
            read("[" * depth + "]" * depth, One)


@given(st.text())
def test_any_text(text: str) -> None:
    """No text is an answer by accident, and none makes reading fail in another way."""
    with pytest.raises(Unreadable):
        read(text, Levels)


def test_complaints_are_fit_for_asking_again() -> None:
    """What is said to the model names the place and the problem, and does not grow with the reply."""
    many = json.dumps({"items": [{"word": 1, "level": "x"}] * 50, "sure": True, "share": 1})
    with pytest.raises(Unreadable) as error:
        read(many, Levels)
    assert str(error.value).startswith("items.0.word: Input should be a valid string")
    assert len(str(error.value)) < 400
