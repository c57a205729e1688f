"""Reading replies: a level only where one was said, missing where anything is wrong, never a zero instead."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exegete.simulators.sparse_reply import NumberedSimulation, QuotedSimulation, read_items

Item = dict[str, Any]
Case = tuple[dict[int, list[str]], dict[int, dict[int, int]]]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Words of some excerpts, with repeats and changes of case, and levels at one or more places."""
    numbers = draw(st.lists(st.integers(1, 9), min_size=1, max_size=4, unique=True))
    words = {
        n: draw(st.lists(st.sampled_from(["a", "A", "b", "bb", ","]), min_size=2, max_size=9))
        for n in numbers
    }
    levels = {
        n: draw(st.dictionaries(st.integers(0, len(words[n]) - 1), st.integers(1, 10), min_size=1))
        for n in numbers
    }
    return words, levels


def reply_of(case: Case, numbered: bool) -> list[Item]:
    """The well-formed reply that says these levels."""
    words, levels = case
    return [
        {
            "excerpt": n,
            "fires": [
                [at + 1, level] if numbered else [words[n][at], words[n][: at + 1].count(words[n][at]), level]
                for at, level in levels[n].items()
            ],
        }
        for n in words
    ]


def true_levels(case: Case, n: int) -> list[int]:
    words, levels = case
    return [levels[n].get(at, 0) for at in range(len(words[n]))]


@given(cases(), st.booleans(), st.randoms(use_true_random=False))
def test_well_formed_replies_are_read(case: Case, numbered: bool, random: Any) -> None:
    """In whatever order, every level said comes back at its place and every other word is 0."""
    items = reply_of(case, numbered)
    random.shuffle(items)
    for item in items:
        random.shuffle(item["fires"])
    read = read_items(items, case[0], numbered=numbered)
    assert list(read) == list(case[0])
    for n, levels in read.items():
        assert isinstance(levels, np.ndarray)
        assert levels.dtype == np.float32
        assert levels.tolist() == true_levels(case, n)


NOT_LEVELS = [
    11,
    -1,
    100,
    7.5,
    7.0,
    float("nan"),
    float("inf"),
    "7",
    "",
    None,
    True,
    False,
    [7],
    {"level": 7},
]
NOT_COUNTS = [0, -1, 1000, 1.5, 1.0, "1", None, True, float("nan"), [1]]
NOT_WORDS = ["zebra", "", " ", "a b", "ab", "a,", None, 1, True, ["a"], "⏎", "aa", "1:a"]
NOT_LISTS = [
    None,
    "a",
    3,
    {},
    {"a": 7},
    True,
    [7],
    ["a"],
    [None],
    [[]],
    [["a"]],
    [["a", 1]],
    [["a", 1, 7, 7]],
    "[]",
]


def _set(place: int, value: Any) -> Callable[[Item], None]:
    def change(item: Item) -> None:
        item["fires"][0][place] = value

    return change


def _put(key: str, value: Any) -> Callable[[Item], None]:
    def change(item: Item) -> None:
        item[key] = value

    return change


def _append(*entries: Any) -> Callable[[Item], None]:
    def change(item: Item) -> None:
        item["fires"].extend(entries)

    return change


def _contradict(item: Item) -> None:
    entry = list(item["fires"][0])
    entry[-1] = 10 - entry[-1] if entry[-1] != 5 else 6
    item["fires"].append(entry)


def _drop(key: str) -> Callable[[Item], None]:
    def change(item: Item) -> None:
        del item[key]

    return change


BOTH = [
    *[_set(-1, value) for value in NOT_LEVELS],
    _contradict,
    _drop("fires"),
    _put("note", "sure"),
    _put("excerpt", "1"),
    _put("excerpt", None),
    _put("excerpt", True),
    _put("excerpt", 1.0),
    _append(None),
    _append("a"),
    _append([]),
    _append({"word": "a", "occurrence": 1, "level": 7}),
]
BREAKS = {
    False: [
        *BOTH,
        *[_set(1, value) for value in NOT_COUNTS],
        *[_set(0, value) for value in NOT_WORDS],
        *[_put("fires", value) for value in NOT_LISTS],
    ],
    True: [
        *BOTH,
        *[_set(0, value) for value in [*NOT_COUNTS, "a"]],
        *[_put("fires", value) for value in [*NOT_LISTS[:8], [[1]], [[1, 2, 3]], [["a", 2]], [1, 2]]],
    ],
}


@settings(max_examples=600)
@given(cases(), st.booleans(), st.data())
def test_what_is_wrong_is_missing_and_nothing_else_is(
    case: Case, numbered: bool, data: st.DataObject
) -> None:
    """Anything wrong with an excerpt's entry makes it missing, with a reason; all others are as said."""
    items = reply_of(case, numbered)
    broken = data.draw(st.integers(0, len(items) - 1))
    number = items[broken]["excerpt"]
    data.draw(st.sampled_from(BREAKS[numbered]))(items[broken])
    read = read_items(items, case[0], numbered=numbered)
    assert isinstance(read[number], str)
    assert read[number]
    for n in case[0].keys() - {number}:
        assert np.asarray(read[n]).tolist() == true_levels(case, n)


