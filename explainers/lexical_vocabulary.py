"""Contexts as numbers: what each word is, of everything a clause can say of a word by itself.

Words come again and again, in one context and the next, for one feature and the next. So each is looked at
once, and contexts that were seen before are kept as arrays.
"""

from __future__ import annotations

from array import array
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from exegete.datastore.records import Context
from exegete.simulators.grammar import ANY, Pattern
from exegete.simulators.word_classes import classes_of
from exegete.simulators.word_forms import SHORTEST_REST, bare, fold, stem

Ints = NDArray[np.int64]

AFFIX_LENGTHS = range(2, 6)
"""Letters of the endings and beginnings that are looked for."""

MOST_TOKENS = 50_000
MOST_CONTEXTS = 4_096
"""Bounds of what is kept; past the first all is forgotten, past the second the contexts longest unused."""


def patterns_of(token: str) -> list[Pattern]:
    """Everything a clause may say of a word by itself, the word as such first.

    The text of "forms" is the stem here, which any of its forms may stand for.
    """
    word = fold(token)
    found = [Pattern("word", word)]
    inner = bare(word)
    if word.isalpha() and len(word) > SHORTEST_REST:
        found.append(Pattern("forms", stem(word)))
    lengths = [n for n in AFFIX_LENGTHS if len(inner) >= n + SHORTEST_REST]
    found += [Pattern("ending", inner[-n:]) for n in lengths if inner[-n:].isalpha()]
    found += [Pattern("beginning", inner[:n]) for n in lengths if inner[:n].isalpha()]
    return found + [Pattern("class", name) for name in sorted(classes_of(token))]


@dataclass(frozen=True, slots=True)
class Known:
    """What every token seen so far is."""

    starts: Ints
    """(n_tokens + 1,) where each token's patterns start."""
    patterns: Ints
    """(n,) numbers of patterns."""
    words: Ints
    """(n_tokens,) the number of each token's pattern "word"."""

    @property
    def n_tokens(self) -> int:
        """How many tokens were seen."""
        return len(self.words)


class Vocabulary:
    """Numbers for tokens and for patterns. The numbers depend on what was seen before; nothing else may."""

    def __init__(self) -> None:
        self._contexts: OrderedDict[tuple[str, ...], Ints] = OrderedDict()
        self._forget()

    def _forget(self) -> None:
        self._contexts.clear()
        self._tokens: dict[str, int] = {}
        self._numbers: dict[Pattern, int] = {ANY: 0}
        self.patterns: list[Pattern] = [ANY]
        """By number."""
        self._flat = array("q")
        self._starts = array("q", [0])
        self._known: Known | None = None

    def make_room(self) -> None:
        """Forget everything if too much was seen: call it where no number is in use."""
        if len(self._tokens) > MOST_TOKENS:
            self._forget()

    def read(self, contexts: Sequence[Context]) -> list[Ints]:
        """Number the tokens of contexts: (n_tokens,) for each."""
        rows: list[Ints] = []
        for context in contexts:
            row = self._contexts.get(context.tokens)
            if row is None:
                row = np.asarray([self._number(token) for token in context.tokens], dtype=np.int64)
                self._contexts[context.tokens] = row
                if len(self._contexts) > MOST_CONTEXTS:
                    self._contexts.popitem(last=False)
            else:
                self._contexts.move_to_end(context.tokens)
            rows.append(row)
        return rows

    def number_of(self, pattern: Pattern) -> int:
        """The number of a pattern, new or known."""
        known = self._numbers.get(pattern)
        if known is None:
            known = self._numbers[pattern] = len(self.patterns)
            self.patterns.append(pattern)
        return known

    def _number(self, token: str) -> int:
        known = self._tokens.get(token)
        if known is None:
            known = self._tokens[token] = len(self._tokens)
            self._flat.extend(self.number_of(pattern) for pattern in patterns_of(token))
            self._starts.append(len(self._flat))
            self._known = None
        return known

    def arrays(self) -> Known:
        """What every token is, as arrays."""
        if self._known is None:
            starts, flat = np.array(self._starts, dtype=np.int64), np.array(self._flat, dtype=np.int64)
            self._known = Known(starts, flat, flat[starts[:-1]])
        return self._known
