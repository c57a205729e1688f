"""The quiet pool: contexts sampled from the whole corpus, shared by all features.

From it come the contexts in which a feature is known to be silent, either uniform ones or *hard* ones: those
most like the contexts in which it fires. A feature's silence elsewhere can't be concluded from its absence
among the kept examples, which is why negatives come from here and nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exegete.datastore.growing import Growing
from exegete.datastore.hashing import scattered
from exegete.datastore.records import Floats
from exegete.datastore.strip import Cut, PreparedContext, Strip, first_largest, ranges, smallest
from exegete.datastore.words import compared


@dataclass(frozen=True)
class _Index:
    """Units of a pool that hold a letter or digit, as they are compared; and which contexts hold them.

    Contexts follow each other, and each one's units, once each, are in the order of their names.
    """

    keys: tuple[str, ...]
    """By name."""
    place: dict[str, int]
    """Of each in `keys`."""
    of_unit: NDArray[np.int64]
    """(n_units,) the place of each of the strip's units; -1 for marks."""
    columns: NDArray[np.int64]
    """(n_entries,) places of units."""
    ends: NDArray[np.int64]
    """(n_contexts + 1,) where each context's entries begin."""
    rarity: NDArray[np.float64]
    """(n_keys,) log(contexts / contexts that hold it)."""
    holds: Any
    """(n_contexts, n_keys) scipy.sparse, 1 where a context holds a unit."""


class QuietPool:
    """The pool's contexts of one split."""

    def __init__(self, strip: Strip) -> None:
        """A pool of contexts, in the order of their ids."""
        self.strip = strip
        self.ids: NDArray[np.int64] = np.asarray(strip.ids, dtype=np.int64)
        """(n,) context ids, rising."""
        self.scattered = scattered(self.ids)
        """(n,) the same, as random numbers are drawn from them."""
        self._places = Growing(np.zeros(0, dtype=np.int64))
        """Among the keys, of texts of the vocabulary that have been met; -1 where it has none."""

    @cached_property
    def contexts(self) -> tuple[PreparedContext, ...]:
        """Each by itself."""
        return self.strip.prepared(np.arange(len(self.strip)))

    def rows_of(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Rows of those of some contexts that are in the pool."""
        rows = np.searchsorted(self.ids, ids)
        found = self.ids.take(rows, mode="clip") == ids if len(self.ids) else np.zeros(len(ids), dtype=bool)
        return np.asarray(rows[found])

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """Units that hold a letter or digit, as they are compared, by name."""
        return self._index.keys

    @cached_property
    def _index(self) -> _Index:
        from scipy.sparse import csr_array

        n = len(self.strip)
        _, n_units = self.strip.units_of(np.arange(n))
        codes, of_unit = np.unique(self.strip.codes, return_inverse=True)
        met = list(map(compared, self.strip.vocabulary.texts[codes].tolist()))
        keys = sorted({key for key in met if any(map(str.isalnum, key))})
        place = {key: i for i, key in enumerate(keys)}
        of_unit = np.asarray([place.get(key, -1) for key in met], dtype=np.int64)[of_unit]
        row = np.arange(n).repeat(n_units)
        entries = np.unique((row * len(keys) + of_unit)[of_unit >= 0])
        rows, columns = np.divmod(entries, max(1, len(keys)))
        ends = np.searchsorted(rows, np.arange(n + 1))
        rarity = np.log(n / np.bincount(columns, minlength=len(keys)))
        holds = csr_array((np.ones(len(columns)), columns, ends), shape=(n, len(keys)))
        return _Index(tuple(keys), place, of_unit, columns, ends, rarity, holds)

    @cached_property
    def _wordiness(self) -> NDArray[np.float64]:
        """(n,) square root of the units in each context, 1 at least."""
        _, n_units = self.strip.units_of(np.arange(len(self.strip)))
        return np.sqrt(np.maximum(1, n_units).astype(np.float64))

    def query(self, cut: Cut, activations: Floats) -> NDArray[np.float64]:
        """What a feature's activating windows have in common with the pool, as weights of its units.

        A unit weighs the mean over windows of its share of the window's peak; a unit that merely stands near
        the peak counts a tenth, so that contexts alike in topic come after those alike in the firing word.

        Args:
            cut: windows of contexts of the same file, cut as the pool is.
            activations: (n_units,) of all their units.

        Returns:
            (n_keys,) weights of the pool's units.
        """
        lengths = cut.lengths
        peaks = np.maximum.reduceat(activations, cut.edges[:-1]) if len(lengths) else activations
        shares = activations.astype(np.float64) / np.repeat(np.where(peaks > 0, peaks, 1), lengths)
        weights = np.maximum(shares, 0.1) / max(1, len(lengths))
        places = self._places_of(self.strip.vocabulary.texts).take(cut.codes)
        known = places >= 0
        sums = np.bincount(places[known], weights[known], len(self.keys))
        return sums.astype(np.float64, copy=False)  # of no weights it makes whole numbers

    def _places_of(self, texts: NDArray[np.object_]) -> NDArray[np.int64]:
        """The place among the keys of every text of the vocabulary; -1 where it has none."""
        new = texts[len(self._places.values) :].tolist()
        if new:
            place = self._index.place
            self._places.add(np.asarray([place.get(compared(text), -1) for text in new], dtype=np.int64))
        return self._places.values

    def similar(
        self, query: NDArray[np.float64], silent: NDArray[np.bool_], n: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Silent contexts that share rare, heavy units with a query, most similar first.

        The similarity is the sum, over the query's units found in the context, of weight times inverse
        document frequency log(n / df) in the pool, over the square root of how many units it has: wordy
        contexts share more by chance, and wordiness would then tell hard quiet excerpts from others.

        Args:
            query: (n_keys,) weight of each of the pool's units.
            silent: (n_contexts,) where the feature is silent.
            n: how many at most.

        Returns:
            Rows of contexts with similarity above 0, and the place among the keys of what contributed most to
            each (of equals the first by name).
        """
        index = self._index
        gains = query * index.rarity
        total = index.holds @ gains / self._wordiness
        found = np.flatnonzero((total > 0) & silent)
        rows = found[smallest(-total[found], n)]
        if not len(rows):
            return rows, rows
        lengths = index.ends[rows + 1] - index.ends[rows]
        columns = index.columns[ranges(index.ends[rows], lengths)]
        return rows, columns[first_largest(gains[columns], lengths)]

    def occurrence(
        self, rows: NDArray[np.int64], places: NDArray[np.int64], share: NDArray[np.float64]
    ) -> NDArray[np.int64]:
        """Where in some contexts a unit stands that they hold.

        Args:
            rows: (n,) contexts.
            places: (n,) the unit's place among the keys.
            share: (n,) which of its occurrences, in [0, 1).

        Returns:
            (n,) token positions.
        """
        first, n_units = self.strip.units_of(rows)
        units = ranges(first, n_units)
        hits = np.flatnonzero(self._index.of_unit[units] == places.repeat(n_units))
        ends = n_units.cumsum()
        begun, over = hits.searchsorted(ends - n_units), hits.searchsorted(ends)
        found = hits[begun + (share * (over - begun)).astype(np.int64)]
        return self.strip.positions(units[found], rows)
