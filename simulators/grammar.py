"""What a lexical label says, as clauses, and how it is written so that it can be read back.

    words such as "large", "most", forms of "extend", "of" after "number" or "list" (strong);
    "more", words ending in "-est", pronouns, any word before "than" (medium); not "large" after "too"

A clause is a pattern for one word (the word, its forms, an ending, a beginning, a class of words), a level,
and maybe what must stand directly beside it. The strongest clause that holds decides a word's level; one
that is negated decides before all others. Words are always quoted, everything else is of a fixed vocabulary,
so `parse(render(rule)) == rule` (see grammar_reading.py) whatever the words are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from exegete.datastore.records import MAX_LEVEL
from exegete.simulators.word_classes import CLASSES
from exegete.simulators.word_forms import fold

Kind = Literal["word", "forms", "ending", "beginning", "class", "any"]
KINDS: tuple[Kind, ...] = ("word", "forms", "ending", "beginning", "class", "any")
"""In the order in which they are written within a level."""

Side = Literal["after", "before"]

STRENGTHS: dict[str, int] = {"strong": MAX_LEVEL, "medium": 5, "weak": 2}
"""Levels a label can tell apart. Coarse, for people; but only ratios matter to a correlation."""

NEVER = 0
"""Level of a negated clause."""

_HEADS: dict[Kind, str] = {
    "forms": "forms of ",
    "ending": "words ending in ",
    "beginning": "words beginning with ",
}
ENDING = re.compile(r"-[^\W\d_]")
BEGINNING = re.compile(r"[^\W\d_]-$")
"""What makes a quoted text an ending ("-ing") or a beginning ("pre-") of words."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """What one word must be."""

    kind: Kind
    text: str = ""
    """Folded word, ending or beginning without its hyphen, or the name of a class; empty for "any". A "word"
    with spaces is a phrase, of which every word is meant."""


ANY = Pattern("any")


@dataclass(frozen=True, slots=True)
class Clause:
    """A word, where it must stand, and how strongly the feature then fires."""

    pattern: Pattern
    level: int = MAX_LEVEL
    """One of STRENGTHS, or NEVER."""
    side: Side | None = None
    """On which side of `beside` the word must stand, directly; None when its neighbours don't matter."""
    beside: Pattern | None = None
    """The neighbour, a "word" or a "class"; None exactly when `side` is."""


@dataclass(frozen=True, slots=True)
class Rule:
    """All that a label says, in the order in which it is written. Make it with `rule_of`."""

    clauses: tuple[Clause, ...]


def normal(text: str) -> str:
    """Fold the words of a quoted text, one space between them.

    Returns:
        Never empty: blank text is a word too.
    """
    return " ".join(map(fold, text.split())) or fold(text)


def rule_of(clauses: Iterable[Clause]) -> Rule:
    """Put clauses in order: strongest first, then by kind; as given where these are equal.

    A clause that comes twice is kept once, at its highest level; a negated one is kept beside it.

    Raises:
        ValueError: a clause that no label can say.
    """
    best: dict[tuple[Pattern, Side | None, Pattern | None, bool], Clause] = {}
    for clause in clauses:
        _refuse_unsayable(clause)
        key = (clause.pattern, clause.side, clause.beside, clause.level == NEVER)
        if key not in best or best[key].level < clause.level:
            best[key] = clause
    given = list(best.values())
    first: dict[tuple[int, Pattern, Side | None], int] = {}
    for number, clause in enumerate(given):
        first.setdefault((clause.level, clause.pattern, clause.side), number)
    return Rule(
        tuple(
            sorted(
                given,
                key=lambda c: (
                    -c.level,
                    KINDS.index(c.pattern.kind),
                    c.side is not None,
                    first[c.level, c.pattern, c.side],
                ),
            )
        )
    )


def render(rule: Rule) -> str:
    """Write a rule as a label; empty for a rule that says nothing."""
    levels = sorted({clause.level for clause in rule.clauses}, reverse=True)
    named = {level: name for name, level in STRENGTHS.items()}
    parts: list[str] = []
    for level in levels:
        said = _said([clause for clause in rule.clauses if clause.level == level], first=not parts)
        if level == NEVER:
            parts.append(f"not {said}")
        elif levels[0] == level == MAX_LEVEL and len({*levels} - {NEVER}) == 1:
            parts.append(said)
        else:
            parts.append(f"{said} ({named[level]})")
    return "; ".join(parts)


def quoted(text: str) -> str:
    """Quote a word so that nothing in it is mistaken for an end of quotation, an ending or a beginning."""
    escaped = _escaped(text)
    if BEGINNING.search(text):
        escaped = escaped[:-1] + "\\-"
    if ENDING.match(text):
        escaped = "\\" + escaped
    return f'"{escaped}"'


def _said(clauses: Sequence[Clause], first: bool) -> str:
    """The clauses of one level, `, ` between groups."""
    groups: list[str] = []
    for kind in KINDS:
        alone = [c for c in clauses if c.pattern.kind == kind and c.side is None]
        if alone:
            groups.append(_alone(kind, [c.pattern for c in alone], first and not groups))
        placed: dict[tuple[Pattern, Side], list[Pattern]] = {}
        for c in clauses:
            if c.pattern.kind == kind and c.side is not None and c.beside is not None:
                placed.setdefault((c.pattern, c.side), []).append(c.beside)
        groups += [
            f"{_one(pattern)} {side} {' or '.join(map(_one, besides))}"
            for (pattern, side), besides in placed.items()
        ]
    return ", ".join(groups)


def _alone(kind: Kind, patterns: Sequence[Pattern], first: bool) -> str:
    """Patterns of one kind whose neighbours don't matter."""
    if kind in _HEADS:
        return _HEADS[kind] + " or ".join(_one(p).removeprefix(_HEADS[kind]) for p in patterns)
    listed = ", ".join(map(_one, patterns))
    if kind == "word" and first:
        return ("words such as " if len(patterns) > 1 else "the word ") + listed
    return listed


def _one(pattern: Pattern) -> str:
    """One pattern, with all that tells its kind."""
    match pattern.kind:
        case "any":
            return "any word"
        case "class":
            return pattern.text
        case "ending":
            return f'{_HEADS["ending"]}"-{_escaped(pattern.text)}"'
        case "beginning":
            return f'{_HEADS["beginning"]}"{_escaped(pattern.text)}-"'
        case "forms":
            return _HEADS["forms"] + quoted(pattern.text)
        case "word":
            return quoted(pattern.text)


def _escaped(text: str) -> str:
    """Escape what would end a quotation."""
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _refuse_unsayable(clause: Clause) -> None:
    """Raise ValueError for a clause that could not be read back."""
    patterns = [clause.pattern, *([clause.beside] if clause.beside else [])]
    wrong = (
        clause.level not in (*STRENGTHS.values(), NEVER)
        or (clause.side is None) != (clause.beside is None)
        or (clause.pattern == ANY and clause.beside is None)
        or (clause.beside is not None and clause.beside.kind not in ("word", "class"))
        or any(p.kind == "class" and p.text not in CLASSES for p in patterns)
        or any(p.kind == "any" and p.text for p in patterns)
        or any(p.kind not in ("class", "any") and p.text != normal(p.text) for p in patterns)
        or any(p.kind not in ("word", "class", "any") and " " in p.text for p in patterns)
    )
    if wrong:
        raise ValueError(f"no label can say {clause}")
