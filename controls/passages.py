"""Real text as arrays over all its words, so that a thousand rules are looked up on it in seconds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from exegete.datastore.evidence_contexts import prepare
from exegete.datastore.kept import N_SPLITS, KeptContext
from exegete.datastore.records import Context, Floats, Unit
from exegete.datastore.strip import PreparedContext
from exegete.simulators.word_forms import fold

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Passages:
    """Contexts, cut into words and laid end to end.

    Words are counted as labels count them: folded (see `exegete.simulators.word_forms`).
    """

    contexts: tuple[PreparedContext, ...]
    splits: tuple[int, ...] = ()
    """Each context's split, an index into SPLITS; empty where nothing is to be chosen on them."""

    @staticmethod
    def of(contexts: Sequence[KeptContext]) -> Passages:
        """Cut contexts into words."""
        cut = tuple(prepare(c.id, c.document, c.tokens, "word") for c in contexts)
        return Passages(cut, tuple(c.split for c in contexts))

    @cached_property
    def units(self) -> tuple[str, ...]:
        """Every different word as it stands, with its case and leading whitespace."""
        return tuple(dict.fromkeys(unit for c in self.contexts for unit in c.units))

    @cached_property
    def code(self) -> Ints:
        """(n_words,) each word's place in `units`."""
        place = {unit: i for i, unit in enumerate(self.units)}
        return np.asarray([place[unit] for c in self.contexts for unit in c.units], dtype=np.int64)

    @cached_property
    def words(self) -> tuple[str, ...]:
        """Every different word, folded, in the order in which they are met."""
        return tuple(dict.fromkeys(map(fold, self.units)))

    @cached_property
    def place_of(self) -> dict[str, int]:
        """Each folded word's place in `words`."""
        return {word: i for i, word in enumerate(self.words)}

    @cached_property
    def word(self) -> Ints:
        """(n_words,) each word's place in `words`."""
        of_unit = np.asarray([self.place_of[fold(unit)] for unit in self.units], dtype=np.int64)
        return np.asarray(of_unit[self.code], dtype=np.int64)

    @cached_property
    def before(self) -> Ints:
        """(n_words,) the word directly before, in the same context; -1 for the first."""
        before = np.concatenate(([-1], self.word[:-1])).astype(np.int64)
        before[self.first_word] = -1
        return before

    @cached_property
    def row(self) -> Ints:
        """(n_words,) the context each word stands in."""
        return np.repeat(np.arange(len(self.contexts)), self._lengths)

    @cached_property
    def place(self) -> Ints:
        """(n_words,) each word's place in its context, from 0."""
        return np.arange(len(self.row)) - self.first_word[self.row]

    @cached_property
    def first_word(self) -> Ints:
        """(n_contexts,) where each context's words begin."""
        return np.cumsum(np.concatenate(([0], self._lengths[:-1])), dtype=np.int64)

    @cached_property
    def token(self) -> Ints:
        """(n_words,) position of each word's first token in its context."""
        return np.concatenate([np.zeros(0, dtype=np.int64), *(c.starts for c in self.contexts)])

    @cached_property
    def n_tokens(self) -> Ints:
        """(n_words,) tokens of each word."""
        ends = [np.append(c.starts[1:], c.n_tokens) for c in self.contexts]
        return np.concatenate([np.zeros(0, dtype=np.int64), *ends]) - self.token

    @property
    def _lengths(self) -> Ints:
        return np.asarray([len(c.units) for c in self.contexts], dtype=np.int64)

    def is_word(self, words: Sequence[str]) -> Bools:
        """(n_words,) whether each is one of some folded words."""
        known = [self.place_of[word] for word in words if word in self.place_of]
        return np.isin(self.word, known)

    def contexts_a_split(self, where: Bools) -> Ints:
        """(3,) contexts of each split in which something is true of a word."""
        rows = np.unique(self.row[where])
        return np.bincount(np.asarray(self.splits, dtype=np.int64)[rows], minlength=N_SPLITS)

    def shown(self, levels: Floats, context: Context, unit: Unit) -> Floats:
        """Some values a word, as they stand in a window of one of the contexts.

        Args:
            levels: (n_words,) a value for every word of all contexts.
            context: the window; it begins where one of its units does.
            unit: what its tokens are.

        Returns:
            (n,) a value for every token of the window.
        """
        row = self._row_of[context.id]
        first = int(self.first_word[row])
        own = levels[first : first + len(self.contexts[row].units)]
        start, n = context.start, len(context.tokens)
        if unit == "token":
            own = np.repeat(own, self.n_tokens[first : first + len(own)])
        else:
            start = int(np.searchsorted(self.contexts[row].starts, start))
        return own[start : start + n]

    @cached_property
    def _row_of(self) -> dict[int, int]:
        return {c.id: i for i, c in enumerate(self.contexts)}
