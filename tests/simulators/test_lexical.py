"""The lexical simulator, against a literal reading of its rule."""

from __future__ import annotations

import asyncio
import re

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from exegete.datastore.records import Context
from exegete.simulators import build
from exegete.simulators.grammar import NEVER, Clause, Pattern, render, rule_of
from exegete.simulators.lexical import LexicalSimulator, levels_of
from exegete.simulators.word_classes import classes_of
from exegete.simulators.word_forms import fold, stem
from tests.simulators.lexical_strategies import CLAUSES, CONTEXTS


def context(text: str) -> Context:
    """A passage whose words are what is between its spaces."""
    return Context(1, "d", 0, tuple(re.findall(r"\s*\S+", text)))


def simulated(label: str, text: str) -> list[float]:
    """What the simulator says of one passage."""
    simulation = asyncio.run(LexicalSimulator().simulate(label, [context(text)]))
    levels = simulation.levels[0]
    assert levels is not None
    return [float(level) for level in levels]


def literal_is(pattern: Pattern, token: str) -> bool:
    """Is a word what a pattern says? Written out from its description."""
    word = fold(token)
    name = word.strip("_") or word
    inner = word if "_" in pattern.text else name
    rest = len(inner) - len(pattern.text)
    return {
        "any": True,
        "word": word == pattern.text,
        "forms": stem(word) == stem(pattern.text),
        "ending": rest >= 2 and inner[rest:] == pattern.text,
        "beginning": rest >= 2 and inner[: len(pattern.text)] == pattern.text,
        "class": pattern.text in classes_of(token),
    }[pattern.kind]


def literal_level(clauses: list[Clause], tokens: tuple[str, ...], i: int) -> int:
    """The level of one word, clause by clause."""
    found = []
    for clause in clauses:
        beside = i + (-1 if clause.side == "after" else 1)
        there = clause.beside is None or (
            0 <= beside < len(tokens) and literal_is(clause.beside, tokens[beside])
        )
        if there and literal_is(clause.pattern, tokens[i]):
            found.append(clause.level)
    return 0 if NEVER in found else max(found, default=0)


def has_phrase(clause: Clause) -> bool:
    """Does a clause name more than a single, plain word?"""
    patterns = [clause.pattern, *([clause.beside] if clause.beside else [])]
    return any(p.kind == "word" and not re.fullmatch(r"\w+", p.text) for p in patterns)


@settings(max_examples=300)
@given(st.lists(CLAUSES.filter(lambda c: not has_phrase(c)), max_size=6), CONTEXTS)
def test_levels_are_those_of_the_strongest_clause(clauses: list[Clause], passage: Context) -> None:
    """Every word by itself, clause by clause, gives the same levels."""
    expected = [literal_level(clauses, passage.tokens, i) for i in range(len(passage.tokens))]
    (levels,) = levels_of(rule_of(clauses), [passage])
    assert levels.tolist() == expected
    assert levels.dtype == np.float32


@given(st.lists(CLAUSES, max_size=6), st.lists(CONTEXTS, max_size=4))
def test_contexts_are_simulated_by_themselves(clauses: list[Clause], passages: list[Context]) -> None:
    """What comes before and after a passage in the list changes nothing."""
    rule = rule_of(clauses)
    together = levels_of(rule, passages)
    alone = [levels_of(rule, [passage])[0] for passage in reversed(passages)]
    assert [a.tolist() for a in together] == [a.tolist() for a in reversed(alone)]


@given(st.text(), CONTEXTS)
def test_any_label_is_answered(label: str, passage: Context) -> None:
    """One level from 0 to 10 for every word, never missing."""
    simulation = asyncio.run(LexicalSimulator().simulate(label, [passage]))
    (levels,) = simulation.levels
    assert levels is not None
    assert levels.shape == (len(passage.tokens),)
    assert ((levels >= 0) & (levels <= 10)).all()
    assert simulation.why_missing == (None,)
    assert simulation.n_read == 1


@given(st.lists(CLAUSES, max_size=6), CONTEXTS)
def test_the_text_says_it_all(clauses: list[Clause], passage: Context) -> None:
    """From the label alone come the levels of the rule it was written from."""
    rule = rule_of(clauses)
    simulation = asyncio.run(LexicalSimulator().simulate(render(rule), [passage]))
    assert simulation.levels[0] is not None
    assert simulation.levels[0].tolist() == levels_of(rule, [passage])[0].tolist()


def test_strengths_and_neighbours() -> None:
    """The strongest clause that holds decides."""
    label = '"of" after "number", forms of "get" (strong); "of" (medium); words ending in "-ing" (weak)'
    assert simulated(label, "Number of things, getting OF it") == [0, 10, 0, 10, 5, 0]
    assert simulated('"number of" (weak)', "the number of it") == [0, 2, 2, 0]


def test_phrases() -> None:
    """All words of a phrase are meant where it comes, and so are the pieces a word falls into."""
    assert simulated('"such as"', "such as this, such") == [10, 10, 0, 0]
    assert simulated('"such as"', "such is such as") == [0, 0, 10, 10]
    assert simulated('"don\'t"', "don ' t don") == [10, 10, 10, 0]
    assert simulated('"don\'t"', "I don't") == [0, 10]
    assert simulated('"x" after "such as"; "such as" before "y"', "such as x such as y") == [
        0,
        0,
        10,
        10,
        10,
        0,
    ]
    assert simulated('"such as"; not "such as" before "y"', "such as x such as y") == [10, 10, 0, 0, 0, 0]


def test_negation_decides_before_all_others() -> None:
    """What a label rules out is silent, however strong the rest is."""
    assert simulated('"large", but not "large" after "too"', "too large large") == [0, 0, 10]


def test_edges() -> None:
    """A word at the edge of a passage has no neighbour beyond it."""
    assert simulated('any word after "a"', "a b a") == [0, 10, 0]
    assert simulated('any word before "a"', "a b a") == [0, 10, 0]
    assert levels_of(rule_of([]), [Context(1, "d", 0, ())])[0].shape == (0,)


def test_it_is_found_by_name() -> None:
    """The registry makes it without a model."""
    made = build("lexical")
    assert isinstance(made, LexicalSimulator)
    assert made.name == "lexical@1"
