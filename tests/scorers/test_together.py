"""Several scorers of one label: the scores are each one's own, and what they share is read once."""

from __future__ import annotations

import asyncio

import pytest

from exegete.datastore.records import Split
from exegete.errors import LeakageError
from exegete.scorers.detection import DetectionScorer
from exegete.scorers.reading import read
from exegete.scorers.scorer import Scorer
from exegete.scorers.simulation import SimulationScorer
from exegete.scorers.together import score_and_read, score_together
from tests.scorers.scorer_fakes import LABEL, Alone, FakeSimulator, evidence, faithful, noisy

SHOWN = evidence(3)


def scorers(simulator: FakeSimulator, seed: int = 0, split: Split = "report") -> tuple[Scorer, Scorer]:
    """Two that read the same simulation."""
    simulation = SimulationScorer(simulator, split, 0.5, seed, 50, 49)
    return simulation, DetectionScorer(simulator, split, 0.75, seed, 50, 49)


def test_scores_are_each_ones_own() -> None:
    """Whatever stands beside them, scorers give what they give alone; one simulation is asked for."""
    simulator, other = FakeSimulator(SHOWN, noisy(1)), FakeSimulator(SHOWN, faithful)
    several = (*scorers(simulator), Alone(), scorers(other)[1])
    together = asyncio.run(score_together(several, LABEL, SHOWN))
    assert len(simulator.asked) == len(other.asked) == 1
    assert together == tuple(asyncio.run(scorer.score(LABEL, SHOWN)) for scorer in several)


def test_another_seed_is_another_simulation() -> None:
    """Scorers that ask in different orders share nothing."""
    simulator = FakeSimulator(SHOWN, noisy(1))
    several = (scorers(simulator)[0], scorers(simulator, seed=4)[1])
    together = asyncio.run(score_together(several, LABEL, SHOWN))
    assert len(simulator.asked) == 2
    assert together == tuple(asyncio.run(scorer.score(LABEL, SHOWN)) for scorer in several)


@pytest.mark.parametrize(("seed", "times"), [(0, 1), (7, 2)])
def test_what_is_read_is_what_is_scored(seed: int, times: int) -> None:
    """A scorer's own simulation is read once for both, one in another order beside it."""
    simulator = FakeSimulator(SHOWN, noisy(2))
    scorer = scorers(simulator)[0]
    score, reading = asyncio.run(score_and_read(scorer, simulator, seed, LABEL, SHOWN))
    assert len(simulator.asked) == times
    assert score == asyncio.run(scorer.score(LABEL, SHOWN))
    again = asyncio.run(read(simulator, LABEL, SHOWN, seed))
    assert [levels.tolist() for levels in reading.levels] == [levels.tolist() for levels in again.levels]


def test_a_scorer_beside_the_simulation() -> None:
    """Where a scorer reads no simulation, one is read beside it."""
    simulator = FakeSimulator(SHOWN, faithful)
    score, reading = asyncio.run(score_and_read(Alone(), simulator, 0, LABEL, SHOWN))
    assert (score.scorer, reading.n_read) == ("alone@1", len(SHOWN.excerpts))


def test_other_splits_are_refused() -> None:
    """Evidence of another split is refused before anything is asked, by each way of scoring."""
    simulator = FakeSimulator(SHOWN, faithful)
    other = scorers(simulator, split="refine")
    with pytest.raises(LeakageError):
        asyncio.run(score_together(other, LABEL, SHOWN))
    with pytest.raises(LeakageError):
        asyncio.run(score_and_read(other[0], simulator, 0, LABEL, SHOWN))
    assert not simulator.asked
