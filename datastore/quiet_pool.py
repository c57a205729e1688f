"""The quiet pool: contexts sampled from the whole corpus, shared by all features.

From it come the contexts in which a feature is known to be silent, either uniform ones or *hard* ones: those
most like the contexts in which it fires. A feature's silence elsewhere can't be concluded from its absence
among the kept examples, which is why negatives come from here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import count

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
    def edges(self) -> list[int]:
        """`starts` as Python's numbers, among which `bisect` finds one much faster than numpy."""
        return list(self.starts.tolist())

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """Units as they are compared."""
        return tuple(map(_key, self.units))


@dataclass(frozen=True)
class _Index:
    """Units of a pool's contexts, each once a context; context after context, its units by name."""

    place: Mapping[str, int]
    """Of every unit among all, by name."""
    keys: tuple[str, ...]
    columns: NDArray[np.int64]
    """(n_entries,) places of units."""
    rows: NDArray[np.int64]
    """(n_entries,) rows of the contexts they stand in."""
    ends: NDArray[np.int64]
    """(n_contexts + 1,) where each context's entries begin."""

    @cached_property
    def sizes(self) -> NDArray[np.int64]:
        """(n_units,) contexts that hold each unit."""
        return np.bincount(self.columns, minlength=len(self.keys))


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
    def _index(self) -> _Index:
        """Which units that hold a letter or digit stand in which contexts."""
        units = [sorted({key for key in c.keys if any(map(str.isalnum, key))}) for c in self.contexts]
        place = {key: i for i, key in enumerate(sorted(set().union(*units)))}
        columns = np.asarray([place[key] for own in units for key in own], dtype=np.int64)
        ends = np.cumsum([0, *(len(own) for own in units)])
        return _Index(place, tuple(place), columns, np.repeat(np.arange(len(units)), np.diff(ends)), ends)

    @cached_property
    def _lengths(self) -> NDArray[np.float64]:
        """(n,) units in each context, 1 at least."""
        return np.asarray([max(1, len(c.units)) for c in self.contexts], dtype=np.float64)

    def similar(self, query: Mapping[str, float], silent: NDArray[np.bool_]) -> Iterator[tuple[int, str]]:
        """Silent contexts that share rare, heavy units with a query, most similar first.

        The similarity is the sum, over the query's units found in the context, of weight times inverse
        document frequency log(n / df) in the pool, over the square root of how many units it has: wordy
        contexts share more by chance, and wordiness would then tell hard quiet excerpts from others.

        Args:
            query: weight of each unit (stripped, lower case).
            silent: (n,) where the feature is silent.

        Yields:
            (row, the unit that contributed most) with similarity above 0.
        """
        n, index = len(self.contexts), self._index
        known = [(place, query[key]) for key in query if (place := index.place.get(key)) is not None]
        if not known:
            return
        places, weights = np.asarray([p for p, _ in known]), np.asarray([w for _, w in known])
        gain = np.zeros(len(index.keys))
        gain[places] = weights * np.log(n / index.sizes[places])
        total = np.bincount(index.rows, gain[index.columns], n) / np.sqrt(self._lengths)
        found = np.flatnonzero((total > 0) & silent)
        for row in found[np.lexsort((self.ids[found], -total[found]))].tolist():
            own = index.columns[index.ends[row] : index.ends[row + 1]]
            yield row, index.keys[own[gain[own].argmax()]]  # of equals the first by name


def query_of(excerpts: Sequence[Excerpt]) -> dict[str, float]:
    """What a feature's activating excerpts have in common, as weights of units.

    A unit weighs the mean over excerpts of its share of the excerpt's peak; a unit that merely stands near
    the peak counts a tenth, so that contexts alike in topic come after those alike in the firing word.
    """
    units = [_key(unit) for excerpt in excerpts for unit in excerpt.context.tokens]
    if not units:
        return {}
    shares = [e.activations.astype(np.float64) / (e.peak or 1.0) for e in excerpts]
    weights = np.maximum(np.concatenate(shares), 0.1) / len(excerpts)
    place = dict(zip(dict.fromkeys(units), count(), strict=False))
    sums = np.bincount(np.fromiter(map(place.__getitem__, units), np.int64, len(units)), weights)
    return dict(zip(place, sums.tolist(), strict=True))


@lru_cache(65_536)
def _key(unit: str) -> str:
    """A unit as it is compared: stripped, lower case."""
    return unit.strip().lower()