@given(cases(), st.booleans(), st.data())
def test_absent_and_duplicate_excerpts_are_missing(case: Case, numbered: bool, data: st.DataObject) -> None:
    """An excerpt without an entry, or with two, even equal ones, is missing."""
    items = reply_of(case, numbered)
    one = data.draw(st.sampled_from(items))
    rest = [item for item in items if item is not one]
    for changed, why in ((rest, "no entry"), ([*items, copy.deepcopy(one)], "2 entries")):
        read = read_items(changed, case[0], numbered=numbered)
        assert why in str(read[one["excerpt"]])
        assert all(isinstance(read[item["excerpt"]], np.ndarray) for item in rest)


@given(cases(), st.booleans(), st.sampled_from([0, -1, 10, 10**9]))
def test_unasked_excerpts_make_all_missing(case: Case, numbered: bool, number: int) -> None:
    """A number that was not asked about means that numbers are off: nothing of that reply is believed."""
    items = [*reply_of(case, numbered), {"excerpt": number, "fires": []}]
    read = read_items(items, case[0], numbered=numbered)
    assert set(read) == set(case[0])
    assert all(f"excerpt {number}, which was not asked about" in str(why) for why in read.values())


JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 12)
    | st.floats()
    | st.sampled_from(["a", "b", "excerpt", "fires", ""]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["excerpt", "fires", "x"]), inner, max_size=3)
    ),
    max_leaves=12,
)


@settings(max_examples=300)
@given(
    st.lists(JUNK | st.fixed_dictionaries({"excerpt": st.integers(1, 2), "fires": JUNK}), max_size=4),
    st.booleans(),
)
def test_junk_never_raises_and_never_fires(items: list[Any], numbered: bool) -> None:
    """Over any JSON, every excerpt has a result, and a level stands only where an entry literally says it."""
    asked = {1: ["a", "b", "a"], 2: ["b"]}
    read = read_items(items, asked, numbered=numbered)
    assert set(read) == {1, 2}
    for n, result in read.items():
        if isinstance(result, str):
            assert result
            continue
        about = [item for item in items if isinstance(item, dict) and type(item.get("excerpt")) is int]
        [fires] = [item["fires"] for item in about if item["excerpt"] == n]
        assert isinstance(fires, list)
        for at, level in enumerate(result.tolist()):
            word = asked[n][at]
            entry = [at + 1, level] if numbered else [word, asked[n][: at + 1].count(word), level]
            assert level == 0 or entry in fires


def test_case_is_forgiven_only_where_nothing_is_exact() -> None:
    """ "A" counts printed "A"s; only where there are none, "a"s; so what is meant is never ambiguous."""
    words = {1: ["a", "A", "a"], 2: ["a", "b", "a"]}
    read = read_items(
        [{"excerpt": 1, "fires": [["A", 1, 5]]}, {"excerpt": 2, "fires": [["A", 2, 5]]}],
        words,
        numbered=False,
    )
    assert [np.asarray(read[n]).tolist() for n in (1, 2)] == [[0, 5, 0], [0, 0, 5]]
    [why] = read_items([{"excerpt": 1, "fires": [["A", 2, 5]]}], {1: words[1]}, numbered=False).values()
    assert isinstance(why, str)


def test_breaks_are_not_part_of_words() -> None:
    """The sign of a line break before a word may be copied with it; where the sign is the word, it is one."""
    quote = [{"excerpt": 1, "fires": [["⏎ So", 1, 5]]}]
    assert np.asarray(read_items(quote, {1: ["a", "So"]}, numbered=False)[1]).tolist() == [0, 5]
    quote = [{"excerpt": 1, "fires": [["⏎", 1, 5]]}]
    assert np.asarray(read_items(quote, {1: ["a", "⏎"]}, numbered=False)[1]).tolist() == [0, 5]


@pytest.mark.parametrize("quoted", ["", " ", "\n", "\u3000"])
def test_a_blank_is_quoted_by_its_picture(quoted: str) -> None:
    """Whitespace names no word, even where one is printed as the picture of it; the picture does."""
    words = {1: ["␣", "⏎"]}
    assert isinstance(read_items([{"excerpt": 1, "fires": [[quoted, 1, 5]]}], words, numbered=False)[1], str)
    read = read_items([{"excerpt": 1, "fires": [["␣", 1, 5]]}], words, numbered=False)
    assert np.asarray(read[1]).tolist() == [5, 0]


def test_zero_may_be_said() -> None:
    """Level 0 is a level: a model that lists a word as silent is understood."""
    read = read_items([{"excerpt": 1, "fires": [["a", 1, 0]]}], {1: ["a"]}, numbered=False)
    assert np.asarray(read[1]).tolist() == [0]


@pytest.mark.parametrize("model", [QuotedSimulation, NumberedSimulation])
def test_schemas_are_strict_and_reading_is_not(
    model: type[QuotedSimulation] | type[NumberedSimulation],
) -> None:
    """The schema sent allows one form only; what comes back is kept as it is for `read_items`."""
    schema = model.model_json_schema()
    assert schema["additionalProperties"] is False
    item = schema["properties"]["excerpts"]["items"]
    assert item["properties"]["excerpt"] == {"type": "integer"}
    assert item["properties"]["fires"]["items"]["type"] == "array"
    mixed = [{"excerpt": 1, "fires": []}, None, 3, {"excerpt": "x"}]
    assert model.model_validate_json(json.dumps({"excerpts": mixed})).excerpts == mixed
