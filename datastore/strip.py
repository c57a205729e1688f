"""Contexts laid end to end as arrays, out of which windows are cut, all of a feature's at once.

What is made one by one is only what leaves: the excerpts' texts. Everything before that, where words begin,
which of them a window covers, is worked out for all contexts together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice, pairwise

import numpy as np
from numpy.typing import NDArray

from exegete.datastore.records import Context, Floats
from exegete.datastore.words import compared, pool

Ints = NDArray[np.int64]


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

    strip: Strip
    contexts: tuple[Context, ...]
    units: Ints
    """(n_units,) which of the strip's units they are made of, window after window."""
    texts: list[str]
    """(n_units)"""
    several: Ints
    """Which of `units` are made of several tokens."""
    edges: Ints
    """(n_windows + 1,) where windows begin among `units`."""

    @property
    def codes(self) -> NDArray[np.int32]:
        """(n_units,) each unit's first token, as a place in the vocabulary."""
        return self.strip.codes.take(self.units)

    def parts(self, of_units: Floats) -> list[Floats]:
        """What belongs to each window, of one number a unit."""
        return [of_units[a:b] for a, b in pairwise(self.edges.tolist())]


class Strip:
    """Contexts, one after the other.

    Attributes:
        ids, documents: of the contexts.
        lengths: (n_contexts,) tokens of each.
        edges: (n_contexts + 1,) where contexts begin among all tokens.
        vocabulary: display text of every token there is.
        codes: (n_units,) each unit's first token, as a place in `vocabulary`.
    """

    def __init__(
        self,
        ids: Sequence[int],
        documents: Sequence[str],
        lengths: Ints,
        vocabulary: NDArray[np.object_],
        tokens: NDArray[np.int32],
        begins: NDArray[np.bool_],
    ) -> None:
        """Lay contexts end to end.

        Args:
            ids, documents: of the contexts.
            lengths: (n_contexts,) tokens of each.
            vocabulary: display text of every token there is.
            tokens: (n_tokens,) the contexts' tokens, as places in `vocabulary`.
            begins: (n_tokens,) where units begin; every context begins one.
        """
        self.ids, self.documents, self.lengths = ids, documents, lengths
        self.vocabulary, self._tokens = vocabulary, tokens
        self.edges = _edges(lengths)
        self._before = _edges(begins)
        """(n_tokens + 1,) units that begin before each token."""
        starts = begins.nonzero()[0]
        self.codes = tokens.take(starts)
        self._starts = np.append(starts, len(tokens))
        """(n_units + 1,) where units begin among all tokens."""

    def units_of(self, rows: Ints) -> tuple[Ints, Ints]:
        """Of each of some contexts, its first unit among all, and how many it has."""
        first = self._before[self.edges[rows]]
        return first, self._before[self.edges[rows + 1]] - first

    def positions(self, units: Ints, rows: Ints) -> Ints:
        """The token positions at which units start in the contexts `rows`, one for each."""
        return np.asarray(self._starts[units] - self.edges[rows])

    def pooled(self, activations: Floats) -> Floats:
        """The largest activation in each unit: (n_tokens,) -> (n_units,)."""
        return pool(activations, self._starts[:-1])

    def cut(self, rows: Ints, first: Ints, window: int | None) -> Cut:
        """The fewest whole units that cover tokens first to first + window, moved to lie in the context.

        A word that the edge would cut is kept whole, so a window may be longer by the rest of two words.

        Args:
            rows: (n,) contexts, any number of times.
            first: (n,) token positions in them, which may lie outside.
            window: tokens; None takes whole contexts.
        """
        origin, length = self.edges[rows], self.lengths[rows]
        if window is None:
            a, b = self._before[origin], self._before[origin + length]
        else:
            low = np.minimum(np.maximum(first, 0), np.maximum(length - window, 0))
            a = self._before[origin + low + 1] - 1
            b = self._before[origin + np.minimum(low + window, length)]
        units, edges = ranges(a, b - a), _edges(b - a)
        texts, several = self._texts(units)
        starts = (self._starts[a] - origin).tolist()
        spans = zip(rows.tolist(), starts, pairwise(edges.tolist()), strict=True)
        ids, documents = self.ids, self.documents
        contexts = tuple([Context(ids[r], documents[r], at, tuple(texts[i:j])) for r, at, (i, j) in spans])
        return Cut(self, contexts, units, texts, several, edges)

    def _texts(self, units: Ints) -> tuple[list[str], Ints]:
        """Texts of units, and which of them are made of several tokens."""
        texts: list[str] = self.vocabulary.take(self.codes.take(units)).tolist()
        begun = self._starts.take(units)
        lengths = self._starts.take(units + 1) - begun
        several = (lengths > 1).nonzero()[0]
        begun, lengths = begun[several], lengths[several]
        pieces = iter(self.vocabulary.take(self._tokens.take(ranges(begun, lengths))).tolist())
        for unit, n in zip(several.tolist(), lengths.tolist(), strict=True):
            texts[unit] = "".join(islice(pieces, n))
        return texts, several

    def prepared(self) -> tuple[PreparedContext, ...]:
        """Every context by itself."""
        n = len(self.ids)
        whole = self.cut(np.arange(n), np.zeros(n, dtype=np.int64), None)
        spans = pairwise(self._before[self.edges].tolist())
        rows = zip(whole.contexts, self.lengths.tolist(), spans, self.edges.tolist()[:n], strict=True)
        return tuple(
            [
                PreparedContext(c.id, c.document, length, self._starts[a:b] - origin, c.tokens)
                for c, length, (a, b), origin in rows
            ]
        )


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


def _edges(lengths: NDArray[np.integer] | NDArray[np.bool_]) -> Ints:
    """Where pieces of such lengths begin, laid end to end, and where the last ends."""
    edges = np.zeros(len(lengths) + 1, dtype=np.int64)
    lengths.cumsum(out=edges[1:])
    return edges
