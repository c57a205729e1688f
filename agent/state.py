"""What a case, one feature on its way through the graph, knows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypedDict

from exegete.agent.strategy import Decision
from exegete.datastore.records import Excerpt, Experiment, FeatureId, Label, Score, Verdict
from exegete.explainers.explainer import Attempt


@dataclass(frozen=True, slots=True)
class Trial:
    """A label as it was tried on the refine split: the row that is kept of it."""

    label: Label
    score: Score


@dataclass(frozen=True, slots=True)
class Taken:
    """A decision that was taken: the row that is kept of it."""

    step: str
    """After which step."""
    decision: Decision


class CaseState(TypedDict, total=False):
    """The state the graph hands from node to node; nodes return the fields they change."""

    feature: FeatureId
    pending: tuple[Label, ...]
    """Proposed, not yet tried."""
    trials: tuple[Trial, ...]
    """Tried, in order."""
    attempts: tuple[Attempt, ...]
    """The same with their worst mistakes and failed tests, best first: what a reviser is shown."""
    best_by_round: tuple[float | None, ...]
    """The best refine score after each round."""
    spent_by_round: tuple[int, ...]
    """Tokens of the case's calls at the end of each round."""
    experiments: tuple[Experiment, ...]
    """Tests of labels, in order."""
    falsified: int
    """Rounds of tests."""
    decisions: tuple[Taken, ...]
    """In order; the last one says where the case goes next."""
    shown: tuple[Excerpt, ...]
    """The strongest explain excerpts, kept in the labels file for people to see."""
    tokens_spent: int
    """Tokens of the case's calls when its label was frozen."""
    scores: tuple[Score, ...]
    """Of the frozen label, on the report split; the primary one first."""
    output: Any
    """What the feature does (`exegete.agent.output.OutputFindings`); missing where that was not measured."""
    verdict: Verdict
