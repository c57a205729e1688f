"""The best pairs of a range of feature slots: what a keeper keeps, a few thousand slots at a time.

Every group (a feature and a split) keeps its k_top strongest contexts and the k_sample contexts with the
smallest sample keys. Arrivals have been pruned against the group's bars, its running k-th best of either
kind; survivors wait, and when half as many wait as are kept, all are sorted once and the rest is dropped.
Sorting range by range is what bounds memory: only one range at a time is ever held twice.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from exegete.datastore.kept import Ints, Pairs, no_pairs, ranks_within
from exegete.datastore.records import Floats

SLOTS = 1024
"""Slots of a partition."""
PENDING = 1 << 12
"""Pairs that wait, at least, before they are compacted."""


@dataclass
class Partition:
    """Best pairs of consecutive groups. The bars are views of the keeper's: pruning reads them there."""

    first_group: int
    k_top: int
    k_sample: Ints
    """(groups,) contexts kept by the uniform sample."""
    strength_bar: Floats
    """(groups,) the k_top-th largest strength, or 0: what is weaker is no top."""
    order_bar: NDArray[np.uint32]
    """(groups,) the k_sample-th smallest sample key, or the largest: what lies above is not drawn."""
    pairs: Pairs = field(default_factory=no_pairs)
    """As of the last compaction: sorted by (group, context)."""
    _waiting: list[Pairs] = field(default_factory=list)
    _n_waiting: int = 0

    def add(self, pairs: Pairs) -> None:
        """Take in pairs of these groups, numbered as the keeper numbers them."""
        self._waiting.append(pairs)
        self._n_waiting += len(pairs)
        if self._n_waiting > max(PENDING, len(self.pairs) // 2):
            self.compact()

    def context_ids(self, split: int, n_splits: int) -> Ints:
        """Ids of all contexts that pairs of a split refer to, in order, each once."""
        parts = [self.pairs, *self._waiting]
        ids = np.sort(np.concatenate([p.context[p.group % n_splits == split] for p in parts]))
        return ids[_new(ids)]

    def compact(self) -> None:
        """Drop the pairs that are among no group's best any more, and set the bars."""
        if not self._waiting:
            return
        pairs = Pairs.join([self.pairs, *self._waiting])
        self._waiting, self._n_waiting = [], 0
        self.pairs = no_pairs()
        # Duplicates of one context in one split are one example: sort them together, keep the strongest
        # (their activations may differ in the last bits, or in what an import says of them).
        by_id = _by_context(pairs, self.first_group)
        by_id = by_id[_new(pairs.group[by_id], pairs.context[by_id])]
        group = pairs.group[by_id] - self.first_group
        strength, order = pairs.strength[by_id], pairs.order[by_id]
        # Strengths are above 0: as integers, their bits are in the same order.
        top_rank = ranks_within(group, _sorted(group, ~strength.view(np.uint32)))
        sample_rank = ranks_within(group, _sorted(group, order))
        size = self.k_sample[group]
        at_bar = np.flatnonzero(top_rank == self.k_top - 1)
        self.strength_bar[group[at_bar]] = strength[at_bar]
        at_bar = np.flatnonzero(sample_rank == size - 1)
        self.order_bar[group[at_bar]] = order[at_bar]
        self.pairs = pairs.take(by_id[(top_rank < self.k_top) | (sample_rank < size)])


def _by_context(pairs: Pairs, first_group: int) -> Ints:
    """The rows by group, context and falling strength."""
    head = (pairs.context >> 31).astype(np.uint32)
    rows = _sorted(pairs.group - first_group, head)
    # Ids that begin alike are of the same context, nearly always.
    new = _new(pairs.group[rows], head[rows])
    tied = np.flatnonzero(~new | ~np.append(new[1:], True))
    if len(tied):
        some = rows[tied]
        rows[tied] = some[np.lexsort((-pairs.strength[some], pairs.context[some], pairs.group[some]))]
    return rows


def _sorted(group: NDArray[np.int32], key: NDArray[np.uint32]) -> Ints:
    """The rows by group and key, and where both are equal as they were.

    Group, key and row are packed into one number where they fit: numbers are sorted ten times faster than
    rows are by several keys.
    """
    n = len(group)
    row_bits = max(1, (n - 1).bit_length())
    if row_bits + 32 + int(group.max(initial=0)).bit_length() > 64:
        return np.lexsort((key, group))
    packed = (group.astype(np.uint64) << np.uint64(32)) | key
    packed = np.sort((packed << np.uint64(row_bits)) | np.arange(n, dtype=np.uint64))
    return (packed & np.uint64((1 << row_bits) - 1)).astype(np.int64)


def _new(*columns: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Where a row differs from the one before it."""
    new = np.zeros(len(columns[0]), dtype=bool)
    new[:1] = True
    for column in columns:
        new[1:] |= column[1:] != column[:-1]
    return new
