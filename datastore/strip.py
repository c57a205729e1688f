"""Contexts laid end to end as arrays, out of which windows are cut, all of a feature's at once.

Where words begin is worked out once, for all contexts that are read together. What is made for each window is
only what leaves: its text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice, pairwise

import numpy as np
from numpy.typing import NDArray

from exegete.datastore.growing import Growing
from exegete.datastore.records import Context, Floats, Unit
from exegete.datastore.words import Vocabulary, compared

Ints = NDArray[np.int64]
Tokens = NDArray[np.int32]

_NOT_YET = -1
"""In place of the code of a word that has not been put together."""


@dataclass(frozen=True)
class PreparedContext:
    """A full context, cut into units."""

    id: int
    document: str
    n_tokens: int
    starts: NDArray[np.int64]
    """(n_units,) token position at which each unit starts."""
    units: tuple[str, ...]

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """Units as they are compared."""
        return tuple(map(compared, self.units))


@dataclass(frozen=True, slots=True)
class Cut:
    """Windows of a strip's contexts."""

    contexts: tuple[Context, ...]
    codes: NDArray[np.int32]
    """(n_units,) the units they are made of, window after window, as places in the vocabulary."""
    lengths: Ints
    """(n_windows,) how many units each has."""
    edges: Ints
    """(n_windows + 1,) where windows begin among `codes`."""
    origins: Ints
    """(n_windows,) where each one's context begins among the strip's tokens."""
    begun: Ints
    """(n_windows,) each one's first unit among the strip's units."""

    def parts(self, of_units: Floats) -> list[Floats]:
        """What belongs to each window, of one number a unit."""
        return [of_units[a:b] for a, b in pairwise(self.edges.tolist())]


