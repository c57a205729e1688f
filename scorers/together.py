"""Scoring a label by several scorers at once: those that read the same simulation read it once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from exegete.datastore.records import Evidence, Label, Score
from exegete.scorers.reading import Reading, read
from exegete.scorers.scorer import Scorer, refuse_other_splits
from exegete.simulators.simulator import Simulator


@runtime_checkable
class ReadsSimulation(Protocol):
    """A scorer that reads its value from a simulation which others read too.

    It is a dataclass. One by which scoring can be stopped has a field `level`, of its interval.
    """

    @property
    def simulator(self) -> Simulator:
        """What predicts the levels it reads."""

    @property
    def seed(self) -> int:
        """What chooses the order in which excerpts are asked about."""

    def score_reading(self, reading: Reading) -> Score:
        """Score a simulation that has been read."""


async def score_together(scorers: Sequence[Scorer], label: Label, evidence: Evidence) -> tuple[Score, ...]:
    """Score one label, as each of the scorers would by itself.

    Args:
        scorers: in the order in which they are asked.
        label: the label to score.
        evidence: excerpts of the scorers' split.

    Returns:
        One score a scorer.

    Raises:
        LeakageError: the evidence is of another split than one of the scorers takes.
        LLMError: no model could be reached.
    """
    scores: list[Score] = []
    readings: dict[tuple[int, int], Reading] = {}
    for scorer in scorers:
        if not isinstance(scorer, ReadsSimulation):
            scores.append(await scorer.score(label, evidence))
            continue
        refuse_other_splits(scorer, evidence)
        way = (id(scorer.simulator), scorer.seed)
        if way not in readings:
            readings[way] = await read(scorer.simulator, label, evidence, scorer.seed)
        scores.append(scorer.score_reading(readings[way]))
    return tuple(scores)


async def score_and_read(
    scorer: Scorer, simulator: Simulator, seed: int, label: Label, evidence: Evidence
) -> tuple[Score, Reading]:
    """Score one label, and read a simulation of it: the one that is scored, if the scorer reads that one.

    Raises:
        As `score_together`.
    """
    if isinstance(scorer, ReadsSimulation) and scorer.simulator is simulator and scorer.seed == seed:
        refuse_other_splits(scorer, evidence)
        reading = await read(simulator, label, evidence, seed)
        return scorer.score_reading(reading), reading
    score = await scorer.score(label, evidence)
    return score, await read(simulator, label, evidence, seed)
