"""What of a simulation is scored, and when it is too little."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from exegete.datastore.records import Context, Evidence, Excerpt
from exegete.scorers.reading import Reading, read
from exegete.simulators.simulator import Simulation
from tests.scorers.scorer_fakes import FEATURE, LABEL, FakeSimulator, evidence, faithful


def reading(shown: Evidence, simulator: FakeSimulator, seed: int = 0) -> Reading:
    """Read the test label's simulation."""
    return asyncio.run(read(simulator, LABEL, shown, seed))


def missing(shown: Evidence, activating: int, quiet: int) -> FakeSimulator:
    """A faithful simulator that has no answer for this many excerpts of each side."""
    lost = {e.context.id for e in shown.activating[:activating] + shown.quiet[:quiet]}
    return FakeSimulator(shown, lambda e: None if e.context.id in lost else faithful(e))


def test_levels_are_mapped_back() -> None:
    """Whatever the order of asking, every excerpt gets the levels that were predicted for it."""
    shown = evidence()
    simulator = FakeSimulator(shown, lambda e: np.full(len(e.activations), e.context.id % 11))
    read_back = reading(shown, simulator)
    assert {e.context.id for e in read_back.excerpts} == {e.context.id for e in shown.excerpts}
    for excerpt, levels in zip(read_back.excerpts, read_back.levels, strict=True):
        assert levels.tolist() == [excerpt.context.id % 11] * len(excerpt.activations)


def test_order_gives_nothing_away() -> None:
    """The order depends on feature and seed, not on the label, and mixes firing and silent excerpts."""
    orders = {}
    for name, feature, seed, label in (
        ("first", FEATURE, 0, LABEL),
        ("other label", FEATURE, 0, replace(LABEL, text="names of birds")),
        ("other feature", replace(FEATURE, index=33), 0, LABEL),
        ("other polarity", replace(FEATURE, polarity="-"), 0, LABEL),
        ("other seed", FEATURE, 1, LABEL),
    ):
        shown = evidence(feature=feature)
        simulator = FakeSimulator(shown, faithful)
        asyncio.run(read(simulator, label, shown, seed))
        orders[name] = [context.id for context in simulator.asked[0][1]]
    assert orders["first"] == orders["other label"]
    assert len({tuple(order) for order in orders.values()}) == 4
    firing = [number < 1000 for number in orders["first"]]
    assert sum(a != b for a, b in pairwise(firing)) > 5


def test_the_simulator_is_asked_for_the_label_only() -> None:
    """It gets the label's text and contexts, nothing that holds an activation."""
    shown = evidence()
    simulator = FakeSimulator(shown, faithful)
    reading(shown, simulator)
    assert simulator.asked[0][0] == LABEL.text
    assert all(type(context) is Context for context in simulator.asked[0][1])


def test_missing_excerpts_are_dropped() -> None:
    """An excerpt without an answer is not there: it is counted as asked, not as read, and has no levels."""
    shown = evidence()
    found = reading(shown, missing(shown, 2, 1))
    assert (found.n_asked, found.n_read) == (42, 39)
    assert found.why_none is None
    lost = {e.context.id for e in shown.activating[:2] + shown.quiet[:1]}
    assert not lost & {e.context.id for e in found.excerpts}
    assert {e.context.id for e in found.missing} == lost
    assert found.missing_groups == ("top", "top", "quiet")


@pytest.mark.parametrize(("lost", "enough"), [(8, True), (9, False)])
def test_a_fifth_may_be_missing(lost: int, enough: bool) -> None:
    """With 80% read there is a score, with fewer none; the reason has the numbers and the commonest cause."""
    shown = evidence(top=10, per_decile=1, quiet=20, hard=0)  # 40 excerpts
    found = reading(shown, missing(shown, lost, 0))
    assert (found.why_none is None) == enough
    if not enough:
        assert found.why_none == (
            "31 of 40 excerpts could be read (78%), and 80% are needed; of those missing, 9: word not there"
        )


@pytest.mark.parametrize(("activating", "quiet"), [(4, 20), (20, 4)])
def test_five_of_each_side(activating: int, quiet: int) -> None:
    """Fewer than five activating, or quiet, excerpts read are no score even at full coverage otherwise."""
    shown = evidence(top=activating + 1, per_decile=0, quiet=quiet + 1, hard=0)
    assert reading(shown, missing(shown, 0, 0)).why_none is None
    found = reading(shown, missing(shown, 1, 1))
    assert (
        found.why_none
        == f"{activating} activating and {quiet} quiet excerpts were read, and 5 of each are needed"
    )


def test_thin_evidence_is_not_paid_for() -> None:
    """Evidence that can't give a score is not simulated."""
    shown = evidence(top=3, per_decile=0)
    simulator = FakeSimulator(shown, faithful)
    found = reading(shown, simulator)
    assert simulator.asked == []
    assert (found.n_asked, found.n_read) == (0, 0)
    assert found.why_none == "3 activating and 16 quiet excerpts were found, and 5 of each are needed"


@pytest.mark.parametrize(
    ("sizes", "strata"),
    [
        ((6, 2, 12, 4), (6, 20, 12, 4)),
        ((6, 2, 12, 0), (6, 20, 12)),
        ((0, 2, 0, 8), (20, 8)),
        ((1, 2, 12, 1), (21, 13)),
    ],
)
def test_strata(sizes: tuple[int, int, int, int], strata: tuple[int, ...]) -> None:
    """Strata are the kinds in order, deciles together; one excerpt alone joins its side's other kind."""
    top, per_decile, quiet, hard = sizes
    shown = evidence(top=top, per_decile=per_decile, quiet=quiet, hard=hard)
    found = reading(shown, FakeSimulator(shown, faithful))
    assert found.strata == strata
    kinds = [e.stratum.partition(" ")[0] for e in found.excerpts]
    assert kinds == ["top"] * top + ["decile"] * 10 * per_decile + ["quiet"] * quiet + ["hard"] * hard
    assert list(found.groups) == [
        {"decile": "sampled", "hard": "hard quiet"}.get(kind, kind) for kind in kinds
    ]


class Misaligned(FakeSimulator):
    """Answers for fewer contexts than it is asked about."""

    async def simulate(self, label: str, contexts: Sequence[Context]) -> Simulation:
        simulation = await super().simulate(label, contexts)
        return Simulation(simulation.levels[1:], simulation.why_missing[1:])


def test_a_broken_simulator_is_an_error() -> None:
    """Levels that are no numbers, or of other words or contexts, are a bug of the simulator, and named so."""

    def too_long(excerpt: Excerpt) -> np.ndarray:
        return np.zeros(len(excerpt.activations) + 1)

    shown = evidence()
    with pytest.raises(ValueError, match="one level a word"):
        reading(shown, FakeSimulator(shown, too_long))
    with pytest.raises(ValueError, match="no number"):
        reading(shown, FakeSimulator(shown, lambda e: faithful(e) * np.nan))
    with pytest.raises(ValueError, match="answered for 41 contexts of 42"):
        reading(shown, Misaligned(shown, faithful))
