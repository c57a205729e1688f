"""What each sense of a label is worth, by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import pearsonr
from statsmodels.stats.proportion import confint_proportions_2indep

from exegete.datastore.records import Context, Evidence, Excerpt, Floats, Label, Score
from exegete.errors import LeakageError
from exegete.scorers.reading import ACTIVATING, Reading, read
from exegete.scorers.senses import sense_details
from exegete.scorers.simulation import SimulationScorer
from exegete.simulators.simulator import Simulation
from tests.scorers.scorer_fakes import FEATURE, evidence

HALVES = evidence(seed=4, top=12, per_decile=2, quiet=15, hard=5)
"""A feature of two senses: excerpts with an even number are the one's, those with an odd one the other's."""


class Senses:
    """Knows what each sense predicts of every excerpt; keeps what it was asked."""

    name = "senses@1"

    def __init__(self, shown: Evidence, lost: Sequence[int] = ()) -> None:
        self._known = {e.context.id: e for e in shown.excerpts}
        self._lost = lost
        self.asked: list[str] = []

    async def simulate(self, label: str, contexts: Sequence[Context]) -> Simulation:
        self.asked.append(label)
        levels = [None if c.id in self._lost else self.levels(label, self._known[c.id]) for c in contexts]
        return Simulation(tuple(levels), tuple("lost" if x is None else None for x in levels))

    @staticmethod
    def levels(sense: str, excerpt: Excerpt) -> Floats:
        """What a sense predicts: its own half, the whole, or something idle."""
        right = np.round(excerpt.activations / 6.0 * 10).clip(0, 10).astype(np.float32)
        match sense:
            case "even" | "odd":
                return right if excerpt.context.id % 2 == (sense == "odd") else right * 0
            case "both":
                return right
            case "beside":  # in every excerpt, and never at a word that fires
                return np.asarray(5.0 * (np.arange(len(right)) == int(right.argmin())), dtype=np.float32)
            case "everywhere":
                return right * 0 + 5
            case "faintly":  # as expected levels are: nowhere quite silent
                return right * 0 + np.float32(0.4)
        return right * 0


def label(*senses: str) -> Label:
    """A label with these senses."""
    return Label(FEATURE, "either: …", "test", senses=senses)


def scored(*senses: str, shown: Evidence = HALVES, lost: Sequence[int] = ()) -> Score:
    """The simulation score of a label with these senses."""
    scorer = SimulationScorer(Senses(shown, lost), "report", 0.5, seed=0, n_boot=50, n_perm=50)
    return asyncio.run(scorer.score(label(*senses), shown))


def test_two_halves_are_two_senses() -> None:
    """Each covers its half, only it does, precisely; together they are the whole, and beat either."""
    found = scored("even", "odd")
    details, n = found.details, len(HALVES.activating)
    for number in (1, 2):
        half = sum(e.context.id % 2 == number - 1 for e in HALVES.activating) / n
        assert details[f"sense_{number}_coverage"] == details[f"sense_{number}_only"] == pytest.approx(half)
        assert details[f"sense_{number}_precision"] == 1.0
        r = details[f"sense_{number}_r"]
        assert r is not None
        assert found.value is not None
        assert 0.5 < r < found.value - 0.2
    assert (details["n_senses"], details["own_senses"], details["polysemantic"]) == (2.0, 2.0, 1.0)
    assert sum(details[f"sense_{number}_mass"] or 0.0 for number in (1, 2)) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("idle", "coverage"),
    [("nothing", 0.0), ("faintly", 0.0), ("beside", 0.0), ("both", 1.0), ("everywhere", 1.0)],
)
def test_a_sense_that_adds_nothing_is_said_to(idle: str, coverage: float) -> None:
    """Silence, misplaced levels, a copy and firing everywhere have no share of their own."""
    details = scored("both", idle).details
    assert details["sense_2_coverage"] == coverage
    assert details["sense_2_only"] == 0.0
    assert (details["sense_2_only_low"] or 0.0) <= 0.0
    assert details["own_senses"] == (0.0 if idle in ("both", "everywhere") else 1.0)
    assert details["polysemantic"] == 0.0
    assert (details["sense_2_precision"] is None) == (idle in ("nothing", "faintly"))
    assert (details["sense_2_r"] is None) == (idle in ("nothing", "faintly", "everywhere"))


def test_senses_cost_what_the_score_did() -> None:
    """One question a sense: nothing is asked for the details."""
    simulator = Senses(HALVES)
    scorer = SimulationScorer(simulator, "report", 0.5, seed=0, n_boot=0, n_perm=0)
    asyncio.run(scorer.score(label("even", "odd", "nothing"), HALVES))
    assert simulator.asked == ["even", "odd", "nothing"]


def test_without_senses_there_is_nothing_to_say() -> None:
    """A label of one text has no such details, and a label with senses has no other score for having them."""
    scorer = SimulationScorer(Senses(HALVES), "report", 0.5, seed=0, n_boot=50, n_perm=50)
    plain = asyncio.run(scorer.score(Label(FEATURE, "both", "test"), HALVES))
    whole = scored("even", "odd")
    assert not [name for name in plain.details if "sense" in name or name == "polysemantic"]
    assert replace(whole, details={}) == replace(plain, details={})


def test_missing_excerpts_are_left_out() -> None:
    """Shares are of what could be read: of two lost excerpts, as if they had not been there."""
    lost = [e.context.id for e in HALVES.activating[:4:2]]
    rest = replace(HALVES, activating=tuple(e for e in HALVES.activating if e.context.id not in lost))
    found, alone = scored("even", "odd", lost=lost), scored("even", "odd", shown=rest)
    assert found.n_read == alone.n_read == found.n_asked - 2
    names = [name for name in alone.details if "sense" in name]
    assert names
    assert {name: found.details[name] for name in names} == pytest.approx(
        {name: alone.details[name] for name in names}
    )


def test_too_little_has_no_senses() -> None:
    """Evidence that is too thin to be scored says nothing of senses either."""
    found = scored("even", "odd", shown=replace(HALVES, activating=HALVES.activating[:2]))
    assert found.value is None
    assert not found.details


def test_other_splits_are_refused() -> None:
    """A label with senses is scored on the scorer's split only."""
    scorer = SimulationScorer(Senses(HALVES), "refine", 0.5, seed=0)
    with pytest.raises(LeakageError):
        asyncio.run(scorer.score(label("even", "odd"), HALVES))


