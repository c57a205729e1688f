"""Simulate from a label without a language model: the words it names, where it says they stand.

1. The label is read as clauses (grammar_reading.py), each with a level.
2. A word's level is that of the strongest clause that holds for it; 0 where none does, or a negated one does.

It takes a label at its word: "large" does not stand for "huge". So it is a floor for what a label says, not
for what its author meant, and is fair to labels written for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from exegete.datastore.records import Context, Floats
from exegete.simulators.grammar import KINDS, NEVER, Clause, Kind, Pattern, Rule
from exegete.simulators.grammar_reading import parse
from exegete.simulators.simulator import Simulation
from exegete.simulators.word_classes import classes_of
from exegete.simulators.word_forms import begins_with, ends_in, fold, pieces, stem

VERSION = 1
"""Raised when a label would be simulated differently."""


class LexicalSimulator:
    """Predicts levels from what a label says of words.

    >>> simulation = await LexicalSimulator().simulate('"most", "more" (weak)', contexts)
    """

    @property
    def name(self) -> str:
        """lexical@version."""
        return f"lexical@{VERSION}"

    async def simulate(self, label: str, contexts: Sequence[Context]) -> Simulation:
        """Predict a level for every word of every context.

        Args:
            label: any text; one in which nothing is recognised predicts silence.
            contexts: passages, in any order; each is simulated by itself.

        Returns:
            A simulation aligned with `contexts`, with none missing.
        """
        levels = levels_of(parse(label), contexts)
        return Simulation(levels=tuple(levels), why_missing=(None,) * len(contexts))


def levels_of(rule: Rule, contexts: Sequence[Context]) -> list[Floats]:
    """What a rule predicts.

    Returns:
        For every context, (n_tokens,) levels from 0 to 10.
    """
    reading = _Reading(rule)
    return [np.asarray(reading.levels(context.tokens), dtype=np.float32) for context in contexts]


def holds(pattern: Pattern, token: str) -> bool:
    """Say whether a word, whatever stands around it, is what a pattern says. (A phrase never is one word.)"""
    match pattern.kind:
        case "any":
            return True
        case "word":
            return fold(token) == pattern.text
        case "forms":
            return stem(fold(token)) == stem(pattern.text)
        case "ending":
            return ends_in(fold(token), pattern.text)
        case "beginning":
            return begins_with(fold(token), pattern.text)
        case "class":
            return pattern.text in classes_of(token)


@dataclass(slots=True)
class _Said:
    """All that a rule says of one word. Bit i of a set stands for the rule's clause i with a neighbour."""

    level: int = 0
    """Of the strongest clause for which neighbours don't matter; -1 when a negated one holds."""
    target: int = 0
    """Clauses whose pattern it is."""
    left: int = 0
    """Clauses that may hold of the word after it, by which it stands on the left."""
    right: int = 0
    """Clauses that may hold of the word before it."""

    def add(self, other: _Said) -> None:
        """Say all that the other says too."""
        self.level = _stronger(self.level, other.level)
        self.target |= other.target
        self.left |= other.left
        self.right |= other.right


_NOTHING = _Said()


def _all_of(found: Sequence[_Said]) -> _Said:
    """All that they say together; most words are nothing to a rule."""
    if not found:
        return _NOTHING
    said = _Said()
    for one in found:
        said.add(one)
    return said


