"""The quiet pool: contexts sampled from the whole corpus, shared by all features.

From it come the contexts in which a feature is known to be silent, either uniform ones or *hard* ones: those
most like the contexts in which it fires. A feature's silence elsewhere can't be concluded from its absence
among the kept examples, which is why negatives come from here and nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from exegete.datastore.records import Floats
from exegete.datastore.strip import Cut, PreparedContext, Strip, first_largest, ranges
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
    rows: NDArray[np.int64]
    """(n_entries,) rows of the contexts they stand in."""
    ends: NDArray[np.int64]
    """(n_contexts + 1,) where each context's entries begin."""
    rarity: NDArray[np.float64]
    """(n_keys,) log(contexts / contexts that hold it)."""


class QuietPool:
    """The pool's contexts of one split."""

    def __init__(self, strip: Strip) -> None:
        """A pool of contexts, in the order of their ids."""
        self.strip = strip
        self.ids: NDArray[np.int64] = np.asarray(strip.ids, dtype=np.int64)
        """(n,) context ids, rising."""
        self._place_of_code: NDArray[np.int64] = np.zeros(0, dtype=np.int64)
        """Of texts of the vocabulary that have been met."""

    @cached_property
    def contexts(self) -> tuple[PreparedContext, ...]:
        """Each by itself."""
        return self.strip.prepared()

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
        contexts = self.contexts
        units = [key for context in contexts for key in context.keys]
        keys = sorted(key for key in set(units) if any(map(str.isalnum, key)))
        place = {key: i for i, key in enumerate(keys)}
        of_unit = np.asarray([place.get(key, -1) for key in units], dtype=np.int64)
        row = np.repeat(np.arange(len(contexts)), [len(context.units) for context in contexts])
        entries = np.unique((row * len(keys) + of_unit)[of_unit >= 0])
        rows, columns = np.divmod(entries, max(1, len(keys)))
        ends = np.searchsorted(rows, np.arange(len(contexts) + 1))
        rarity = np.log(len(contexts) / np.bincount(columns, minlength=len(keys)))
        return _Index(tuple(keys), place, of_unit, columns, rows, ends, rarity)

    @cached_property
    def _wordiness(self) -> NDArray[np.float64]:
        """(n,) square root of the units in each context, 1 at least."""
        _, n_units = self.strip.units_of(np.arange(len(self.ids)))
        return np.sqrt(np.maximum(1, n_units).astype(np.float64))

    def query(self, cut: Cut, activations: Floats) -> NDArray[np.float64]:
        """What a feature's activating windows have in common with the pool, as weights of its units.

        A unit weighs the mean over windows of its share of the window's peak; a unit that merely stands near
        the peak counts a tenth, so that contexts alike in topic come after those alike in the firing word.

        Args:
            cut: windows, of contexts of the same file.
            activations: (n_units,) of all their units.

        Returns:
            (n_keys,) weights of the pool's units.
        """
        lengths = np.diff(cut.edges)
        peaks = np.maximum.reduceat(activations, cut.edges[:-1]) if len(lengths) else activations
        shares = activations.astype(np.float64) / np.repeat(np.where(peaks > 0, peaks, 1), lengths)
        weights = np.maximum(shares, 0.1) / max(1, len(lengths))
        places = self._places_of(cut.strip.vocabulary).take(cut.codes)
        place = self._index.place
        places[cut.several] = [place.get(compared(cut.texts[i]), -1) for i in cut.several.tolist()]
        known = places >= 0
        sums = np.bincount(places[known], weights[known], len(self.keys))
        return sums.astype(np.float64, copy=False)  # of no weights it makes whole numbers

    def _places_of(self, texts: NDArray[np.object_]) -> NDArray[np.int64]:
        """The place among the keys of every text of the vocabulary; -1 where it has none."""
        new = texts[len(self._place_of_code) :].tolist()
        if new:
            place = self._index.place
            own = np.asarray([place.get(compared(text), -1) for text in new], dtype=np.int64)
            self._place_of_code = np.append(self._place_of_code, own)
        return self._place_of_code

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
        gains = (query * index.rarity).take(index.columns)
        some = gains.nonzero()[0]
        total = np.bincount(index.rows.take(some), gains.take(some), len(silent)) / self._wordiness
        found = np.flatnonzero((total > 0) & silent)
        rows = found[np.argsort(-total[found], kind="stable")][:n]
        if not len(rows):
            return rows, rows
        lengths = index.ends[rows + 1] - index.ends[rows]
        own = ranges(index.ends[rows], lengths)
        return rows, index.columns[own[first_largest(gains[own], lengths)]]

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
        begun = np.searchsorted(hits, np.append(0, np.cumsum(n_units)))
        found = hits[begun[:-1] + (share * np.diff(begun)).astype(np.int64)]
        return self.strip.positions(units[found], rows)
