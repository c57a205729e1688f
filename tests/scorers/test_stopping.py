"""Scoring look by look: levels that hold at every look, fair portions, and when it stops."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from dataclasses import replace
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.stopping import SPENDING, THRESHOLD, measure
from exegete.datastore.records import Evidence, Excerpt, Floats, Score
from exegete.errors import LeakageError
from exegete.scorers.detection import DetectionScorer
from exegete.scorers.reading import MIN_A_SIDE, group_of
from exegete.scorers.scorer import Scorer
from exegete.scorers.simulation import SimulationScorer
from exegete.scorers.stopping import ALPHA, MAX_LOOKS, PORTION, Looks, levels_of_looks, portions, rising
from tests.scorers.scorer_fakes import (
    LABEL,
    Alone,
    FakeSimulator,
    Predict,
    evidence,
    faithful,
    noisy,
    nothing,
)

PLANNED = {"top": 10, "per_decile": 3, "quiet": 20, "hard": 10}
"""A job's defaults: 70 excerpts, four looks."""

TABLES = {
    ("even", 2): (2.157, 2.201),
    ("even", 5): (2.438, 2.427, 2.410, 2.397, 2.386),
    ("late", 4): (4.333, 2.963, 2.359, 2.014),
    ("late", 5): (4.877, 3.357, 2.680, 2.290, 2.031),
}
"""Published bounds at evenly spaced looks, two-sided 5% [Reboussin, DeMets, Kim & Lan 2000, and ldbounds]."""


def z_of(level: float) -> float:
    """The normal quantile that an interval of this level goes to."""
    return NormalDist().inv_cdf((1 + level) / 2)


@pytest.mark.parametrize(("spending", "n"), TABLES)
def test_published_bounds(spending: str, n: int) -> None:
    """Levels are those of published tables for the two usual spending functions."""
    levels = levels_of_looks(tuple((np.arange(1, n + 1) / n).tolist()), 0.05, SPENDING[spending])
    assert [z_of(level) for level in levels] == pytest.approx(TABLES[spending, n], abs=0.0015)


def test_one_look_is_no_look() -> None:
    """Whoever looks once has the usual interval."""
    assert levels_of_looks((1.0,)) == pytest.approx((0.95,))


@pytest.mark.parametrize("times", [(0.26, 0.5, 0.76, 1.0), (0.1, 0.2, 0.9, 1.0), (0.5, 1.0)])
def test_levels_against_random_walks(times: tuple[float, ...]) -> None:
    """Of Brownian paths at these times, a share alpha times t² has left the bounds by each look."""
    n = 200_000
    steps = np.diff(times, prepend=0.0)
    path = np.cumsum(np.random.default_rng(0).normal(size=(n, len(times))) * np.sqrt(steps), axis=1)
    bounds = np.array([z_of(level) for level in levels_of_looks(times)]) * np.sqrt(times)
    left = np.logical_or.accumulate(np.abs(path) > bounds, axis=1).mean(axis=0)
    for share, time in zip(left, times, strict=True):
        expected = ALPHA * rising(time)
        assert abs(share - expected) < 4 * math.sqrt(expected / n)


@given(st.integers(0, 40), st.integers(0, 8), st.integers(0, 60), st.integers(0, 30), st.integers(0, 99))
def test_portions_are_fair(top: int, per_decile: int, quiet: int, hard: int, seed: int) -> None:
    """Every excerpt is in one portion; portions are alike in size and have their share of every kind."""
    shown = evidence(1, top=top, per_decile=per_decile, quiet=quiet, hard=hard)
    parts = portions(shown, seed)
    n, first = len(shown.excerpts), len(shown.activating)
    assert sorted(i for part in parts for i in part) == list(range(n))
    assert 1 <= len(parts) <= MAX_LOOKS
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    if len(parts) > 1:
        firing = sum(i < first for i in parts[0])
        assert min(firing, len(parts[0]) - firing) >= MIN_A_SIDE
    kinds = [group_of(e.stratum, i < first) for i, e in enumerate(shown.excerpts)]
    for kind, total in Counter(kinds).items():
        asked = 0
        for place, part in enumerate(parts, start=1):
            asked += sum(kinds[i] == kind for i in part)
            assert abs(asked - total * place / len(parts)) < 2.5


