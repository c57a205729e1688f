"""Reading a label, one of ours or anybody's, as clauses.

1. The label is cut into quoted texts, the names of word classes, and a few phrases of grammar: `forms of`,
   `ending in`, `beginning with`, `after`, `before`, `not`, `or`, commas, semicolons, `(strong)`. All other
   words are passed over.
2. From left to right, a quoted text or a class becomes a clause; `after` and `before` say where the words
   named just before them (or any word) must stand; a strength in brackets goes to all clauses since the last
   semicolon or strength; without one they are strong.
3. A label that quotes nothing ("words about searching and looking") is read by its classes, and by the forms
   of all its words but the ones every such sentence has.

Nothing is refused: a label in which nothing is recognised says nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Literal, cast

from exegete.datastore.records import MAX_LEVEL
from exegete.simulators.grammar import (
    ANY,
    BEGINNING,
    ENDING,
    NEVER,
    STRENGTHS,
    Clause,
    Kind,
    Pattern,
    Rule,
    Side,
    normal,
    rule_of,
)
from exegete.simulators.word_classes import ALIASES, CLASSES
from exegete.simulators.word_forms import fold, pieces

LONGEST = 4000
"""Characters of a label that are read. Ours have at most 300."""


def _any_of(phrases: Iterable[str]) -> str:
    """A pattern for any of some phrases, the longest that fits."""
    return "|".join(r"\s+".join(map(re.escape, p.split())) for p in sorted(phrases, key=len, reverse=True))


_CLASS_NAMES = {name: name for name in CLASSES} | dict(ALIASES)
_SIDES = {
    "preceded by": "after",
    "followed by": "before",
    "comes after": "after",
    "after": "after",
    "following": "after",
    "follows": "after",
    "follow": "after",
    "before": "before",
    "preceding": "before",
    "precedes": "before",
    "precede": "before",
}
_SIDE = _any_of(_SIDES)

_LEXICON = re.compile(
    rf"""
    "(?P<straight>(?:\\.|[^"\\])+)"
    | “(?P<curly>[^”]+)” | «(?P<angle>[^»]+)» | `(?P<tick>[^`]+)` | (?<!\w)['‘](?P<single>[^'’\n]+)['’](?!\w)
    | \(\s*(?:most\s+|very\s+)?(?P<strength>strong|medium|moderate|weak|slight)(?:ly)?\s*\)
    | (?P<end>[;\n] | [.!?](?=\s|$) | \bbut\b(?!\s+(?:not|never)\b))
    | (?P<comma>,)
    | (?P<join>\b(?:or|and)\b | [/&])
    | (?P<class>\b(?:{_any_of(_CLASS_NAMES)})\b)
    | (?P<any>\b(?:words?|tokens?|anything)\s+(?:[a-z]+\s+){{0,2}}?(?=(?:{_SIDE})\b))
    | (?P<forms>\b(?:forms?|inflections?|variants?)\s+of\b)
    | (?P<ending>\b(?:end(?:s|ing|ings)?\s+(?:in|with)|suffix(?:es)?)\b)
    | (?P<beginning>\b(?:(?:begin|start)(?:s|ning|ing)?\s+(?:in|with)|prefix(?:es)?)\b)
    | \bthe\s+following\b
    | (?P<side>\b(?:{_SIDE})\b)
    | (?P<negation>\b(?:not|except|excluding|unlike|other\s+than)\b)
    | (?<!\w)-(?P<suffix>[^\W\d_]{{2,5}})\b
    | (?P<bare>\w[\w'’]*)
    """,
    re.VERBOSE | re.IGNORECASE,
)

_QUOTES = ("straight", "curly", "angle", "tick", "single")

_EMPTY_WORDS = """
    a about above across all also an and any anything appear appearing appears are as at be been being
    both but by can certain common commonly concept concepts contain containing contains context
    contexts denote denoting describe describes describing different each especially etc every example
    examples feature features fire fires firing for form forms found from general generally has have
    having how idea ideas if in include includes including indicate indicates indicating instances
    into involving is it its kind kinds language like many mention mentions more most mostly names
    occurrence occurrences occurring of often on one or other particular particularly passages phrase
    phrases refer referring refers related relating representing sentence sentences several some
    something specific specifically strong strongly such term terms text texts than that the their
    them then there these they things this those to token tokens type types typically usage used using
    usually various very weak weakly what when where which while who whose will with within word words
"""
_EMPTY = frozenset(_EMPTY_WORDS.split())
"""Words of sentences about features, which are not what a feature is about."""


@lru_cache(maxsize=1024)
def parse(label: str) -> Rule:
    """Read a label.

    Args:
        label: any text.

    Returns:
        Its rule; equal to `rule` for `render(rule)`.
    """
    marks = list(_marks(label[:LONGEST]))
    reader = _Reader(has_quotes=any(mark.kind == "quote" for mark in marks))
    for mark in marks:
        reader.take(mark)
    reader.end_part()
    return rule_of(reader.clauses)


@dataclass(frozen=True, slots=True)
class _Mark:
    """One thing recognised in a label."""

    kind: str
    text: str


def _marks(label: str) -> Iterator[_Mark]:
    """Cut a label into what is recognised in it."""
    for found in _LEXICON.finditer(label):
        kind = found.lastgroup
        if kind in _QUOTES:
            raw = found[kind]
            if raw.strip() or kind == "straight":
                # Only straight quotes are ours, and only ours have escapes.
                yield _Mark("quote", raw if kind == "straight" else raw.replace("\\", "\\\\"))
        elif kind is not None:
            yield _Mark(kind, " ".join(found[kind].lower().split()))


@dataclass(slots=True)
class _Reader:
    """What is known half-way through a label."""

    has_quotes: bool
    """Then words that are not quoted mean nothing by themselves."""
    clauses: list[Clause] = field(default_factory=list)
    part: list[Clause] = field(default_factory=list)
    """Since the last semicolon or strength."""
    group: list[Pattern] = field(default_factory=list)
    """Patterns joined by "or", to which `after` and `before` refer."""
    head: Kind = "word"
    """What kind of pattern the next quoted text is."""
    side: Side | None = None
    """Set while the neighbours are being named."""
    placed: bool = False
    """Whether a neighbour of the group was named already."""
    negated: bool = False

    def take(self, mark: _Mark) -> None:
        """Read on by one mark."""
        match mark.kind:
            case "quote":
                self._add(_beside(mark.text) if self.side else _quoted(mark.text, self.head))
            case "class":
                self.head = self.head if self.side else "word"
                self._add(Pattern("class", _CLASS_NAMES[mark.text]))
            case "suffix" if not self.has_quotes:
                self.side = None
                self._add(Pattern("ending", fold(mark.text)))
            case "bare" if not self.has_quotes and mark.text not in _EMPTY and len(mark.text) > 1:
                self.side = None
                self._add(Pattern("forms", pieces(mark.text)[0]))
            case "any":
                self._end_group()
                self.group = [ANY]
            case "forms" | "ending" | "beginning":
                self._end_group()
                self.head = cast(Kind, mark.kind)
            case "side":
                self.side = cast(Side, _SIDES[mark.text])
                self.placed = False
            case "comma":
                self.head = self.head if not self.side else "word"
                self._end_group()
            case "negation":
                self._end_group()
                self.head, self.negated = "word", True
            case "strength":
                self.end_part(STRENGTHS[_STRENGTH_OF[mark.text]])
            case "end":
                self.end_part()

    def end_part(self, level: int = MAX_LEVEL) -> None:
        """Give the clauses since the last strength theirs."""
        self.clauses += [c if c.level == NEVER else replace(c, level=level) for c in self.part]
        self.part, self.head, self.negated = [], "word", False
        self._end_group()

    def _end_group(self) -> None:
        self.group, self.side, self.placed = [], None, False

    def _add(self, pattern: Pattern) -> None:
        """A pattern was named: a new clause, or the neighbour of the group before it."""
        level = NEVER if self.negated else MAX_LEVEL
        if self.side is None:
            self.group.append(pattern)
            self.part.append(Clause(pattern, level))
            return
        if not self.placed and self.group != [ANY]:
            del self.part[len(self.part) - len(self.group) :]
        self.placed = True
        self.group = self.group or [ANY]
        self.part += [Clause(target, level, self.side, pattern) for target in self.group]


_STRENGTH_OF: dict[str, Literal["strong", "medium", "weak"]] = {
    "strong": "strong",
    "medium": "medium",
    "moderate": "medium",
    "weak": "weak",
    "slight": "weak",
}


_BARE_HYPHEN = re.compile(r"(?<!\\)(?:\\\\)*-$")
"""A hyphen at the end that is not escaped."""


def _quoted(raw: str, head: Kind) -> Pattern:
    """Read a quoted text as what the words before it, or its hyphen, say it is."""
    if head == "word":
        head = "ending" if ENDING.match(raw) else "beginning" if BEGINNING.search(raw) else "word"
    if head == "ending":
        bare = raw[1:] if raw.startswith("-") and len(raw) > 1 else raw
    elif head == "beginning":
        bare = raw[:-1] if _BARE_HYPHEN.search(raw) and len(raw) > 1 else raw
    else:
        bare = raw
    text = normal(_unescaped(bare))
    return Pattern("word" if " " in text else head, text)


def _beside(raw: str) -> Pattern:
    """Read a quoted neighbour: always a word."""
    return Pattern("word", normal(_unescaped(raw)))


def _unescaped(raw: str) -> str:
    """Take back what `quoted` escaped; any other backslash is meant."""
    return re.sub(r'\\(["\\-])', r"\1", raw)
