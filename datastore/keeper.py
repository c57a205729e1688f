"""Which contexts of each feature are kept, decided in one pass with bounded memory.

For every group (a feature and a split) two rules choose contexts, both "the best k by a key":

1. top:    the k_top contexts with the largest activation;
2. sample: the k_sample contexts with the smallest hash of (feature, context, seed) among those where the
           feature fires: a uniform sample without replacement (bottom-k sampling; Cohen & Kaplan 2007).

Beside them a *quiet pool*, one uniform sample of all contexts a split, keeps every activation in it.
The state is a deterministic function of the *set* of contexts seen: order, batching and sharding don't
matter, and the states of two keepers merge into that of one that saw both streams (`absorb`). Arrivals are
pruned against each group's running k-th best, so that almost all are dropped at once; survivors wait in a
buffer, a few thousand slots at a time, that is compacted by sorting when it fills (datastore/partition.py).

Memory, with S slots, p = 3 k_top + k_sample pairs a slot and f firings a pair:

    S (700 + 1.5 p (22 + 6 f))  bytes for statistics, bars and pairs, of which a third waits for compaction,
    C (1,000 + 10 n)            for the C contexts of n tokens that any pair or the pool refers to,

and a fixed part of some 400 MB, for what is being sorted or written. C is at most the contexts seen, and
at most p S.

A context's id is a digest of its tokens, so exact duplicates share an id: within a split they count once
among the kept; across splits only the earliest split keeps them (see `finish`), because a duplicate in the
report split of something the explainer was shown would be a leak.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exegete.datastore import partition
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
)
from exegete.datastore.partition import Partition
from exegete.datastore.records import SPLITS, Floats

_CONTEXTS = 1024
"""Contexts that are held, at least, before those that nothing refers to any more are looked for."""


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
    quiet: dict[tuple[int, int], QuietContext] = field(default_factory=dict)
    _heaps: list[list[tuple[float, int]]] = field(default_factory=lambda: [[] for _ in SPLITS])
    _n_contexts: int = _CONTEXTS

    def __post_init__(self) -> None:
        n_groups, width = self.n_slots * N_SPLITS, partition.SLOTS * N_SPLITS
        strength_bar = np.zeros(n_groups, dtype=np.float32)
        order_bar = np.full(n_groups, 0xFFFFFFFF, dtype=np.uint32)
        sizes = np.tile(np.asarray(self.k_sample, dtype=np.int64), self.n_slots)
        self._strength_bar, self._order_bar = strength_bar, order_bar
        self.parts = [
            Partition(at, self.k_top, sizes[some], strength_bar[some], order_bar[some])
            for at in range(0, max(1, n_groups), width)
            for some in (slice(at, at + width),)
        ]
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
        firings = _sorted(firings, len(batch))
        slot, row, value = firings.slot, firings.row, firings.value
        split_of_row = np.asarray([c.split for c in batch], dtype=np.int64)
        self._count(batch, slot, value, split_of_row)
        self._offer_quiet(batch, firings)
        if not len(slot):
            self._forget()
            return
        first = np.flatnonzero(np.concatenate(([True], (slot[1:] != slot[:-1]) | (row[1:] != row[:-1]))))
        strength = np.maximum.reduceat(value, first)
        pair_slot, pair_row = slot[first], row[first]
        group = pair_slot * N_SPLITS + split_of_row[pair_row]
        np.maximum.at(self.statistics.maximum.reshape(-1), group, strength)
        np.add.at(self.statistics.fired_contexts.reshape(-1), group, 1)
        context = np.asarray([c.id for c in batch], dtype=np.int64)[pair_row]
        sample_order = self.sample_keys(pair_slot, context)
        strong, drawn = strength >= self._strength_bar[group], sample_order <= self._order_bar[group]
        keep = np.flatnonzero(strong | drawn)
        for r in np.unique(pair_row[keep]).tolist():
            self._remember(batch[r])
        self._add_pairs(
            Pairs(
                group.astype(np.int32),
                context,
                strength,
                sample_order,
                np.diff(np.append(first, len(slot))).astype(np.uint16),
                firings.position.astype(np.uint16),
                value,
            ).take(keep)
        )
        self._forget()

    def absorb(
        self,
        contexts: Iterable[KeptContext],
        quiet: Mapping[tuple[int, int], QuietContext],
        statistics: Statistics,
        pairs: Iterable[Pairs],
    ) -> None:
        """Take in what another keeper of the same slots, sizes and seed holds, as if its stream were ours.

        Args:
            contexts: its contexts.
            quiet: its quiet pool.
            statistics: of all it saw.
            pairs: what it keeps, in any number of pieces, each sorted by group.
        """
        known = {(c.split, c.id): c for c in contexts}
        for key, drawn in quiet.items():
            if key in self.quiet:
                self._remember(known[key])
            elif self._has_room(key[0], drawn.order):
                self._draw(known[key], drawn)
        for piece in pairs:
            self._add_pairs(piece)
        for context in known.values():
            self._remember(context)
        mine = self.statistics
        mine.tokens += statistics.tokens
        for name in ("contexts", "fired", "fired_contexts", "histogram"):
            getattr(mine, name)[...] += getattr(statistics, name)
        np.maximum(mine.maximum, statistics.maximum, out=mine.maximum)
        self._forget()

    def sample_keys(self, slot: NDArray[np.integer], context: Ints) -> NDArray[np.uint32]:
        """(n,) what pairs of slot and context are drawn by: the smallest of a group are its sample."""
        return np.asarray(uniform(self.seed, self.keys[slot], context) * 2.0**32, dtype=np.uint32)

    def compact(self) -> None:
        """Drop everything that is not kept, as far as the stream has come."""
        for part in self.parts:
            part.compact()
        self._n_contexts = 0
        self._forget()

    def finish(self) -> Kept:
        """Settle which contexts are kept, with no context in two splits.

        A context (by id) that is kept in several splits stays in the earliest of explain, refine, report:
        a duplicate costs the test set an example, never its independence.
        """
        self.compact()
        split_and_id = np.asarray(sorted(self.contexts, reverse=True), dtype=np.int64).reshape(-1, 2)
        earliest = dict(zip(split_and_id[:, 1].tolist(), split_and_id[:, 0].tolist(), strict=True))
        ids = np.asarray(sorted(earliest), dtype=np.int64)
        home = np.asarray([earliest[i] for i in ids.tolist()], dtype=np.int64)
        for part in self.parts:
            pairs = part.pairs
            at_home = pairs.group % N_SPLITS == home[np.searchsorted(ids, pairs.context)]
            # By falling strength; ties stay in the order of contexts, in which they are.
            order = np.lexsort((-pairs.strength, pairs.group))
            part.pairs = pairs.take(order[at_home[order]])
        quiet = {key: q for key, q in self.quiet.items() if earliest[key[1]] == key[0]}
        contexts = {key: c for key, c in self.contexts.items() if earliest[key[1]] == key[0]}
        parts = [part.pairs for part in self.parts]
        return Kept(contexts, parts, quiet, self.statistics, self.k_top, self._order_bar)

    def _add_pairs(self, pairs: Pairs) -> None:
        """Deal pairs that are sorted by group to the partitions."""
        if len(self.parts) == 1 and len(pairs):
            self.parts[0].add(pairs)
            return
        edges = np.searchsorted(pairs.group, [part.first_group for part in self.parts] + [1 << 31])
        ends = np.concatenate(([0], np.cumsum(pairs.length, dtype=np.int64)))
        for part, a, b in zip(self.parts, edges[:-1].tolist(), edges[1:].tolist(), strict=True):
            if b > a:
                part.add(pairs.cut(a, b, int(ends[a]), int(ends[b])))

    def _count(self, batch: Sequence[KeptContext], slot: Ints, value: Floats, split_of_row: Ints) -> None:
        s = self.statistics
        s.tokens += sum(len(c.token_ids) for c in batch)
        s.contexts += np.bincount(split_of_row, minlength=N_SPLITS)
        np.add.at(s.fired, slot, 1)
        bins = np.searchsorted(HISTOGRAM_EDGES, value, side="right")
        np.add.at(s.histogram.reshape(-1), slot * s.histogram.shape[1] + bins, 1)

    def _offer_quiet(self, batch: Sequence[KeptContext], f: Firings) -> None:
        orders = uniform(self.seed + 1, np.asarray([c.id for c in batch], dtype=np.int64)).tolist()
        for r, (context, order) in enumerate(zip(batch, orders, strict=True)):
            if (context.split, context.id) in self.quiet:
                self._remember(context)
            elif self._has_room(context.split, order):
                mine = np.flatnonzero(f.row == r)
                slot, position = f.slot[mine].astype(np.int32), f.position[mine].astype(np.uint16)
                self._draw(context, QuietContext(order, slot, position, f.value[mine]))

    def _has_room(self, split: int, order: float) -> bool:
        """Whether the pool takes a context with this key."""
        heap, size = self._heaps[split], self.k_quiet[split]
        return size > 0 and (len(heap) < size or order < -heap[0][0])

    def _draw(self, context: KeptContext, drawn: QuietContext) -> None:
        """Take a context into the pool, and the one with the largest key out of it."""
        self.quiet[(context.split, context.id)] = drawn
        self._remember(context)
        heap = self._heaps[context.split]
        heapq.heappush(heap, (-drawn.order, context.id))
        if len(heap) > self.k_quiet[context.split]:
            _, evicted = heapq.heappop(heap)
            del self.quiet[(context.split, evicted)]

    def _remember(self, context: KeptContext) -> None:
        """Keep a context's text; of duplicates, the one whose document sorts first, so that order is moot."""
        known = self.contexts.get((context.split, context.id))
        if known is None or (context.document, context.start) < (known.document, known.start):
            self.contexts[(context.split, context.id)] = context

    def _forget(self) -> None:
        """When contexts are half as many again as were needed, let those go that nothing refers to."""
        if len(self.contexts) <= self._n_contexts:
            return
        wanted = set(self.quiet)
        for split in range(N_SPLITS):
            for part in self.parts:
                wanted.update((split, i) for i in part.context_ids(split, N_SPLITS).tolist())
        self.contexts = {key: c for key, c in self.contexts.items() if key in wanted}
        self._n_contexts = max(_CONTEXTS, len(self.contexts) * 3 // 2)


def _sorted(firings: Firings, n_rows: int) -> Firings:
    """Firings by slot, row and position."""
    width = int(firings.position.max(initial=0)) + 1
    key: NDArray[Any] = (firings.slot * n_rows + firings.row) * width + firings.position
    order = np.argsort(key)
    return Firings(*(getattr(firings, name)[order] for name in ("slot", "row", "position", "value")))
