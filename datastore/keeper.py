"""Which contexts of each feature are kept, decided in one pass with bounded memory.

For every group (a feature and a split) two rules choose contexts, both "the best k by a key":

1. top:    the k_top contexts with the largest activation;
2. sample: the k_sample contexts with the smallest hash of (feature, context, seed) among those where the
           feature fires: a uniform sample without replacement (bottom-k sampling; Cohen & Kaplan 2007).

Beside them a *quiet pool*, one uniform sample of all contexts a split, keeps every activation in it.
The state is a deterministic function of the *set* of contexts seen: order, batching and sharding don't
matter. Arrivals are pruned against each group's running k-th best, so that almost all are dropped at once;
survivors wait in a buffer that is compacted by sorting when it fills.

A context's id is a digest of its tokens, so exact duplicates share an id: within a split they count once
among the kept; across splits only the earliest split keeps them (see `finish`), because a duplicate in the
report split of something the explainer was shown would be a leak.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from exegete.datastore.hashing import uniform
from exegete.datastore.kept import (
    HISTOGRAM_EDGES,
    N_SPLITS,
    Firings,
    Ints,
    Kept,
    KeptContext,
    Pairs,
    QuietContext,
    Statistics,
    no_pairs,
    ranks_within,
)
from exegete.datastore.records import SPLITS, Floats

_PENDING = 1 << 16
"""Pairs that wait, at least, before they are compacted."""


@dataclass
class Keeper:
    """Keeps the evidence of `n_slots` features while a corpus streams by.

    Attributes:
        n_slots: feature slots (features times polarities).
        keys: (n_slots,) stable integers that seed each slot's sample; not positions, so that a feature's
            sample is the same whichever other features are harvested beside it.
        k_top: contexts kept by strength, a split.
        k_sample: contexts kept by the uniform sample, for each split.
        k_quiet: contexts in the quiet pool, for each split.
        seed: seeds the sample and the pool.
    """

    n_slots: int
    keys: Ints
    k_top: int
    k_sample: tuple[int, int, int]
    k_quiet: tuple[int, int, int]
    seed: int
    contexts: dict[tuple[int, int], KeptContext] = field(default_factory=dict)
    _parts: list[Pairs] = field(default_factory=list)
    _pending: int = 0
    _kept: int = 0
    _quiet: dict[tuple[int, int], QuietContext] = field(default_factory=dict)
    _heaps: list[list[tuple[float, int]]] = field(default_factory=lambda: [[] for _ in SPLITS])

    def __post_init__(self) -> None:
        n_groups = self.n_slots * N_SPLITS
        self._strength_bar = np.zeros(n_groups, dtype=np.float32)
        self._order_bar = np.ones(n_groups, dtype=np.float64)
        self._sizes = np.tile(np.asarray(self.k_sample, dtype=np.int64), self.n_slots)
        self.statistics = Statistics(
            tokens=0,
            contexts=np.zeros(N_SPLITS, dtype=np.int64),
            fired=np.zeros(self.n_slots, dtype=np.int64),
            fired_contexts=np.zeros((self.n_slots, N_SPLITS), dtype=np.int64),
            maximum=np.zeros((self.n_slots, N_SPLITS), dtype=np.float32),
            histogram=np.zeros((self.n_slots, len(HISTOGRAM_EDGES) + 1), dtype=np.int64),
        )

    def add(self, batch: Sequence[KeptContext], firings: Firings) -> None:
        """Take in a batch of contexts with everything that fired on them.

        Args:
            batch: the contexts; `firings.row` points into it.
            firings: what fired, in any order.
        """
        order = np.lexsort((firings.position, firings.row, firings.slot))
        slot, row = firings.slot[order], firings.row[order]
        position, value = firings.position[order], firings.value[order]
        split_of_row = np.asarray([c.split for c in batch], dtype=np.int64)
        self._count(batch, slot, row, value, split_of_row)
        self._offer_quiet(batch, slot, row, position, value)
        if not len(slot):
            return
        first = np.flatnonzero(np.concatenate(([True], (slot[1:] != slot[:-1]) | (row[1:] != row[:-1]))))
        strength = np.maximum.reduceat(value, first)
        pair_slot, pair_row = slot[first], row[first]
        group = pair_slot * N_SPLITS + split_of_row[pair_row]
        np.maximum.at(self.statistics.maximum.reshape(-1), group, strength)
        self.statistics.fired_contexts.reshape(-1)[:] += np.bincount(group, minlength=self.n_slots * N_SPLITS)
        context = np.asarray([c.id for c in batch], dtype=np.int64)[pair_row]
        sample_order = uniform(self.seed, self.keys[pair_slot], context)
        strong, drawn = strength >= self._strength_bar[group], sample_order <= self._order_bar[group]
        keep = np.flatnonzero(strong | drawn)
        pairs = Pairs(
            group,
            context,
            strength,
            sample_order,
            np.diff(np.append(first, len(slot))),
            position.astype(np.uint16),
            value,
        ).take(keep)
        if not len(pairs):
            return
        for r in np.unique(pair_row[keep]).tolist():
            self._remember(batch[r])
        self._parts.append(pairs)
        self._pending += len(pairs)
        if self._pending > max(_PENDING, self._kept):
            self._compact()

    def finish(self) -> Kept:
        """Settle which contexts are kept, with no context in two splits.

        A context (by id) that is kept in several splits stays in the earliest of explain, refine, report:
        a duplicate costs the test set an example, never its independence.
        """
        self._compact()
        pairs = self._parts[0]
        earliest: dict[int, int] = {}
        for split, id_ in self.contexts:
            earliest[id_] = min(split, earliest.get(id_, split))
        home = np.asarray([earliest[c] for c in pairs.context.tolist()], dtype=np.int64)
        pairs = pairs.take(np.flatnonzero(pairs.group % N_SPLITS == home))
        pairs = pairs.take(np.lexsort((pairs.context, -pairs.strength, pairs.group)))
        quiet = {key: q for key, q in self._quiet.items() if earliest[key[1]] == key[0]}
        contexts = {key: c for key, c in self.contexts.items() if earliest[key[1]] == key[0]}
        return Kept(contexts, pairs, quiet, self.statistics, self.k_top, self._order_bar)

    def _count(
        self, batch: Sequence[KeptContext], slot: Ints, row: Ints, value: Floats, split_of_row: Ints
    ) -> None:
        s = self.statistics
        s.tokens += sum(len(c.token_ids) for c in batch)
        s.contexts += np.bincount(split_of_row, minlength=N_SPLITS)
        s.fired += np.bincount(slot, minlength=self.n_slots)
        bins = np.searchsorted(HISTOGRAM_EDGES, value, side="right")
        width = s.histogram.shape[1]
        np.add.at(s.histogram.reshape(-1), slot * width + bins, 1)

    def _offer_quiet(
        self, batch: Sequence[KeptContext], slot: Ints, row: Ints, position: Ints, value: Floats
    ) -> None:
        orders = uniform(self.seed + 1, np.asarray([c.id for c in batch], dtype=np.int64))
        for r, context in enumerate(batch):
            key, u = (context.split, context.id), float(orders[r])
            heap, size = self._heaps[context.split], self.k_quiet[context.split]
            if key in self._quiet:
                self._remember(context)
                continue
            if size == 0 or (len(heap) >= size and u >= -heap[0][0]):
                continue
            mine = np.flatnonzero(row == r)
            self._quiet[key] = QuietContext(u, slot[mine], position[mine], value[mine])
            self._remember(context)
            heapq.heappush(heap, (-u, context.id))
            if len(heap) > size:
                _, evicted = heapq.heappop(heap)
                del self._quiet[(context.split, evicted)]

    def _remember(self, context: KeptContext) -> None:
        """Keep a context's text; of duplicates, the one whose document sorts first, so that order is moot."""
        known = self.contexts.get((context.split, context.id))
        if known is None or (context.document, context.start) < (known.document, known.start):
            self.contexts[(context.split, context.id)] = context

    def _compact(self) -> None:
        """Drop the pairs that are among no group's best any more, and the contexts that nothing needs."""
        pairs = Pairs.join([no_pairs(), *self._parts])
        # Duplicates of one context in one split are one example: sort them together, keep the strongest
        # (their activations may differ in the last bits, or in what an import says of them).
        by_id = np.lexsort((-pairs.strength, pairs.context, pairs.group))
        same = np.zeros(len(pairs), dtype=bool)
        same[by_id[1:]] = (pairs.group[by_id[1:]] == pairs.group[by_id[:-1]]) & (
            pairs.context[by_id[1:]] == pairs.context[by_id[:-1]]
        )
        pairs = pairs.take(np.flatnonzero(~same))
        top_rank = ranks_within(pairs.group, -pairs.strength, pairs.context)
        sample_rank = ranks_within(pairs.group, pairs.order, pairs.context)
        size = self._sizes[pairs.group]
        at_bar = np.flatnonzero(top_rank == self.k_top - 1)
        self._strength_bar[pairs.group[at_bar]] = pairs.strength[at_bar]
        at_bar = np.flatnonzero(sample_rank == size - 1)
        self._order_bar[pairs.group[at_bar]] = pairs.order[at_bar]
        pairs = pairs.take(np.flatnonzero((top_rank < self.k_top) | (sample_rank < size)))
        self._parts, self._kept, self._pending = [pairs], len(pairs), 0
        wanted = set(zip((pairs.group % N_SPLITS).tolist(), pairs.context.tolist(), strict=True))
        wanted.update(self._quiet)
        self.contexts = {key: c for key, c in self.contexts.items() if key in wanted}