class _Reading:
    """A rule made ready to be held against texts: by pattern, what it says of the words that are so."""

    def __init__(self, rule: Rule) -> None:
        self._placed: list[Clause] = []
        self._phrasal: list[Clause] = []
        self._by_kind: dict[Kind, dict[str, _Said]] = {kind: {} for kind in KINDS}
        self._seen: dict[str, _Said] = {}
        for clause in rule.clauses:
            if _has_phrase(clause):
                self._phrasal.append(clause)
            elif clause.beside is None:
                self._say(clause.pattern, _Said(level=_strength(clause)))
            else:
                bit = 1 << len(self._placed)
                self._placed.append(clause)
                self._say(clause.pattern, _Said(target=bit))
                self._say(clause.beside, _Said(left=bit) if clause.side == "after" else _Said(right=bit))

    def _say(self, pattern: Pattern, said: _Said) -> None:
        """Note what the rule says of words that are so."""
        key = stem(pattern.text) if pattern.kind == "forms" else pattern.text
        self._by_kind[pattern.kind].setdefault(key, _Said()).add(said)

    def levels(self, tokens: Sequence[str]) -> list[int]:
        """(n_tokens,) levels."""
        seen = [self._see(token) for token in tokens]
        levels = [one.level for one in seen]
        if self._placed:
            for i, one in enumerate(seen):
                if one.target:
                    left = seen[i - 1] if i else _NOTHING
                    right = seen[i + 1] if i + 1 < len(seen) else _NOTHING
                    levels[i] = self._strongest(levels[i], one.target & (left.left | right.right))
        for clause in self._phrasal:
            for i in _where(clause, tokens):
                levels[i] = _stronger(levels[i], _strength(clause))
        return [max(level, 0) for level in levels]

    def _see(self, token: str) -> _Said:
        """Look one word up, once: `holds`, for all patterns of the rule together."""
        known = self._seen.get(token)
        if known is None:
            word, by_kind = fold(token), self._by_kind
            found = [by_kind["word"].get(word), by_kind["any"].get("")]
            if by_kind["forms"]:
                found.append(by_kind["forms"].get(stem(word)))
            for ending, said in by_kind["ending"].items():
                found += [said] if ends_in(word, ending) else []
            for start, said in by_kind["beginning"].items():
                found += [said] if begins_with(word, start) else []
            if by_kind["class"]:
                found += [by_kind["class"].get(name) for name in classes_of(token)]
            known = self._seen[token] = _all_of([said for said in found if said is not None])
        return known

    def _strongest(self, level: int, held: int) -> int:
        """The level of a word for which the clauses of a set hold too."""
        for bit, clause in enumerate(self._placed):
            if held >> bit & 1:
                level = _stronger(level, _strength(clause))
        return level


def _strength(clause: Clause) -> int:
    """A clause's level, -1 for a negated one."""
    return -1 if clause.level == NEVER else clause.level


def _stronger(level: int, other: int) -> int:
    """The stronger of two levels, where -1 (negated) is stronger than all."""
    return -1 if level < 0 or other < 0 else max(level, other)


def _has_phrase(clause: Clause) -> bool:
    """Say whether a clause names something that a context may show as several words."""
    patterns = (clause.pattern, clause.beside)
    return any(p is not None and p.kind == "word" and len(pieces(p.text)) > 1 for p in patterns)


def _where(clause: Clause, tokens: Sequence[str]) -> list[int]:
    """Positions at which a clause with phrases holds: all words of its pattern, in the right place."""
    found: list[int] = []
    for start, end in _spans(clause.pattern, tokens):
        beside = clause.beside
        if (
            beside is None
            or (clause.side == "after" and any(e == start for _, e in _spans(beside, tokens)))
            or (clause.side == "before" and any(s == end for s, _ in _spans(beside, tokens)))
        ):
            found += range(start, end)
    return found


def _spans(pattern: Pattern, tokens: Sequence[str]) -> list[tuple[int, int]]:
    """Where a pattern begins and ends: on one word, or on as many as a phrase has."""
    spans = [(i, i + 1) for i, token in enumerate(tokens) if holds(pattern, token)]
    parts = pieces(pattern.text) if pattern.kind == "word" else ()
    if len(parts) > 1:
        folded = [fold(token) for token in tokens]
        n = len(parts)
        spans += [(i, i + n) for i in range(len(folded) - n + 1) if tuple(folded[i : i + n]) == parts]
    return spans