@settings(max_examples=25)
@given(st.integers(0, 10_000), st.integers(1, 4), st.floats(0.0, 1.0), st.floats(0.0, 0.6))
def test_against_a_literal_loop(seed: int, n_senses: int, finds: float, alarms: float) -> None:
    """Counting excerpt by excerpt and word by word says the same, for senses that are right at random."""
    rng = np.random.default_rng(seed)
    shown = asyncio.run(read(Senses(HALVES), Label(FEATURE, "both", "x"), HALVES, 0))
    by_sense = tuple(
        tuple(
            np.where(
                e.activations > 0, rng.random(len(e.activations)) < finds, rng.random() < alarms / 9
            ).astype(np.float32)
            * rng.integers(1, 11)
            for e in shown.excerpts
        )
        for _ in range(n_senses)
    )
    reading = Reading(shown.excerpts, shown.levels, shown.groups, shown.n_asked, None, by_sense=by_sense)
    found = sense_details(reading)
    n_own = 0
    fires = [group in ACTIVATING for group in reading.groups]
    hits = [
        [
            any(
                level > 0 and (true > 0 or not firing)
                for level, true in zip(levels.tolist(), e.activations.tolist(), strict=True)
            )
            for levels, e, firing in zip(by_sense[s], reading.excerpts, fires, strict=True)
        ]
        for s in range(n_senses)
    ]
    n, m = sum(fires), len(fires) - sum(fires)
    for s in range(n_senses):
        good = sum(h and f for h, f in zip(hits[s], fires, strict=True))
        bad = sum(h and not f for h, f in zip(hits[s], fires, strict=True))
        only = [h and not any(hits[t][i] for t in range(n_senses) if t != s) for i, h in enumerate(hits[s])]
        mine = sum(o and f for o, f in zip(only, fires, strict=True))
        made_up = sum(o and not f for o, f in zip(only, fires, strict=True))
        said, true = np.concatenate(by_sense[s]), np.concatenate([e.activations for e in reading.excerpts])
        assert found[f"sense_{s + 1}_coverage"] == pytest.approx(good / n)
        assert found[f"sense_{s + 1}_only"] == pytest.approx(mine / n)
        assert found[f"sense_{s + 1}_precision"] == (
            None if good + bad == 0 else pytest.approx(good / (good + bad))
        )
        assert found[f"sense_{s + 1}_mass"] == pytest.approx(
            float(true[said > 0].sum() / true.sum()), abs=1e-6
        )
        low, _ = confint_proportions_2indep(mine, n, made_up, m, compare="diff", method="newcomb")
        assert found[f"sense_{s + 1}_only_low"] == pytest.approx(low, abs=1e-9)
        n_own += low > 0
        constant = said.min() == said.max()
        expected = None if constant else pytest.approx(float(pearsonr(said, true).statistic), abs=1e-5)
        assert found[f"sense_{s + 1}_r"] == expected
    assert (found["own_senses"], found["polysemantic"]) == (n_own, float(n_own > 1))
