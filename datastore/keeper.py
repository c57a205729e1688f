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
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from exegete.datastore.hashing import uniform
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
    """slot * 3 + split."""
    context: Ints
    strength: Floats
    """Largest activation in the context."""
    order: NDArray[np.float64]
    """The sample key in [0, 1)."""
    length: Ints
    """How many positions fire."""
    position: NDArray[np.uint16]
    """Positions of all pairs, one after the other."""
    value: Floats

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
    slot: Ints
    position: Ints
    value: Floats


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
    k_sample: tuple[int, int, int]


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
        for r in np.unique(pair_row[keep]).tolist():
            self._remember(batch[r])
        self._parts.append(pairs)
        self._pending += len(pairs)
        if self._pending > max(1 << 16, self._kept):
            self._compact()

    def finish(self) -> Kept:
        """Settle which contexts are kept, with no context in two splits.

        A context (by id) that is kept in several splits stays in the earliest of explain, refine, report:
        a duplicate costs the test set an example, never its independence.
        """
        self._compact()
        pairs = self._parts[0] if self._parts else _no_pairs()
        earliest: dict[int, int] = {}
        for split, id_ in self.contexts:
            earliest[id_] = min(split, earliest.get(id_, split))
        home = np.asarray([earliest[c] for c in pairs.context.tolist()], dtype=np.int64)
        pairs = pairs.take(np.flatnonzero(pairs.group % N_SPLITS == home))
        pairs = pairs.take(np.lexsort((pairs.context, -pairs.strength, pairs.group)))
        quiet = {key: q for key, q in self._quiet.items() if earliest[key[1]] == key[0]}
        contexts = {key: c for key, c in self.contexts.items() if earliest[key[1]] == key[0]}
        return Kept(contexts, pairs, quiet, self.statistics, self.k_top, self.k_sample)

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
        if not self._parts:
            return
        pairs = Pairs.join(self._parts)
        # Duplicates of one context in one split are one example: sort them together, keep the first.
        by_id = np.lexsort((pairs.context, pairs.group))
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


def _no_pairs() -> Pairs:
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
