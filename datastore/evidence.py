"""Reading evidence: a feature's kept examples, as explainers and scorers want them.

    AgentEvidence     the explain and refine splits; it has no method for the report split
    ReportEvidence    the report split alone, handed only to what scores frozen labels

Excerpts are windows cut at a random offset around the peak, and around a random token of quiet contexts: were
the peak always in one place, its position would give the answer away. All choices are hashes of (feature,
context, seed), so the same evidence is read on every call.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from exegete.datastore.evidence_file import EvidenceFile, FeatureSummary
from exegete.datastore.evidence_rows import NO_EXAMPLES, Examples
from exegete.datastore.hashing import UInts, digest64, scattered, uniforms
from exegete.datastore.neighbours import Firing, in_turn
from exegete.datastore.quiet_pool import QuietPool
from exegete.datastore.records import Evidence, Excerpt, FeatureId, Floats, Plan, Split, Unit
from exegete.datastore.strip import Cut, Ints, first_largest, smallest

_CANDIDATES = 20
"""Nearest features that are looked at for one that fires in a split's pool."""
_NEAREST = 5
"""Of them, those that give excerpts, in turn."""


@dataclass(frozen=True, slots=True)
class _Windows:
    """Windows, with the activations of all their units, one after the other."""

    cut: Cut
    activations: Floats
    strata: Sequence[str]
    weights: Sequence[float]

    @property
    def excerpts(self) -> tuple[Excerpt, ...]:
        """The same one by one."""
        own = self.cut.parts(self.activations)
        return tuple(map(Excerpt, self.cut.contexts, own, self.strata, self.weights))


@dataclass(frozen=True, slots=True)
class _Deciles:
    """Tenths of some number of pairs, strongest first, of each of which a few are drawn."""

    of: Ints
    """(n,) the tenth of each pair, from 0."""
    first: NDArray[np.bool_]
    """(n,) of pairs in the order of their tenths, whether each is among the first few of its own."""
    drawn: list[tuple[int, int]]
    """How many a tenth has, and how many of them are drawn; of those that have any."""
    strata: list[str]
    """Of those that are drawn."""


@lru_cache(1024)
def _deciles(n: int, per_decile: int) -> _Deciles:
    edges = np.arange(11) * n // 10
    sizes = np.diff(edges)
    first = np.arange(n) - edges[:-1].repeat(sizes) < per_decile
    drawn = [(size, min(size, per_decile)) for size in sizes.tolist()]
    # Strongest first, so decile 10 is the first tenth.
    strata = [f"decile {10 - tenth}" for tenth, (_, count) in enumerate(drawn) for _ in range(count)]
    return _Deciles(np.arange(10).repeat(sizes), first, [both for both in drawn if both[1]], strata)


