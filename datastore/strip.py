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
from exegete.datastore.words import compared

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

    contexts: tuple[Context, ...]
    texts: list[str]
    """(n_units) of all windows, window after window."""
    vocabulary: NDArray[np.object_]
    """Texts of tokens."""
    codes: NDArray[np.int32]
    """(n_units,) each unit's first token, as a place in `vocabulary`."""
    several: Ints
    """Which units are made of several tokens."""
    tokens: Ints
    """(n_tokens,) places in the strip of the windows' tokens."""
    starts: Ints
    """(n_units,) where units begin among `tokens`."""
    edges: Ints
    """(n_windows + 1,) where windows begin among the units."""

    def pooled(self, activations: Floats) -> Floats:
        """The largest activation in each unit: those of the strip's tokens -> (n_units,)."""
        if not len(self.starts):
            return np.zeros(0, dtype=np.float32)
        return np.asarray(np.maximum.reduceat(activations.take(self.tokens), self.starts))

    def parts(self, of_units: Floats) -> list[Floats]:
        """What belongs to each window, of one number a unit."""
        return [of_units[a:b] for a, b in pairwise(self.edges.tolist())]


@dataclass(frozen=True)
class Strip:
    """Contexts, one after the other."""

    ids: Sequence[int]
    documents: Sequence[str]
    lengths: Ints
    """(n_contexts,) tokens of each."""
    texts: NDArray[np.object_]
    """Display text of every token there is."""
    codes: NDArray[np.int32]
    """(n_tokens,) the contexts' tokens, as places in `texts`."""
    begins: NDArray[np.bool_]
    """(n_tokens,) where units begin; every context begins one."""

    @cached_property
    def edges(self) -> Ints:
        """(n_contexts + 1,) where contexts begin."""
        return _edges(self.lengths)

    @cached_property
    def _before(self) -> Ints:
        """(n_tokens + 1,) units that begin before each token."""
        return _edges(self.begins)

    @cached_property
    def _starts(self) -> Ints:
        """(n_units + 1,) where units begin."""
        return np.append(np.flatnonzero(self.begins), len(self.begins))

    def units_of(self, rows: Ints) -> tuple[Ints, Ints]:
        """Of each of some contexts, its first unit among all, and how many it has."""
        first = self._before[self.edges[rows]]
        return first, self._before[self.edges[rows + 1]] - first

    def positions(self, units: Ints, rows: Ints) -> Ints:
        """The token positions at which units start in the contexts `rows`, one for each."""
        return np.asarray(self._starts[units] - self.edges[rows])

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
            low = np.clip(first, 0, np.maximum(0, length - window))
            a = self._before[origin + low + 1] - 1
            b = self._before[origin + np.minimum(low + window, length)]
        start, end = self._starts[a], self._starts[b]
        tokens, edges = ranges(start, end - start), _edges(b - a)
        texts, codes, several, starts = self._units(tokens)
        spans = zip(rows.tolist(), (start - origin).tolist(), pairwise(edges.tolist()), strict=True)
        ids, documents = self.ids, self.documents
        contexts = tuple([Context(ids[r], documents[r], at, tuple(texts[i:j])) for r, at, (i, j) in spans])
        return Cut(contexts, texts, self.texts, codes, several, tokens, starts, edges)

    def _units(self, tokens: Ints) -> tuple[list[str], NDArray[np.int32], Ints, Ints]:
        """Texts of the units that some tokens are, and with them what else a `Cut` has of units."""
        starts = np.flatnonzero(self.begins.take(tokens))
        codes = self.codes.take(tokens)
        own = codes.take(starts)
        texts: list[str] = self.texts.take(own).tolist()
        lengths = np.diff(starts, append=len(tokens))
        several = np.flatnonzero(lengths > 1)
        begun, lengths = starts[several], lengths[several]
        rest = iter(self.texts.take(codes.take(ranges(begun, lengths))).tolist())
        for unit, n in zip(several.tolist(), lengths.tolist(), strict=True):
            texts[unit] = "".join(islice(rest, n))
        return texts, own, several, starts

    def prepared(self) -> tuple[PreparedContext, ...]:
        """Every context by itself."""
        whole = self.cut(np.arange(len(self.ids)), np.zeros(len(self.ids), dtype=np.int64), None)
        begun = pairwise(self._before[self.edges].tolist())
        return tuple(
            PreparedContext(c.id, c.document, n, self._starts[a:b] - origin, c.tokens)
            for c, n, (a, b), origin in zip(
                whole.contexts, self.lengths.tolist(), begun, self.edges[:-1].tolist(), strict=True
            )
        )


def ranges(starts: Ints, lengths: Ints) -> Ints:
    """Whole numbers from each start on, one range after the other: [3, 7], [2, 1] -> [3, 4, 7]."""
    ends = np.cumsum(lengths)
    return np.repeat(starts - (ends - lengths), lengths) + np.arange(ends[-1] if len(ends) else 0)


def first_largest(values: NDArray[np.floating], lengths: Ints) -> Ints:
    """Of pieces laid end to end, none of them empty, where the first largest value of each stands."""
    starts = np.cumsum(lengths) - lengths
    hits = np.flatnonzero(values == np.repeat(np.maximum.reduceat(values, starts), lengths))
    return np.asarray(hits[np.searchsorted(hits, starts)])


def _edges(lengths: NDArray[np.integer] | NDArray[np.bool_]) -> Ints:
    """Where pieces of such lengths begin, laid end to end, and where the last ends."""
    edges = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(lengths, out=edges[1:])
    return edges
