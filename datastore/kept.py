"""What a keeper takes in and what it has kept: contexts, sparse pairs of feature and context, statistics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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
    """Kept (feature, context) pairs, with the sparse activations of each: 22 bytes a pair and 6 a firing."""

    group: NDArray[np.int32]
    """(n,) slot * 3 + split."""
    context: Ints
    """(n,) context id."""
    strength: Floats
    """(n,) largest activation in the context, raw units."""
    order: NDArray[np.uint32]
    """(n,) the sample key: 32 bits of a hash of slot and context."""
    length: NDArray[np.uint16]
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
        ends = np.cumsum(self.length, dtype=np.int64)
        length = self.length[index]
        new_ends = np.cumsum(length, dtype=np.int64)
        # Where each chosen firing stands: its place in the result, moved by how far its pair is moved.
        flat = np.repeat((ends - self.length)[index] - (new_ends - length), length)
        flat += np.arange(len(flat))
        return Pairs(
            self.group[index],
            self.context[index],
            self.strength[index],
            self.order[index],
            length,
            self.position[flat],
            self.value[flat],
        )

    def cut(self, a: int, b: int, start: int, end: int) -> Pairs:
        """Pairs `a` to `b` - 1, whose firings are `start` to `end` - 1.

        They are copied: a view would keep all of its batch alive while it waits.
        """
        return Pairs(
            self.group[a:b].copy(),
            self.context[a:b].copy(),
            self.strength[a:b].copy(),
            self.order[a:b].copy(),
            self.length[a:b].copy(),
            self.position[start:end].copy(),
            self.value[start:end].copy(),
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
    slot: NDArray[np.int32]
    """(n,) feature slot of each activation, not falling."""
    position: NDArray[np.uint16]
    """(n,) token position."""
    value: Floats
    """(n,) raw units."""


@dataclass(slots=True)
class Kept:
    """What a keeper has when the corpus is over."""

    contexts: dict[tuple[int, int], KeptContext]
    """By (split, id)."""
    parts: list[Pairs]
    """At least one; each of a range of slots, the ranges in order, sorted by (group, strength falling)."""
    quiet: dict[tuple[int, int], QuietContext]
    """The pool, by (split, id)."""
    statistics: Statistics
    k_top: int
    order_bar: NDArray[np.uint32]
    """(groups,) a pair belongs to its group's uniform sample when its sample key is at or below this."""

    @property
    def pairs(self) -> Pairs:
        """All pairs in one piece."""
        return Pairs.join(self.parts)


def ranks_within(group: NDArray[np.integer], order: Ints) -> NDArray[np.int32]:
    """Rank of each row within its group.

    Args:
        group: (n,) group of each row.
        order: (n,) the rows sorted by group, and within a group by what they are ranked by.

    Returns:
        (n,) ranks, from 0.
    """
    sorted_group = group[order]
    starts = np.flatnonzero(np.concatenate(([True], sorted_group[1:] != sorted_group[:-1])))
    sizes = np.diff(np.append(starts, len(group)))
    ranks = np.empty(len(group), dtype=np.int32)
    ranks[order] = np.arange(len(group)) - np.repeat(starts, sizes)
    return ranks


def no_pairs() -> Pairs:
    """Pairs of nothing."""
    return Pairs(
        np.zeros(0, dtype=np.int32),
        np.zeros(0, dtype=np.int64),
        np.zeros(0, dtype=np.float32),
        np.zeros(0, dtype=np.uint32),
        np.zeros(0, dtype=np.uint16),
        np.zeros(0, dtype=np.uint16),
        np.zeros(0, dtype=np.float32),
    )
