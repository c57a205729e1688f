"""The quiet pool: contexts sampled from the whole corpus, shared by all features.

From it come the contexts in which a feature is known to be silent, either uniform ones or *hard* ones: those
most like the contexts in which it fires. A feature's silence elsewhere can't be concluded from its absence
among the kept examples, which is why negatives come from here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from exegete.datastore.records import Excerpt


@dataclass(frozen=True)
class PreparedContext:
    """A full context, cut into units once."""

    id: int
    document: str
    n_tokens: int
    starts: NDArray[np.int64]
    """(n_units,) token position at which each unit starts."""
    units: tuple[str, ...]

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """Units as they are compared: stripped, lower case."""
        return tuple(unit.strip().lower() for unit in self.units)


@dataclass(frozen=True)
class QuietPool:
    """The pool's contexts of one split."""

    contexts: tuple[PreparedContext, ...]

    @cached_property
    def row(self) -> dict[int, int]:
        """Row of each context id."""
        return {c.id: i for i, c in enumerate(self.contexts)}

    @cached_property
    def ids(self) -> NDArray[np.int64]:
        """(n,) context ids."""
        return np.asarray([c.id for c in self.contexts], dtype=np.int64)

    @cached_property
    def _postings(self) -> dict[str, NDArray[np.int64]]:
        """For every unit that holds a letter or digit, the rows of the contexts that contain it."""
        postings: dict[str, list[int]] = {}
        for row, context in enumerate(self.contexts):
            for key in set(context.keys):
                if any(ch.isalnum() for ch in key):
                    postings.setdefault(key, []).append(row)
        return {key: np.asarray(rows, dtype=np.int64) for key, rows in postings.items()}

    @cached_property
    def _lengths(self) -> NDArray[np.float64]:
        """(n,) units in each context, 1 at least."""
        return np.asarray([max(1, len(c.units)) for c in self.contexts], dtype=np.float64)

    def similar(self, query: Mapping[str, float], silent: NDArray[np.bool_]) -> list[tuple[int, str]]:
        """Silent contexts that share rare, heavy units with a query, most similar first.

        The similarity is the sum, over the query's units found in the context, of weight times inverse
        document frequency log(n / df) in the pool, over the square root of how many units it has: wordy
        contexts share more by chance, and wordiness would then tell hard quiet excerpts from others.

        Args:
            query: weight of each unit (stripped, lower case).
            silent: (n,) where the feature is silent.

        Returns:
            (row, the unit that contributed most) with similarity above 0.
        """
        n = len(self.contexts)
        names = [key for key in sorted(query) if key in self._postings]
        if not names:
            return []
        postings = [self._postings[key] for key in names]
        sizes = np.asarray([len(rows) for rows in postings])
        gain = np.asarray([query[key] for key in names]) * np.log(n / sizes)
        total = np.bincount(np.concatenate(postings), np.repeat(gain, sizes), n) / np.sqrt(self._lengths)
        # Of the units of a context the last one written stands: the heaviest, of equals the first by name.
        lightest_first = np.lexsort((-np.arange(len(names)), gain))
        which = np.full(n, -1)
        rows = np.concatenate([postings[i] for i in lightest_first])
        which[rows] = np.repeat(lightest_first, sizes[lightest_first])
        found = np.flatnonzero((total > 0) & silent)
        found = found[np.lexsort((self.ids[found], -total[found]))]
        return [(int(row), names[which[row]]) for row in found]


def query_of(excerpts: Sequence[Excerpt]) -> dict[str, float]:
    """What a feature's activating excerpts have in common, as weights of units.

    A unit weighs the mean over excerpts of its share of the excerpt's peak; a unit that merely stands near
    the peak counts a tenth, so that contexts alike in topic come after those alike in the firing word.
    """
    query: dict[str, float] = {}
    for excerpt in excerpts:
        peak = excerpt.peak or 1.0
        for unit, activation in zip(excerpt.context.tokens, excerpt.activations.tolist(), strict=True):
            key = unit.strip().lower()
            query[key] = query.get(key, 0.0) + max(activation / peak, 0.1) / len(excerpts)
    return query