def test_portions_of_a_jobs_defaults() -> None:
    """Seventy excerpts are four calls of at most twenty, each with every kind and different deciles."""
    shown = evidence(1, **PLANNED)
    parts = portions(shown, 0)
    assert [len(part) for part in parts] == [18, 18, 17, 17]
    for part in parts:
        strata = Counter(shown.excerpts[i].stratum for i in part)
        assert 2 <= strata.pop("top") <= 3
        assert 4 <= strata.pop("quiet") <= 6
        assert 2 <= strata.pop("hard quiet") <= 3
        assert set(strata.values()) == {1}, "a decile comes again only when all others have come"


def test_portions_know_nothing_of_the_excerpts() -> None:
    """The order depends on the feature, the split and the seed, not on texts or activations."""
    shown, other = evidence(1, **PLANNED), evidence(2, **PLANNED)
    assert portions(shown, 5) == portions(other, 5)
    assert portions(shown, 5) != portions(shown, 6)
    assert portions(shown, 5) != portions(replace(shown, split="refine"), 5)
    elsewhere = replace(shown, feature=replace(shown.feature, index=33))
    assert portions(shown, 5) != portions(elsewhere, 5)


def look(shown: Evidence, predict: Predict, *others: Scorer) -> tuple[FakeSimulator, tuple[Score, ...]]:
    """Score look by look with simulation, detection and others; who was asked, and the scores."""
    simulator = FakeSimulator(shown, predict)
    scorers = [
        SimulationScorer(simulator, "report", 0.5, 0, 500, 99),
        DetectionScorer(simulator, "report", 0.75, 0, 500, 99),
        *others,
    ]
    return simulator, asyncio.run(Looks(simulator, scorers, 0.5, 0).score(LABEL, shown))


def backwards(excerpt: Excerpt) -> Floats:
    """Fires just where the feature does not."""
    return np.where(faithful(excerpt) > 0, 0, np.arange(len(excerpt.activations)) % 3).astype(np.float32)


@pytest.mark.parametrize(("predict", "above"), [(faithful, True), (backwards, False)])
def test_it_stops_when_clear(predict: Predict, above: bool) -> None:
    """A label far from the threshold is asked about in part, each excerpt once for all scorers."""
    shown = evidence(1, **PLANNED)
    simulator, (simulation, detection, alone) = look(shown, predict, Alone())
    asked = [context.id for _, contexts in simulator.asked for context in contexts]
    assert len(set(asked)) == len(asked) == simulation.n_asked == detection.n_asked < 70
    assert [len(contexts) for _, contexts in simulator.asked] == [18, 18, 17, 17][: len(simulator.asked)]
    assert simulation.details["n_planned"] == detection.details["n_planned"] == 70
    assert (simulation.low or 0) >= 0.5 if above else (simulation.high or 1) < 0.5
    assert alone == asyncio.run(Alone().score(LABEL, shown))


def test_the_interval_is_that_of_its_look() -> None:
    """Scores are those of just the excerpts that were asked, with intervals at the level of the look."""
    shown = evidence(1, **PLANNED)
    simulator, scores = look(shown, faithful)
    known = {context.id for _, contexts in simulator.asked for context in contexts}
    kept = replace(
        shown,
        activating=tuple(e for e in shown.activating if e.context.id in known),
        quiet=tuple(e for e in shown.quiet if e.context.id in known),
    )
    n_looks = len(simulator.asked)
    level = levels_of_looks(tuple((np.cumsum([18, 18, 17, 17]) / 70).tolist()))[n_looks - 1]
    assert 0.95 < level < 1
    for score, bar in zip(scores, (0.5, 0.75), strict=True):
        make = SimulationScorer if bar == 0.5 else DetectionScorer
        alone = asyncio.run(make(simulator, "report", bar, 0, 500, 99, level).score(LABEL, kept))
        assert replace(score, details={**score.details, "n_planned": 0}) == replace(
            alone, details={**alone.details, "n_planned": 0}
        )