class _Reader:
    """Chooses and cuts excerpts of one harvest."""

    def __init__(self, file: EvidenceFile) -> None:
        self._file = file
        self._whole: dict[tuple[Split, Unit], tuple[Excerpt, ...]] = {}
        self._scale = 1.0 if file.weighted else math.nan
        """Of weights: what stands for the corpus stays undefined where nobody knows how it was drawn."""

    def summary(self, feature: FeatureId) -> FeatureSummary:
        """What is known of a feature without reading an example."""
        return self._file.summary(feature)

    def _read(self, feature: FeatureId, split: Split, plan: Plan) -> Evidence:
        activating = self._activating(feature, split, plan)
        quiet = self._quiet(feature, split, plan, activating) if plan.quiet or plan.hard else ()
        maximum = self._file.summary(feature).maximum_explain
        near = self._near(feature, split, plan) if plan.neighbours else ()
        return Evidence(feature, split, activating.excerpts, quiet, plan.unit, maximum, near)

    def _activating(self, feature: FeatureId, split: Split, plan: Plan) -> _Windows:
        kept = self._file.rows(feature).examples.get(split, NO_EXAMPLES)
        order, offsets = self._draw(feature, kept.scattered, "decile", "offset")
        chosen, strata, weights = self._chosen(feature, split, plan, kept, order)
        strip, rows = self._file.contexts(kept.context_ids[chosen], plan.unit)
        lengths, positions, values = kept.firings(chosen)
        first = np.zeros(len(chosen), dtype=np.int64)
        if plan.window is not None:
            before = (offsets[chosen] * plan.window).astype(np.int64)
            first = positions[first_largest(values, lengths)] - before
        cut = strip.cut(rows, first, plan.window)
        return _Windows(cut, strip.pooled(cut, lengths, positions, values), strata, weights)

    def _chosen(
        self, feature: FeatureId, split: Split, plan: Plan, kept: Examples, order: NDArray[np.float64]
    ) -> tuple[Ints, list[str], list[float]]:
        """Which of a split's kept pairs are shown, strongest first, with their strata and weights."""
        # Beyond what the harvest kept by strength there is only the sample, which is no top.
        n_top = min(plan.top, self._file.k_top)
        top = np.arange(min(n_top, len(kept)))
        strata, weights = ["top"] * len(top), [1.0] * len(top)
        if not plan.per_decile:
            return top, strata, weights
        rest = kept.sampled[n_top:].nonzero()[0] + n_top
        # What is left of the population once the top is set aside, spread over what is left of the sample.
        population = max(len(rest), self._file.summary(feature).fired_contexts[split] - n_top)
        deciles = _deciles(len(rest), plan.per_decile)
        drawn = np.sort(np.lexsort((order[rest], deciles.of))[deciles.first])
        for size, n in deciles.drawn:
            weights += [population * size / len(rest) / n * self._scale] * n
        return np.concatenate([top, rest[drawn]]), strata + deciles.strata, weights

    def _quiet(
        self, feature: FeatureId, split: Split, plan: Plan, activating: _Windows
    ) -> tuple[Excerpt, ...]:
        quiet_pool = self._file.pool(split, plan.unit)
        silent = np.ones(len(quiet_pool.ids), dtype=bool)
        silent[quiet_pool.rows_of(self._file.rows(feature).loud)] = False
        candidates = np.flatnonzero(silent)
        (order,) = self._draw(feature, quiet_pool.scattered[candidates], "quiet")
        rows = candidates[smallest(order, plan.quiet)]
        if plan.window is None and not plan.hard and len(rows) == len(candidates):
            whole = self._whole_pool(split, plan.unit)
            return tuple(whole[row] for row in candidates.tolist())
        population = self._file.contexts_by_split[split] - self._file.summary(feature).fired_contexts[split]
        weight = max(1.0, population / max(1, len(rows))) * self._scale
        hard, around = rows[:0], rows[:0]
        # What looks most like firing, and is only presumed silent, is where the feature likeliest does fire.
        if plan.hard and self._file.silence_known:
            silent[rows] = False
            query = quiet_pool.query(activating.cut, activating.activations)
            hard, around = quiet_pool.similar(query, silent, plan.hard)
        cut = self._quiet_cut(feature, quiet_pool, rows, hard, around, plan.window)
        strata = ["quiet"] * len(rows) + ["hard quiet"] * len(hard)
        return _Windows(cut, _silence(cut), strata, [weight] * len(rows) + [0.0] * len(hard)).excerpts

    def _quiet_cut(
        self,
        feature: FeatureId,
        quiet_pool: QuietPool,
        anywhere: Ints,
        hard: Ints,
        around: Ints,
        window: int | None,
    ) -> Cut:
        """Silent windows, cut as activating ones are: around any token, or around an occurrence of a unit.

        A window drawn evenly from all there are would lie at an end of its context less often than one around
        a peak, which is moved back into the context, and how it begins and ends would tell the two apart.
        """
        rows = np.concatenate([anywhere, hard])
        first = np.zeros(len(rows), dtype=np.int64)
        if window is not None:
            n = len(anywhere)
            ids = quiet_pool.scattered[rows]
            share, offsets = self._draw(feature, ids, "quiet place", "quiet offset")
            first[:n] = share[:n] * quiet_pool.strip.lengths(anywhere)
            first[n:] = quiet_pool.occurrence(hard, around, share[n:])
            first -= (offsets * window).astype(np.int64)
        return quiet_pool.strip.cut(rows, first, window)

    def _near(self, feature: FeatureId, split: Split, plan: Plan) -> tuple[Excerpt, ...]:
        """Excerpts around the peaks of nearest neighbours, where the feature itself is known to be silent."""
        if not self._file.silence_known:
            return ()
        quiet_pool = self._file.pool(split, plan.unit)
        loud = set(self._file.rows(feature).loud.tolist())
        queues: list[Iterator[Firing]] = []
        for own in self._file.fires_near(feature, split, _CANDIDATES):
            fitting = [firing for firing in own if firing[0] not in loud]
            if fitting and len(queues) < _NEAREST:
                queues.append(iter(fitting))
        chosen = in_turn(queues, plan.neighbours)
        ids = np.asarray([i for i, _ in chosen], dtype=np.int64)
        first = np.asarray([place for _, place in chosen], dtype=np.int64)
        if plan.window is not None:
            (offsets,) = self._draw(feature, scattered(ids), "neighbour offset")
            first -= (offsets * plan.window).astype(np.int64)
        cut = quiet_pool.strip.cut(quiet_pool.rows_of(ids), first, plan.window)
        return _Windows(cut, _silence(cut), ["neighbour"] * len(ids), [0.0] * len(ids)).excerpts

    def _whole_pool(self, split: Split, unit: Unit) -> tuple[Excerpt, ...]:
        """The pool as whole silent excerpts, made once: most features share almost all of them.

        Their weight is that of the pool: contexts seen by contexts kept.
        """
        if (split, unit) not in self._whole:
            strip = self._file.pool(split, unit).strip
            n = len(strip)
            weight = self._file.contexts_by_split[split] / max(1, n) * self._scale
            cut = strip.cut(np.arange(n), np.zeros(n, dtype=np.int64), None)
            windows = _Windows(cut, _silence(cut), ["quiet"] * n, [weight] * n)
            self._whole[(split, unit)] = windows.excerpts
        return self._whole[(split, unit)]

    def _draw(self, feature: FeatureId, ids: UInts, *uses: str) -> NDArray[np.float64]:
        """Numbers in [0, 1), one a context by its scattered id, for each of some uses: (n_uses, n_ids)."""
        keys = [digest64(use, feature.index, feature.polarity) for use in uses]
        return uniforms(self._file.seed, keys, ids)


class AgentEvidence(_Reader):
    """Evidence of the explain and refine splits. The report split is out of its reach."""

    def explain(self, feature: FeatureId, plan: Plan) -> Evidence:
        """What may be shown to an explainer."""
        return self._read(feature, "explain", plan)

    def refine(self, feature: FeatureId, plan: Plan) -> Evidence:
        """What candidate labels are tried on."""
        return self._read(feature, "refine", plan)


class ReportEvidence(_Reader):
    """Evidence of the report split alone."""

    def report(self, feature: FeatureId, plan: Plan) -> Evidence:
        """What frozen labels are scored on."""
        return self._read(feature, "report", plan)


def _silence(cut: Cut) -> Floats:
    """No activation in any unit."""
    return np.zeros(len(cut.codes), dtype=np.float32)