class Strip:
    """Contexts, one after the other, cut into units; more can be added at the end.

    Attributes:
        vocabulary: texts of tokens and units.
        unit: what contexts are cut into.
        ids, documents: of the contexts.
    """

    def __init__(self, vocabulary: Vocabulary, unit: Unit) -> None:
        """With no contexts."""
        self.vocabulary, self.unit = vocabulary, unit
        self.ids: list[int] = []
        self.documents: list[str] = []
        self._edges = Growing(np.zeros(1, dtype=np.int64))
        """(n_contexts + 1,) where contexts begin among all tokens."""
        self._tokens = Growing(np.zeros(0, dtype=np.int32))
        """(n_tokens,) places in the vocabulary."""
        self._before = Growing(np.zeros(1, dtype=np.int32))
        """(n_tokens + 1,) units that begin before each token."""
        self._starts = Growing(np.zeros(1, dtype=np.int32))
        """(n_units + 1,) the token that each unit starts with, and where the last one ends."""
        self._codes = Growing(np.zeros(0, dtype=np.int32))
        """(n_units,) places in the vocabulary; -1 for a word of several tokens that was not asked for yet."""

    def __len__(self) -> int:
        return len(self.ids)

    def add(self, ids: Sequence[int], documents: Sequence[str], lengths: Ints, tokens: Tokens) -> None:
        """Add contexts at the end.

        Args:
            ids, documents: of the contexts.
            lengths: (n_contexts,) tokens of each.
            tokens: (n_tokens,) of all of them, as places in the vocabulary.
        """
        self.ids += ids
        self.documents += documents
        every = np.ones(len(tokens), dtype=bool)
        begins = self.vocabulary.begins(tokens, lengths) if self.unit == "word" else every
        starts = begins.nonzero()[0]
        ends = np.append(starts[1:], len(tokens))[: len(starts)]
        self._edges.add(len(self._tokens.values) + lengths.cumsum())
        self._before.add(len(self._codes.values) + begins.cumsum())
        self._starts.add(len(self._tokens.values) + ends)
        self._codes.add(np.where(ends - starts > 1, _NOT_YET, tokens[starts]))
        self._tokens.add(tokens)

    def recut(self, unit: Unit, row: int = 0) -> Strip:
        """The contexts from one on, cut into units of some kind."""
        edges = self._edges.values[row:]
        other = Strip(self.vocabulary, unit)
        other.add(self.ids[row:], self.documents[row:], np.diff(edges), self._tokens.values[edges[0] :])
        return other

    @property
    def codes(self) -> NDArray[np.int32]:
        """(n_units,) all units, as places in the vocabulary."""
        return self._coded(np.arange(len(self._codes.values)))

    def lengths(self, rows: Ints) -> Ints:
        """How many tokens some contexts have."""
        edges = self._edges.values
        return np.asarray(edges[rows + 1] - edges[rows])

    def units_of(self, rows: Ints) -> tuple[Ints, Ints]:
        """Of each of some contexts, its first unit among all, and how many it has."""
        edges, before = self._edges.values, self._before.values
        first = before[edges[rows]].astype(np.int64)
        return first, before[edges[rows + 1]] - first

    def positions(self, units: Ints, rows: Ints) -> Ints:
        """The token positions at which units start in the contexts `rows`, one for each."""
        return np.asarray(self._starts.values[units] - self._edges.values[rows])

    def cut(self, rows: Ints, first: Ints, window: int | None) -> Cut:
        """The fewest whole units that cover tokens first to first + window, moved to lie in the context.

        A word that the edge would cut is kept whole, so a window may be longer by the rest of two words.

        Args:
            rows: (n,) contexts, any number of times.
            first: (n,) token positions in them, which may lie outside.
            window: tokens; None takes whole contexts.
        """
        before, origin, length = self._before.values, self._edges.values[rows], self.lengths(rows)
        if window is None:
            a, b = before[origin], before[origin + length]
        else:
            low = np.minimum(np.maximum(first, 0), np.maximum(length - window, 0))
            a = before[origin + low + 1] - 1
            b = before[origin + np.minimum(low + window, length)]
        begun, n_units = a.astype(np.int64), b.astype(np.int64) - a
        edges = _edges(n_units)
        codes = self._coded((begun - edges[:-1]).repeat(n_units) + np.arange(edges[-1]))
        texts = tuple(self.vocabulary.texts.take(codes).tolist())
        spans = zip(
            rows.tolist(), self.positions(begun, rows).tolist(), pairwise(edges.tolist()), strict=True
        )
        ids, documents = self.ids, self.documents
        contexts = tuple([Context(ids[r], documents[r], at, texts[i:j]) for r, at, (i, j) in spans])
        return Cut(contexts, codes, n_units, edges, origin, begun)

    def pooled(self, cut: Cut, lengths: Ints, positions: Ints, values: Floats) -> Floats:
        """The largest activation in each unit of some windows: (n_units,), 0 where nothing fires.

        Args:
            cut: windows of this strip.
            lengths: (n_windows,) how many positions fire in each one's context.
            positions, values: all of these, and how strongly each fires, above 0.
        """
        unit = self._before.values[cut.origins.repeat(lengths) + positions + 1] - 1
        place = unit - cut.begun.repeat(lengths)
        inside = (place >= 0) & (place < cut.lengths.repeat(lengths))
        pooled = np.zeros(cut.edges[-1], dtype=np.float32)
        np.maximum.at(pooled, (place + cut.edges[:-1].repeat(lengths))[inside], values[inside])
        return pooled

    def _coded(self, units: Ints) -> NDArray[np.int32]:
        """Units as places in the vocabulary."""
        codes = self._codes.values.take(units)
        new = units[codes == _NOT_YET]
        if len(new):
            self._codes.values[new] = self.vocabulary.encode(self._joined(new))
            codes = self._codes.values.take(units)
        return codes

    def _joined(self, units: Ints) -> list[str]:
        """Texts of units, put together from their tokens."""
        starts = self._starts.values[units].astype(np.int64)
        lengths = self._starts.values[units + 1] - starts
        tokens = self._tokens.values.take(ranges(starts, lengths))
        pieces = iter(self.vocabulary.texts.take(tokens).tolist())
        return ["".join(islice(pieces, n)) for n in lengths.tolist()]

    def prepared(self, rows: Ints) -> tuple[PreparedContext, ...]:
        """Contexts by themselves."""
        whole, (first, n_units) = self.cut(rows, np.zeros_like(rows), None), self.units_of(rows)
        starts = self._starts.values[ranges(first, n_units)] - whole.origins.repeat(n_units)
        spans = zip(whole.contexts, self.lengths(rows).tolist(), pairwise(whole.edges.tolist()), strict=True)
        return tuple([PreparedContext(c.id, c.document, n, starts[a:b], c.tokens) for c, n, (a, b) in spans])


def ranges(starts: Ints, lengths: Ints) -> Ints:
    """Whole numbers from each start on, one range after the other: [3, 7], [2, 1] -> [3, 4, 7]."""
    ends = lengths.cumsum()
    found = (starts - (ends - lengths)).repeat(lengths)
    return np.asarray(found + np.arange(len(found)), dtype=np.int64)


def first_largest(values: NDArray[np.floating], lengths: Ints) -> Ints:
    """Of pieces laid end to end, none of them empty, where the first largest value of each stands."""
    starts = lengths.cumsum() - lengths
    hits = (values == np.maximum.reduceat(values, starts).repeat(lengths)).nonzero()[0]
    return np.asarray(hits[hits.searchsorted(starts)])


def smallest(values: NDArray[np.floating], n: int) -> Ints:
    """Where the n smallest values stand, smallest first, of equal ones the first; fewer where they are."""
    near = np.arange(len(values))
    if 0 < n < len(values):
        near = (values <= np.partition(values, n - 1)[n - 1]).nonzero()[0]
    return np.asarray(near[values[near].argsort(kind="stable")][:n])


def _edges(lengths: NDArray[np.integer] | NDArray[np.bool_]) -> Ints:
    """Where pieces of such lengths begin, laid end to end, and where the last ends."""
    edges = np.zeros(len(lengths) + 1, dtype=np.int64)
    lengths.cumsum(out=edges[1:])
    return edges
