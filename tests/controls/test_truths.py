"""What a planted feature is: its rule against a literal reading, and its labels against its rule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from exegete.controls.choosing import Chooser
from exegete.controls.passages import Passages
from exegete.controls.truths import POSITIVE, WITHIN, Truth, levels, without_condition
from exegete.datastore.hashing import digest64
from exegete.datastore.records import Context, Floats
from exegete.datastore.strip import PreparedContext
from exegete.simulators.grammar_reading import parse
from exegete.simulators.lexical import levels_of
from exegete.simulators.word_forms import fold
from tests.controls.texts import passages

SAYABLE = ("token", "token class", "form", "after a word", "graded", "or", "negated", "duplicate")


def literally(rule: Mapping[str, Any], words: Sequence[str], i: int) -> float:
    """A rule of one word of a context, as its description has it."""
    before = words[i - 1] if i else None
    match rule["rule"]:
        case "words":
            return dict(zip(rule["words"], rule["levels"], strict=True)).get(words[i], 0.0)
        case "after":
            return float(before == rule["text"])
        case "not after":
            return float(words[i] == rule["word"] and before != rule["text"])
        case "with":
            return float(words[i] == rule["word"] and rule["text"] in words[max(0, i - WITHIN) : i])
        case "places":
            return float(rule["first"] <= i < rule["end"])
        case "inside":
            depth = 0
            for word in words[: i + 1]:
                depth = max(0, depth + word.count("(") - word.count(")"))
            return float(depth >= rule["depth"] and words[i].count("(") == words[i].count(")"))
    raise AssertionError(rule)


def simulated(label: str, text: Passages) -> Floats:
    """What the lexical simulator makes of a label, all contexts end to end."""
    contexts = [Context(c.id, c.document, 0, c.units) for c in text.contexts]
    return np.concatenate(levels_of(parse(label), contexts))


@pytest.fixture(scope="module")
def chosen() -> dict[str, list[Truth]]:
    """Some truths of every kind, on the Python documentation."""
    chooser = Chooser(passages(), 3)
    return {kind: chooser.choose(kind, 4) for kind in POSITIVE}


@pytest.mark.parametrize("kind", sorted({*POSITIVE} - {"form"}))
def test_rules_hold_where_they_say(kind: str, chosen: dict[str, list[Truth]]) -> None:
    """Looked up on arrays, a rule holds exactly where a literal reading of it does."""
    text = Passages(passages().contexts[:250])
    for truth in chosen[kind][:2]:
        expected = [
            literally(truth.rule, words, i)
            for words in ([fold(unit) for unit in c.units] for c in text.contexts)
            for i in range(len(words))
        ]
        np.testing.assert_allclose(levels(truth.rule, text), expected)


@pytest.mark.parametrize("kind", SAYABLE)
def test_right_labels_say_the_rule(kind: str, chosen: dict[str, list[Truth]]) -> None:
    """Where the grammar can say a rule, its label simulates to the rule's levels, word for word."""
    for truth in chosen[kind]:
        assert truth.label is not None
        np.testing.assert_allclose(
            simulated(truth.label, passages()), 10 * levels(truth.rule, passages()), atol=1e-5
        )


@pytest.mark.parametrize("kind", SAYABLE)
def test_wrong_labels_are_wrong_as_they_say(kind: str, chosen: dict[str, list[Truth]]) -> None:
    """A label that is too broad holds wherever the right one does, and elsewhere; others in part of it."""
    for truth in chosen[kind][:2]:
        fires = levels(truth.rule, passages()) > 0
        for how, label in truth.wrong.items():
            says = simulated(label, passages()) > 0
            assert says.any(), label
            if how == "too broad":
                assert (says >= fires).all(), (truth.right, label)
                assert says.sum() > fires.sum()
            else:
                assert (says & fires).any(), (truth.right, label)
                assert (fires & ~says).any(), (truth.right, label)


def test_every_truth_can_be_scored_and_read_back(chosen: dict[str, list[Truth]]) -> None:
    """Each fires in ten contexts of every split and is silent in twenty; as JSON it stays what it is."""
    text = passages()
    splits = np.bincount(text.splits)
    for kind, truths in chosen.items():
        assert len(truths) == 4, kind
        for truth in truths:
            firing = text.contexts_a_split(levels(truth.rule, text) > 0)
            assert (firing >= 10).all(), truth
            assert (splits - firing >= 20).all(), truth
            assert Truth.from_json(truth.to_json()) == truth


def test_duplicates_come_in_twos(chosen: dict[str, list[Truth]]) -> None:
    """Of duplicates, each truth is there twice."""
    first, again, second, _ = chosen["duplicate"]
    assert first == again != second


def test_exceptions_and_conditions_matter(chosen: dict[str, list[Truth]]) -> None:
    """Leaving out what makes them hard costs a label a good part of its correlation."""
    for kind in ("negated", "and"):
        for truth in chosen[kind]:
            rule = without_condition(truth.rule)
            assert rule is not None
            plain = levels(rule, passages())
            assert np.array_equal(plain > 0, passages().is_word([truth.rule["word"]]))
            assert np.corrcoef(plain, levels(truth.rule, passages()))[0, 1] < 0.9, truth
    for kind in ("token", "graded", "form", "bracket depth"):
        assert without_condition(chosen[kind][0].rule) is None


@pytest.mark.parametrize("unit", ["word", "token"])
def test_windows_show_the_right_part(unit: Any) -> None:
    """What is cut from a window are the values of its own words, or of its tokens."""
    first = PreparedContext(1, "a", 5, np.asarray([0, 1, 3]), ("one", " twothree", " four"))
    second = PreparedContext(digest64("x"), "b", 4, np.asarray([0, 2]), ("fivesix", " seven eight"))
    text = Passages((first, second))
    values = np.asarray([1, 2, 3, 4, 5], dtype=np.float32)
    window = (" two", "three", " four") if unit == "token" else (" twothree", " four")
    shown = text.shown(values, Context(1, "a", 1, window), unit)
    assert shown.tolist() == ([2, 2, 3] if unit == "token" else [2, 3])
    assert text.shown(values, Context(second.id, "b", 2, (" seven eight",)), "word").tolist() == [5]
