"""What a case, one feature on its way through the graph, knows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

from exegete.datastore.records import Excerpt, FeatureId, Label, Score, Verdict
from exegete.explainers.explainer import Attempt


@dataclass(frozen=True, slots=True)
class Trial:
    """A label as it was tried on the refine split: the row that is kept of it."""

    label: Label
    score: Score


class CaseState(TypedDict, total=False):
    """The state the graph hands from node to node; nodes return the fields they change."""

    feature: FeatureId
    pending: tuple[Label, ...]
    """Proposed, not yet tried."""
    trials: tuple[Trial, ...]
    """Tried, in order."""
    attempts: tuple[Attempt, ...]
    """The same with their worst mistakes, best first: what a reviser is shown."""
    best_by_round: tuple[float | None, ...]
    """The best refine score after each round."""
    shown: tuple[Excerpt, ...]
    """The strongest explain excerpts, kept in the labels file for people to see."""
    scores: tuple[Score, ...]
    """Of the frozen label, on the report split; the primary one first."""
    verdict: Verdict