def test_it_goes_on_when_not_clear() -> None:
    """A label near the threshold is asked about everything, and its value is that of all excerpts."""
    shown, predict = evidence(1, **PLANNED), noisy(0, finds=0.45, alarms=0.2)
    _, (score, _) = look(shown, predict)
    simulator = FakeSimulator(shown, predict)
    in_full = asyncio.run(SimulationScorer(simulator, "report", 0.5, 0, 500, 99).score(LABEL, shown))
    assert score.n_asked == 70
    assert score.value == pytest.approx(in_full.value, abs=1e-12)
    assert score.p_value == in_full.p_value
    assert (score.low or 0) < THRESHOLD < (score.high or 0)
    assert (score.high or 0) - (score.low or 0) > (in_full.high or 0) - (in_full.low or 0)


def test_what_can_t_be_read_was_asked() -> None:
    """Missing excerpts count as asked, are not asked about again, and never stop anything."""
    shown = evidence(1, **PLANNED)
    simulator, (score, _) = look(shown, lambda e: None if e.context.id % 2 else faithful(e))
    asked = [context.id for _, contexts in simulator.asked for context in contexts]
    assert len(set(asked)) == len(asked) == score.n_asked == 70
    assert score.n_read == sum(i % 2 == 0 for i in asked)
    assert score.value is None


def test_what_has_no_interval_is_never_clear() -> None:
    """A label that predicts nothing is asked about everything before that is said of it."""
    _, (score, _) = look(evidence(1, **PLANNED), nothing)
    assert (score.value, score.n_asked, score.p_value) == (None, 70, 1.0)


def test_thin_evidence_is_not_asked_about() -> None:
    """With too few excerpts nothing is asked, and so nothing was saved."""
    simulator, scores = look(evidence(1, top=2, per_decile=0), faithful)
    assert simulator.asked == []
    assert {(s.value, s.n_asked, s.details["n_planned"]) for s in scores} == {(None, 0, 0.0)}


def test_the_right_split_only() -> None:
    """Evidence of another split is refused before anything is asked."""
    shown = evidence(1, split="refine", **PLANNED)
    with pytest.raises(LeakageError):
        look(shown, faithful)


def test_a_primary_scorer_of_another_kind() -> None:
    """When the first scorer does not read the simulation, all score as they always do."""
    shown = evidence(1, **PLANNED)
    simulator = FakeSimulator(shown, faithful)
    second = SimulationScorer(simulator, "report", 0.5, 0, 500, 99)
    scores = asyncio.run(Looks(simulator, [Alone(), second], 0.5, 0).score(LABEL, shown))
    assert scores == (
        asyncio.run(Alone().score(LABEL, shown)),
        asyncio.run(second.score(LABEL, shown)),
    )


def test_portions_fit_a_call() -> None:
    """A portion is never more than the excerpts that share a call, up to six calls."""
    for total in (21, 60, 70, 120):
        shown = evidence(1, top=total // 2, per_decile=0, quiet=total - total // 2, hard=0)
        parts = portions(shown, 0)
        assert len(parts) == math.ceil(total / PORTION)
        assert max(map(len, parts)) <= PORTION


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["overlooks", "alarms"])
def test_no_more_wrong_decisions_than_allowed(kind: str) -> None:
    """At a true r of just the threshold, over all looks, at most 5% are accepted or rejected, as in full.

    Labels far above are accepted after fewer excerpts nearly as often as after all of them.
    """
    n = 100
    line = asyncio.run(measure(kind, THRESHOLD, rising, n, seed=5))
    allowed = ALPHA + 3 * math.sqrt(ALPHA * (1 - ALPHA) / n)
    assert abs(line.truth - THRESHOLD) < 0.005
    assert line.accepted + line.rejected <= allowed
    assert line.missed <= allowed
    good = asyncio.run(measure(kind, 0.9, rising, 25, seed=5))
    assert good.excerpts_saved > 0.3
    assert good.opposite == 0
    assert good.differ <= 0.1
