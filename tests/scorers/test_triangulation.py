"""When scores of a label disagree, and how seldom chance alone makes them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exegete.datastore.records import Score, Verdict
from exegete.scorers.detection import DetectionScorer
from exegete.scorers.simulation import PARTS, SimulationScorer
from exegete.scorers.statistics import Paired, correlation, optional
from exegete.scorers.triangulation import SENTENCES, Reason, disagreements, opponent, stance
from exegete.scorers.verdict import decide
from tests.scorers.scorer_fakes import FEATURE, LABEL, FakeSimulator, Predict, evidence, faithful, noisy

SIMULATION = Score(
    scorer="simulation@1(fake@1)",
    split="report",
    value=0.62,
    low=0.51,
    high=0.71,
    chance=0.01,
    p_value=0.0005,
    n_asked=70,
    n_read=70,
)
DETECTION = replace(SIMULATION, scorer="detection@1(fake@1)", value=0.9, low=0.8, high=0.95)
BARS = {"detection": 0.75, "fuzzing": 0.75, "discrimination": 0.7, "embedding": 0.6, "intruder": 0.6}
HIGH, LOW, OPEN = (0.9, 0.8, 0.95), (0.5, 0.4, 0.6), (0.75, 0.6, 0.85)


def with_value(score: Score, of: tuple[float, float, float], scorer: str | None = None) -> Score:
    """The score with another value, low and high end, and maybe by another scorer."""
    return replace(score, value=of[0], low=of[1], high=of[2], scorer=scorer or score.scorer)


def test_every_reason_has_a_sentence() -> None:
    """The table and the type name the same reasons, in the same order."""
    assert tuple(SENTENCES) == get_args(Reason)


@given(st.floats(-1, 1), st.floats(0, 1), st.floats(-1, 1))
def test_a_stance_is_taken_by_the_whole_interval(low: float, width: float, bar: float) -> None:
    """Clear above or below just when all of the interval is."""
    taken = stance(replace(SIMULATION, value=low, low=low, high=low + width), bar)
    assert (taken == "clear above") == (low >= bar)
    assert (taken == "clear below") == (low + width < bar)


def test_without_an_interval_there_is_no_stance() -> None:
    """A value alone, or none, is clear of nothing."""
    assert stance(replace(SIMULATION, low=None, high=None), 0.5) is None
    assert stance(replace(SIMULATION, value=None, low=None, high=None), 0.5) is None


@pytest.mark.parametrize(
    ("primary", "other", "opposed"),
    [
        ((0.62, 0.51, 0.71), LOW, True),
        ((0.2, 0.1, 0.3), HIGH, True),
        ((0.62, 0.51, 0.71), HIGH, False),
        ((0.2, 0.1, 0.3), LOW, False),
        ((0.62, 0.51, 0.71), OPEN, False),
        ((0.5, 0.4, 0.6), HIGH, False),
        ((0.5, 0.4, 0.6), LOW, False),
    ],
)
def test_only_clear_opposites_disagree(
    primary: tuple[float, float, float], other: tuple[float, float, float], opposed: bool
) -> None:
    """Both must be clear of their bars, on opposite sides; an unclear score contradicts nobody."""
    score, beside = with_value(SIMULATION, primary), with_value(DETECTION, other)
    assert (disagreements(score, 0.5, [beside], BARS) == ["scorers disagree"]) == opposed
    assert (opponent(score, 0.5, [beside], BARS) is beside) == opposed
    assert opponent(score, 0.5, [beside], {}) is None  # without a bar it has no say


@pytest.mark.parametrize("name", ["embedding@1", "intruder@1(x)", "discrimination@1(x)"])
def test_scorers_of_something_else_do_not_contradict(name: str) -> None:
    """How interpretable a feature is, or how like its neighbours, says nothing of where a label predicts."""
    low = with_value(DETECTION, LOW, name)
    assert opponent(SIMULATION, 0.5, [low], BARS) is None


@pytest.mark.parametrize(
    ("value", "high", "auroc", "collides"),
    [
        *[(0.6, 0.69, 0.69, True), (0.6, 0.69, None, True), (0.6, 0.69, 0.9, False), (0.6, 0.7, 0.5, False)],
        *[(0.69, None, None, True), (0.7, None, 0.5, False), (None, None, None, False)],
    ],
)
def test_collision_with_a_neighbour(
    value: float | None, high: float | None, auroc: float | None, collides: bool
) -> None:
    """A label collides when it is clear that neither firing nor strength tells its feature apart."""
    name = "discrimination@1(fake@1)"
    other = replace(DETECTION, scorer=name, value=value, high=high, details={"auroc": auroc})
    found = disagreements(SIMULATION, 0.5, [other], BARS)
    assert (found == ["collides with a neighbour"]) == collides


@pytest.mark.parametrize(
    ("n_read", "bounds", "score", "matter"),
    [
        (70, (0.4, 0.7), SIMULATION, False),  # nothing is missing
        (69, (0.4, 0.7), SIMULATION, True),
        (60, (0.5, 0.7), SIMULATION, False),
        (69, (0.1, 0.5), with_value(SIMULATION, LOW), True),
        (60, (0.1, 0.49), with_value(SIMULATION, LOW), False),
        (63, None, SIMULATION, False),
        (62, None, SIMULATION, True),
        (62, None, with_value(SIMULATION, (0.2, 0.1, 0.3)), False),
    ],
)
def test_missing_judgements_matter_when_they_could_change_the_side(
    n_read: int, bounds: tuple[float, float] | None, score: Score, matter: bool
) -> None:
    """By worst-case bounds where they are known; else by how many are missing, unless it is low anyway."""
    names = ("if_missing_wrong", "if_missing_right")
    details = {} if bounds is None else dict(zip(names, bounds, strict=True))
    found = disagreements(replace(score, n_read=n_read, details=details), 0.5, [], {})
    assert (found == ["missing judgements"]) == matter


def r_by_part(
    rng: np.random.Generator, finds: Mapping[str, float], alarms: Mapping[str, float], sampled: int
) -> Score:
    """A score with r by part, of one simulated feature and label over the default excerpts.

    A firing excerpt of log-normal strength is found, with levels off by some 1.5, or overlooked whole; false
    alarms come in clusters.
    """
    kinds = [("top", 10), ("sampled", sampled), ("quiet", 20), ("hard quiet", 10)]
    simulated, true, groups = [], [], []
    for kind, size in kinds:
        for _ in range(size):
            x, y = np.zeros(24), np.zeros(24)
            if kind in finds:
                peak = np.exp(rng.uniform(0.8, 1.6) if kind == "top" else 0.5 * rng.normal())
                y[rng.choice(24, rng.integers(1, 4), replace=False)] = peak * rng.uniform(0.3, 1)
                y[rng.integers(24)] = peak
                if rng.random() < finds[kind]:
                    x = np.where(y > 0, np.clip(np.round(2 * y + rng.normal(0, 1.5, 24)), 1, 10), 0)
            if rng.random() < alarms[kind]:
                x[rng.integers(0, 24, rng.integers(1, 4))] = rng.integers(3, 10)
            simulated.append(x)
            true.append(y)
            groups.append(kind)
    lengths = np.full(len(groups), 24)
    values = np.stack([np.concatenate(simulated), np.concatenate(true)])
    rows = Paired(values, lengths).standardised.moments
    details = {
        part: optional(correlation(rows[np.isin(groups, (own, *others))].sum(0)))
        for part, (own, others) in PARTS.items()
    }
    return replace(SIMULATION, details=details | {"n_sampled": float(sampled)})


def shares(
    finds: tuple[float, float],
    alarms: tuple[float, float],
    bars: tuple[float, ...],
    n: int,
    sampled: int = 30,
) -> dict[Reason, float]:
    """Share of simulated features for which each reason is found, at the bar at which it is found most.

    Args:
        finds: chance that an excerpt is found, of the strongest and of the sampled.
        alarms: chance of a false alarm in an excerpt, and in a hard quiet one.
        bars: values r is held against.
        n: features.
        sampled: sampled excerpts of each.
    """
    rng = np.random.default_rng(7)
    finds_by = dict(zip(("top", "sampled"), finds, strict=True))
    alarms_by = dict.fromkeys(("top", "sampled", "quiet"), alarms[0]) | {"hard quiet": alarms[1]}
    scores = [r_by_part(rng, finds_by, alarms_by, sampled) for _ in range(n)]
    found = [[disagreements(score, bar, [], {}) for score in scores] for bar in bars]
    return {reason: max(sum(reason in some for some in at) / n for at in found) for reason in SENTENCES}


@pytest.mark.parametrize(
    ("finds", "alarms", "sampled"),
    [(0.99, 0.01, 30), (0.9, 0.1, 30), (0.75, 0.15, 30), (0.75, 0.15, 2), (0.9, 0.1, 8)],
)
def test_labels_that_are_equally_good_everywhere_give_no_reason(
    finds: float, alarms: float, sampled: int
) -> None:
    """Whatever their quality, the bar and how few excerpts are sampled, chance gives 5% a reason at most."""
    found = shares((finds, finds), (alarms, alarms), (0.3, 0.4, 0.5, 0.6, 0.7), 200, sampled)
    assert found["good on top only"] <= 0.05
    assert found["not on hard quiet"] <= 0.05


def test_labels_that_are_good_in_part_give_the_reason() -> None:
    """A label that knows the strongest excerpts only, or is blind to hard quiet ones, is mostly found out."""
    assert shares((0.98, 0.1), (0.03, 0.03), (0.5,), 80)["good on top only"] > 0.9
    assert shares((0.95, 0.95), (0.03, 0.95), (0.8,), 80)["not on hard quiet"] > 0.7


def verdicts(predict: Callable[[int], Predict], n: int) -> list[Verdict]:
    """Verdicts on n simulated features, by both default scorers, at their default bars."""
    found = []
    for seed in range(n):
        excerpts = evidence(seed, top=10, per_decile=3, quiet=20, hard=10)
        simulator = FakeSimulator(excerpts, predict(seed))
        primary = SimulationScorer(simulator, "report", 0.5, 0, n_boot=300, n_perm=99)
        second = DetectionScorer(simulator, "report", 0.75, 0, n_boot=300, n_perm=99)
        score = asyncio.run(primary.score(LABEL, excerpts))
        beside = [asyncio.run(second.score(LABEL, excerpts))]
        found.append(decide(FEATURE, LABEL, score, 0.5, beside=beside, bars={"detection": 0.75}))
    return found


@pytest.mark.parametrize(("finds", "alarms"), [(0.98, 0.03), (0.85, 0.1), (0.5, 0.3)])
def test_reasons_are_no_flood(finds: float, alarms: float) -> None:
    """Labels of even quality, good or poor, are decided by their intervals: a reason sends none of 25 on."""
    found = verdicts(lambda seed: noisy(seed, finds, alarms), 25)
    assert not [verdict.why for verdict in found if ", but " in verdict.why]


def test_right_excerpts_and_wrong_words_go_to_a_person() -> None:
    """A label that finds what fires, and not where, would be rejected; detection contradicts it."""

    def misplaced(seed: int) -> Predict:
        rng = np.random.default_rng(seed)
        return lambda excerpt: rng.permutation(faithful(excerpt))

    said = [verdict.why for verdict in verdicts(misplaced, 15)]
    assert sum("stays below .50, but another scorer clearly says the opposite" in why for why in said) >= 14


def test_a_label_of_the_strongest_excerpts_is_found_out() -> None:
    """From excerpts to reason, by the scorers themselves: found on top only, and mostly named so."""

    def on_top(seed: int) -> Predict:
        seldom = noisy(seed, 0.1, 0.1)
        return lambda excerpt: faithful(excerpt) if excerpt.stratum == "top" else seldom(excerpt)

    assert sum("good on top only" in verdict.reasons for verdict in verdicts(on_top, 15)) >= 10
