"""Reading a sparse simulation: from what a model listed to a level for every word, or to why there is none.

The schema a provider is given is strict; what comes back is read item by item, so that one bad excerpt does
not cost the others. Nothing is guessed: an excerpt's levels are those that were said, and 0 at the words not
named in a list that is whole; or the excerpt is missing, with the reason.

    "fires": [["too", 2, 8]]     the second word printed "too" has level 8      (quoted)
    "fires": [[7, 8]]            word 7 has level 8                             (numbered)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, TypeGuard

import numpy as np
from pydantic import BaseModel, ConfigDict, WithJsonSchema

from exegete.datastore.records import MAX_LEVEL, Floats
from exegete.prompts.material import LINE_BREAK, shown_word, shown_words


def _item_schema(entry: Mapping[str, Any]) -> dict[str, Any]:
    """JSON schema of one excerpt of a reply, given that of what stands in one entry of its list."""
    return {
        "type": "object",
        "properties": {
            "excerpt": {"type": "integer"},
            "fires": {"type": "array", "items": {"type": "array", "items": dict(entry)}},
        },
        "required": ["excerpt", "fires"],
        "additionalProperties": False,
    }


class Listing(BaseModel):
    """A reply: for every excerpt, by its number, the list of where the feature fires."""

    model_config = ConfigDict(extra="forbid")

    excerpts: list[Any]
    """One item an excerpt; checked by `read_items`, one at a time."""


class QuotedSimulation(Listing):
    """A reply that names words as printed: [word, occurrence, level]."""

    excerpts: list[
        Annotated[Any, WithJsonSchema(_item_schema({"anyOf": [{"type": "string"}, {"type": "integer"}]}))]
    ]


class NumberedSimulation(Listing):
    """A reply that names words by their numbers: [word number, level]."""

    excerpts: list[Annotated[Any, WithJsonSchema(_item_schema({"type": "integer"}))]]


_KEYS = frozenset({"excerpt", "fires"})


class Unreadable(ValueError):
    """Why an excerpt's levels can't be read, as told to the model that is asked again."""


def read_items(
    items: Sequence[object], asked: Mapping[int, Sequence[str]], *, numbered: bool
) -> dict[int, Floats | str]:
    """Read the levels of every excerpt that was asked about.

    Args:
        items: what the reply lists, as decoded from JSON: anything.
        asked: the words of each excerpt by its number, printed or as they are.
        numbered: whether words are named by number.

    Returns:
        For every excerpt asked about, (n_words,) levels from 0 to 10, or why they are missing.
    """
    by_number: dict[int, list[Mapping[str, object]]] = {number: [] for number in asked}
    for item in items:
        number = item.get("excerpt") if isinstance(item, dict) else None
        if not isinstance(item, dict) or not _is_whole(number):
            continue  # Whose it is can't be told; the excerpt it leaves unanswered is missing below.
        if number not in by_number:
            # Numbers are off, by one perhaps: no other item can be trusted to be about its excerpt.
            return dict.fromkeys(asked, f"the reply has an excerpt {number}, which was not asked about")
        by_number[number].append(item)
    return {number: _read_one(by_number[number], tokens, numbered) for number, tokens in asked.items()}


def _read_one(items: Sequence[Mapping[str, object]], tokens: Sequence[str], numbered: bool) -> Floats | str:
    """Read one excerpt: its levels, or why they are missing."""
    if not items:
        return "the reply has no entry for this excerpt"
    if len(items) > 1:
        return f"the reply has {len(items)} entries for this excerpt"
    if items[0].keys() != _KEYS:
        return 'an entry has "excerpt" and "fires" and nothing else'
    try:
        return _read_fires(items[0]["fires"], tokens, numbered)
    except Unreadable as error:
        return str(error)


def _read_fires(fires: object, tokens: Sequence[str], numbered: bool) -> Floats:
    """Put the levels of a list at their words.

    Raises:
        Unreadable: the list, or anything in it, is not what it should be.
    """
    if not isinstance(fires, list):
        raise Unreadable('"fires" must be a list')
    levels = np.zeros(len(tokens), dtype=np.float32)
    if not fires:
        return levels
    words = shown_words(tokens)
    said: dict[int, int] = {}
    for entry in fires:
        if not isinstance(entry, list) or len(entry) != (2 if numbered else 3):
            wanted = "[word number, level]" if numbered else "[word, occurrence, level]"
            raise Unreadable(f'everything in "fires" must be a list {wanted}')
        place = _numbered_place(entry[0], words) if numbered else _quoted_place(entry[0], entry[1], words)
        level = _level(entry[-1], words[place])
        if said.setdefault(place, level) != level:
            word = _short(words[place])
            raise Unreadable(f'"{word}" is given two levels at one place, {said[place]} and {level}')
        levels[place] = level
    return levels


def _level(level: object, word: str) -> int:
    """Check a level."""
    if not _is_whole(level) or not 0 <= level <= MAX_LEVEL:
        raise Unreadable(f'the level of "{_short(word)}" must be a whole number from 0 to {MAX_LEVEL}')
    return level


def _numbered_place(number: object, words: Sequence[str]) -> int:
    """Position of a word named by its number."""
    if not _is_whole(number) or not 1 <= number <= len(words):
        raise Unreadable(f"word numbers are whole numbers from 1 to {len(words)}")
    return number - 1


def _quoted_place(quoted: object, occurrence: object, words: Sequence[str]) -> int:
    """Position of a word named by how it is printed and which of those it is.

    Words printed exactly so are counted; only where there is none, words that differ in case alone.
    """
    if not isinstance(quoted, str) or not quoted.strip():
        raise Unreadable("a word must be quoted as text")
    word = _as_printed(quoted)
    wanted, printed = word, words
    if not (n := printed.count(wanted)):
        wanted, printed = word.casefold(), [other.casefold() for other in words]
        n = printed.count(wanted)
    if not n:
        raise Unreadable(f'"{_short(word)}" is not a word of this excerpt')
    if not _is_whole(occurrence) or not 1 <= occurrence <= n:
        raise Unreadable(
            f'the occurrence of "{_short(word)}" must be a whole number from 1 to {n}: there are {n} of it'
        )
    place = -1
    for _ in range(occurrence):
        place = printed.index(wanted, place + 1)
    return place


def _as_printed(quoted: str) -> str:
    """A quoted word as it would be printed; the mark of a line break before it is whitespace, not a word."""
    if LINE_BREAK in quoted:
        after_break = quoted.strip().removeprefix(LINE_BREAK)
        return shown_word(after_break if after_break[:1].isspace() else quoted)
    return shown_word(quoted)


def _short(word: str) -> str:
    """A word for a message, cut when a model quoted half the text."""
    return word if len(word) <= 40 else f"{word[:40]}…"


def _is_whole(value: object) -> TypeGuard[int]:
    """Say whether a decoded JSON value is a whole number (`true` is none, nor is 7.0)."""
    return type(value) is int
