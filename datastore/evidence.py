"""Reading evidence: a feature's kept examples, as explainers and scorers want them.

    AgentEvidence     the explain and refine splits; it has no method for the report split
    ReportEvidence    the report split alone, handed only to what scores frozen labels

Excerpts are windows cut at a random offset around the peak, and around a random token of quiet contexts: were
the peak always in one place, its position would give the answer away. All choices are hashes of (feature,
context, seed), so the same evidence is read on every call.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from exegete.datastore.evidence_file import EvidenceFile, FeatureSummary
from exegete.datastore.evidence_rows import Example
from exegete.datastore.hashing import digest64, uniform
from exegete.datastore.neighbours import Firing, in_turn
from exegete.datastore.quiet_pool import PreparedContext, query_of
from exegete.datastore.records import Context, Evidence, Excerpt, FeatureId, Floats, Plan, Split, Unit
from exegete.datastore.words import pool

_CANDIDATES = 20
"""Nearest features that are looked at for one that fires in a split's pool."""
_NEAREST = 5
"""Of them, those that give excerpts, in turn."""


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
        return Evidence(feature, split, activating, quiet, plan.unit, maximum, near)

    def _activating(self, feature: FeatureId, split: Split, plan: Plan) -> tuple[Excerpt, ...]:
        examples = self._file.rows(feature).examples.get(split, [])
        # Beyond what the harvest kept by strength there is only the sample, which is no top.
        n_top = min(plan.top, self._file.k_top)
        chosen = [(e, "top", 1.0) for e in examples[:n_top]]
        rest = [e for e in examples[n_top:] if e.sampled]
        # What is left of the population once the top is set aside, spread over what is left of the sample.
        population = max(len(rest), self._file.summary(feature).fired_contexts[split] - n_top)
        order = self._draw(feature, [e.context_id for e in rest], "decile").tolist()
        for decile in range(10):
            # Strongest first, so decile 10 is the first tenth.
            members = range(decile * len(rest) // 10, (decile + 1) * len(rest) // 10)
            drawn = sorted(sorted(members, key=order.__getitem__)[: plan.per_decile])
            weight = population * len(members) / len(rest) / len(drawn) * self._scale if drawn else 0.0
            chosen += [(rest[i], f"decile {10 - decile}", weight) for i in drawn]
        ids = [e.context_id for e, _, _ in chosen]
        contexts = self._file.prepared(ids, plan.unit)
        offsets = self._draw(feature, ids, "offset").tolist()
        return tuple(
            Excerpt(*_cut_activating(context, example, u, plan.window), stratum, weight)
            for context, (example, stratum, weight), u in zip(contexts, chosen, offsets, strict=True)
        )

    def _quiet(
        self, feature: FeatureId, split: Split, plan: Plan, activating: Sequence[Excerpt]
    ) -> tuple[Excerpt, ...]:
        quiet_pool = self._file.pool(split, plan.unit)
        loud = self._file.rows(feature).loud
        silent = np.ones(len(quiet_pool.contexts), dtype=bool)
        silent[[quiet_pool.row[i] for i in loud if i in quiet_pool.row]] = False
        order = self._draw(feature, quiet_pool.ids, "quiet")
        rows = np.flatnonzero(silent)[np.argsort(order[silent], kind="stable")][: plan.quiet].tolist()
        if plan.window is None and not plan.hard and len(rows) == np.count_nonzero(silent):
            whole = self._whole_pool(split, plan.unit)
            return tuple(whole[row] for row in sorted(rows))
        population = self._file.contexts_by_split[split] - self._file.summary(feature).fired_contexts[split]
        weight = max(1.0, population / max(1, len(rows))) * self._scale
        # What looks most like firing, and is only presumed silent, is where the feature likeliest does fire.
        with_hard = plan.hard and self._file.silence_known
        similar = quiet_pool.similar(query_of(activating), silent) if with_hard else iter(())
        known = set(rows)
        hard = list(islice(((row, unit) for row, unit in similar if row not in known), plan.hard))
        chosen: list[tuple[int, str | None, str, float]] = [(row, None, "quiet", weight) for row in rows]
        chosen += [(row, unit, "hard quiet", 0.0) for row, unit in hard]
        ids = quiet_pool.ids[[row for row, *_ in chosen]]
        places = self._draw(feature, ids, "quiet place").tolist()
        offsets = self._draw(feature, ids, "quiet offset").tolist()
        return tuple(
            Excerpt(*_cut_quiet(quiet_pool.contexts[row], v, u, around, plan.window), stratum, weight)
            for (row, around, stratum, weight), v, u in zip(chosen, places, offsets, strict=True)
        )

    def _near(self, feature: FeatureId, split: Split, plan: Plan) -> tuple[Excerpt, ...]:
        """Excerpts around the peaks of nearest neighbours, where the feature itself is known to be silent."""
        if not self._file.silence_known:
            return ()
        quiet_pool, loud = self._file.pool(split, plan.unit), self._file.rows(feature).loud
        queues: list[Iterator[Firing]] = []
        for own in self._file.fires_near(feature, split, _CANDIDATES):
            fitting = [firing for firing in own if firing[0] not in loud]
            if fitting and len(queues) < _NEAREST:
                queues.append(iter(fitting))
        chosen = in_turn(queues, plan.neighbours)
        offsets = self._draw(feature, [i for i, _ in chosen], "neighbour offset").tolist()
        cut = []
        for (i, place), u in zip(chosen, offsets, strict=True):
            context = quiet_pool.contexts[quiet_pool.row[i]]
            silent = np.zeros(len(context.units), dtype=np.float32)
            first = 0 if plan.window is None else place - int(u * plan.window)
            cut.append(Excerpt(*_cut(context, silent, first, plan.window), "neighbour", 0.0))
        return tuple(cut)

    def _whole_pool(self, split: Split, unit: Unit) -> tuple[Excerpt, ...]:
        """The pool as whole silent excerpts, made once: most features share almost all of them.

        Their weight is that of the pool: contexts seen by contexts kept.
        """
        if (split, unit) not in self._whole:
            contexts = self._file.pool(split, unit).contexts
            weight = self._file.contexts_by_split[split] / max(1, len(contexts)) * self._scale
            self._whole[(split, unit)] = tuple(
                Excerpt(*_cut_quiet(c, 0.0, 0.0, None, None), "quiet", weight) for c in contexts
            )
        return self._whole[(split, unit)]

    def _draw(
        self, feature: FeatureId, ids: Sequence[int] | NDArray[np.int64], use: str
    ) -> NDArray[np.float64]:
        """Numbers in [0, 1), one a context, for one use; each use has its own."""
        key = digest64(use, feature.index, feature.polarity)
        return uniform(self._file.seed, key, np.asarray(ids, dtype=np.int64))


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


def _cut_activating(
    context: PreparedContext, example: Example, u: float, window: int | None
) -> tuple[Context, Floats]:
    dense = np.zeros(context.n_tokens, dtype=np.float32)
    dense[example.positions] = example.values
    peak = int(example.positions[example.values.argmax()])
    first = 0 if window is None else peak - int(u * window)
    return _cut(context, pool(dense, context.starts), first, window)


def _cut_quiet(
    context: PreparedContext, v: float, u: float, around: str | None, window: int | None
) -> tuple[Context, Floats]:
    """A silent window, cut as an activating one is: around an occurrence of a unit, or around any token.

    A window drawn evenly from all there are would lie at an end of its context less often than one around a
    peak, which is moved back into the context, and how it begins and ends would tell the two apart.
    """
    silent = np.zeros(len(context.units), dtype=np.float32)
    if window is None:
        return _cut(context, silent, 0, None)
    if around is None:
        place = int(v * context.n_tokens)
    else:
        found = [i for i, key in enumerate(context.keys) if key == around]
        place = context.edges[found[int(v * len(found))]]
    return _cut(context, silent, place - int(u * window), window)


def _cut(context: PreparedContext, pooled: Floats, first: int, window: int | None) -> tuple[Context, Floats]:
    """The fewest whole units that cover subject tokens first to first + window, moved to lie in the context.

    A word that the edge would cut is kept whole, so a window may be longer by the rest of two words.
    """
    a, b = 0, len(context.units)
    if window is not None:
        first = min(max(0, first), max(0, context.n_tokens - window))
        a = bisect_right(context.edges, first) - 1
        b = bisect_left(context.edges, first + window)
    start = context.edges[a] if b > a else 0
    return Context(context.id, context.document, start, context.units[a:b]), pooled[a:b]
