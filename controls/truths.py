"""What makes a planted feature fire: a rule over words, what it is in words, and the label that says it.

rule                                          kinds
words, levels                                 token, token class, graded, or, duplicate
ending, beginning or class of words           form
directly after a word                         after a word
a word, but not directly after another        negated
a word, where another came shortly before     and
inside round brackets                         bracket depth
at some places of the harvested context       position

The last three no label of the lexical grammar can say. Levels are without noise, from 0 to 1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from exegete.controls.passages import Bools, Passages
from exegete.datastore.records import Floats
from exegete.simulators.word_classes import classes_of
from exegete.simulators.word_forms import begins_with, ends_in

POSITIVE: tuple[str, ...] = (
    *("token", "token class", "form", "after a word", "graded", "or", "negated", "duplicate"),
    *("and", "bracket depth", "position"),
)
"""Kinds of planted features: those that a label of the lexical grammar can say, then the others."""
NEGATIVE: tuple[str, ...] = ("random firing", "shuffled", "random direction", "random weights")
"""Kinds of features for which no label can be right."""
WITHIN = 12
"""Words before a word in which the other one of an "and" must have come."""

Rule = Mapping[str, Any]
"""JSON values: "rule" names it, the rest are its parameters."""


@dataclass(frozen=True, slots=True)
class Truth:
    """What is true of one planted feature."""

    kind: str
    said: str
    """In words."""
    label: str | None
    """In the lexical grammar, where that can say it."""
    keys: tuple[str, ...]
    """What a label can't be right without naming: half of these at least."""
    rule: Rule
    wrong: Mapping[str, str]
    """Labels that are wrong, by how: "too broad", "too narrow", "half of an or"."""

    @property
    def right(self) -> str:
        """The right label, as a simulator is given it."""
        return self.label or self.said

    def to_json(self) -> dict[str, Any]:
        """As JSON values, for a feature's metadata."""
        return asdict(self)

    @staticmethod
    def from_json(record: Mapping[str, Any]) -> Truth:
        """What `to_json` gave."""
        return Truth(**{**record, "keys": tuple(record["keys"])})


def levels(rule: Rule, passages: Passages) -> Floats:
    """How strongly a rule holds of every word of a text.

    Returns:
        (n_words,) from 0 to 1.
    """
    return np.asarray(_RULES[rule["rule"]](passages, rule), dtype=np.float32)


def without_condition(rule: Rule) -> Rule | None:
    """The rule of the word alone, of a rule with an exception or a condition; None of any other."""
    return {"rule": "words", "words": [rule["word"]], "levels": [1.0]} if "word" in rule else None


def _words(passages: Passages, rule: Rule) -> Floats:
    of_word = np.zeros(len(passages.words), dtype=np.float32)
    for word, level in zip(rule["words"], rule["levels"], strict=True):
        if word in passages.place_of:
            of_word[passages.place_of[word]] = level
    return np.asarray(of_word[passages.word])


def _ending(passages: Passages, rule: Rule) -> Bools:
    found = np.asarray([ends_in(word, rule["text"]) for word in passages.words], dtype=bool)
    return np.asarray(found[passages.word])


def _beginning(passages: Passages, rule: Rule) -> Bools:
    found = np.asarray([begins_with(word, rule["text"]) for word in passages.words], dtype=bool)
    return np.asarray(found[passages.word])


def _class(passages: Passages, rule: Rule) -> Bools:
    # How a word is written counts, so it is looked up as it stands.
    found = np.asarray([rule["text"] in classes_of(unit) for unit in passages.units], dtype=bool)
    return np.asarray(found[passages.code])


def _after(passages: Passages, rule: Rule) -> Bools:
    return np.asarray(passages.before == passages.place_of.get(rule["text"], -2))


def _not_after(passages: Passages, rule: Rule) -> Bools:
    return passages.is_word([rule["word"]]) & ~_after(passages, rule)


def _with(passages: Passages, rule: Rule) -> Bools:
    return passages.is_word([rule["word"]]) & came_before(passages, rule["text"])


def came_before(passages: Passages, word: str) -> Bools:
    """(n_words,) whether a word came among the `WITHIN` words before, in the same context."""
    there = np.concatenate(([0], np.cumsum(passages.is_word([word]))))
    here = np.arange(len(passages.word))
    since = np.maximum(here - WITHIN, here - passages.place)
    return np.asarray(there[here] > there[since])


def _inside(passages: Passages, rule: Rule) -> Bools:
    # A bracket that was opened before the context began is not seen, and one that is closed there is none.
    marks = [word.count("(") - word.count(")") for word in passages.words]
    step = np.asarray(marks, dtype=np.int64)[passages.word]
    depth = np.zeros(len(step), dtype=np.int64)
    for first, context in zip(passages.first_word.tolist(), passages.contexts, strict=True):
        reached = np.cumsum(step[first : first + len(context.units)])
        depth[first : first + len(context.units)] = reached - np.minimum.accumulate(np.minimum(reached, 0))
    return np.asarray((depth >= rule["depth"]) & (step == 0))


def _places(passages: Passages, rule: Rule) -> Bools:
    return np.asarray((passages.place >= rule["first"]) & (passages.place < rule["end"]))


_RULES: Mapping[str, Callable[[Passages, Rule], Floats | Bools]] = {
    "words": _words,
    "ending": _ending,
    "beginning": _beginning,
    "class": _class,
    "after": _after,
    "not after": _not_after,
    "with": _with,
    "inside": _inside,
    "places": _places,
}
