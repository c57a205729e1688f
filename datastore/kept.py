"""What a keeper takes in and what it has kept: contexts, sparse pairs of feature and context, statistics."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from exegete.datastore.records import SPLITS, Floats

N_SPLITS = len(SPLITS)
HISTOGRAM_EDGES = np.exp2(np.arange(-20, 41) / 2.0)
"""(61,) edges of the log histogram of activations: half octaves, 2^-10 to 2^20; outer bins are open."""

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class KeptContext:
    """One context as the corpus had it."""

    id: int
    split: int
    """Index into SPLITS."""
    document: str
    start: int
    """Position of the first token in its document."""
    token_ids: NDArray[np.int32]
    text: str
    """Display tokens joined by "\\x1f" (one string a context keeps memory small)."""

    @property
    def tokens(self) -> list[str]:
        """Display tokens, leading whitespace kept."""
        return self.text.split("\x1f")


@dataclass(frozen=True, slots=True)
class Firings:
    """Sparse activations of a batch: one row for each (feature, context, position) that fires."""

    slot: Ints
    """(n,) feature slot."""
    row: Ints
    """(n,) row of the context in its batch."""
    position: Ints
    """(n,) token position in its context."""
    value: Floats
    """(n,) activation above the firing threshold, raw units."""


@dataclass(slots=True)
class Pairs:
    """Kept (feature, context) pairs, with the sparse activations of each."""

    group: Ints
    """(n,) slot * 3 + split."""
    context: Ints
    """(n,) context id."""
    strength: Floats
    """(n,) largest activation in the context, raw units."""
    order: NDArray[np.float64]
    """(n,) the sample key in [0, 1)."""
    length: Ints
    """(n,) how many positions fire."""
    position: NDArray[np.uint16]
    """(length.sum(),) token positions of all pairs, one pair after the other."""
    value: Floats
    """(length.sum(),) their activations, raw units."""

    @staticmethod
    def join(parts: Sequence[Pairs]) -> Pairs:
        """Concatenate."""
        return Pairs(
            *(
                np.concatenate([getattr(p, name) for p in parts])
                for name in ("group", "context", "strength", "order", "length", "position", "value")
            )
        )

    def take(self, index: Ints) -> Pairs:
        """The pairs at `index`, in that order."""
        starts = np.cumsum(self.length) - self.length
        length = self.length[index]
        inner = np.arange(length.sum()) - np.repeat(np.cumsum(length) - length, length)
        flat = np.repeat(starts[index], length) + inner
        return Pairs(
            self.group[index],
            self.context[index],
            self.strength[index],
            self.order[index],
            length,
            self.position[flat],
            self.value[flat],
        )

    def __len__(self) -> int:
        return len(self.group)


@dataclass(slots=True)
class Statistics:
    """Running statistics of every feature slot, over all tokens seen."""

    tokens: int
    contexts: Ints
    """(3,) contexts seen, by split."""
    fired: Ints
    """(slots,) tokens that fired."""
    fired_contexts: Ints
    """(slots, 3) contexts that fired, by split."""
    maximum: Floats
    """(slots, 3) largest activation, by split; 0 where nothing fired."""
    histogram: Ints
    """(slots, 62) firing tokens by HISTOGRAM_EDGES."""


@dataclass(slots=True)
class QuietContext:
    """A context of the quiet pool with every activation in it."""

    order: float
    """The key it was drawn by, in [0, 1)."""
    slot: Ints
    """(n,) feature slot of each activation."""
    position: Ints
    """(n,) token position."""
    value: Floats
    """(n,) raw units."""


@dataclass(slots=True)
class Kept:
    """What a keeper has when the corpus is over."""

    contexts: dict[tuple[int, int], KeptContext]
    """By (split, id)."""
    pairs: Pairs
    """Sorted by (group, strength falling)."""
    quiet: dict[tuple[int, int], QuietContext]
    """The pool, by (split, id)."""
    statistics: Statistics
    k_top: int
    order_bar: NDArray[np.float64]
    """(groups,) a pair belongs to its group's uniform sample when its sample key is at or below this."""


def ranks_within(group: Ints, *keys: NDArray[np.generic]) -> Ints:
    """Rank of each row within its group by the keys (first key first, ascending)."""
    order = np.lexsort((*reversed(keys), group))
    sorted_group = group[order]
    first = np.concatenate(([True], sorted_group[1:] != sorted_group[:-1]))
    starts = np.flatnonzero(first)
    rank_sorted = np.arange(len(group)) - np.repeat(starts, np.diff(np.append(starts, len(group))))
    ranks = np.empty(len(group), dtype=np.int64)
    ranks[order] = rank_sorted
    return ranks


def no_pairs() -> Pairs:
    """Pairs of nothing."""
    ints, floats = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float32)
    return Pairs(ints, ints, floats, np.zeros(0), ints, np.zeros(0, dtype=np.uint16), floats)


def slots_of(pairs: Pairs) -> Iterator[tuple[int, slice]]:
    """The slices of sorted pairs that belong to each slot that has any."""
    slot = pairs.group // N_SPLITS
    if not len(slot):
        return
    edges = np.flatnonzero(np.concatenate(([True], slot[1:] != slot[:-1], [True])))
    for a, b in pairwise(edges.tolist()):
        yield int(slot[a]), slice(a, b)
