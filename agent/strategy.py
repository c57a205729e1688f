"""When a case goes on and when it stops: every decision of the loop, in one place, with its reason.

All are pure functions of numbers that were measured on the explain and refine splits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from exegete.datastore.evidence_file import FeatureSummary
from exegete.datastore.records import SPLITS, Split

FINE = 0.8
"""A refine score from here on leaves too little to gain to pay for another round."""
HOPELESS = 0.05
"""A best refine score below this, after a first revision, is not worth a second."""
GAIN = 0.01
"""Less than this is no gain."""
SENSES_GAIN = 0.05
"""Lead on the refine split from which a label with senses is preferred to one without: less is a tie."""
NEEDED: Mapping[Split, int] = {"explain": 5, "refine": 5, "report": 5}
"""Activating contexts a split must have for a label to be proposed, chosen and scored."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do next, and on which number."""

    action: Literal["dead", "unscorable", "propose", "revise", "report", "give up"]
    why: str


def after_recall(summary: FeatureSummary) -> Decision:
    """Whether a feature can be labelled at all."""
    if summary.fired == 0:
        return Decision("dead", f"it never rose above its firing threshold {summary.threshold:.3g}")
    short = [s for s in SPLITS if summary.fired_contexts[s] < NEEDED[s]]
    if short:
        have = ", ".join(f"{summary.fired_contexts[s]} of {NEEDED[s]} in {s}" for s in short)
        return Decision("unscorable", f"too few activating contexts: {have}; harvest more text")
    return Decision("propose", f"it fires in {sum(summary.fired_contexts.values())} contexts")


def after_trial(best_by_round: Sequence[float | None], rounds: int) -> Decision:
    """Whether another round pays.

    Args:
        best_by_round: the best refine score after each round so far; None where none was defined.
        rounds: revisions the job allows.
    """
    done, best = len(best_by_round) - 1, best_by_round[-1]
    if best is not None and best >= FINE:
        return Decision("report", f"refine score {best:.2f} is fine already ({FINE})")
    if done >= rounds:
        return Decision("report", f"all {rounds} revisions are used")
    if done >= 1 and (best is None or best < HOPELESS):
        return Decision(
            "report", f"hopeless: after {done} revision(s) the best refine score is {_said(best)}"
        )
    if done >= 2 and _gain(best_by_round[-3], best) < GAIN:
        return Decision("report", "two rounds brought no gain")
    return Decision(
        "revise", f"refine score {_said(best)} leaves room and {rounds - done} revision(s) are left"
    )


def standing(score: float | None, n_senses: int) -> float:
    """What a label is ranked by: its refine score, less the lead it needs when it has senses.

    Args:
        score: on the refine split; None, where it was undefined, comes last.
        n_senses: 0 for a label without.
    """
    return (-2.0 if score is None else score) - (SENSES_GAIN if n_senses else 0.0)


def _gain(before: float | None, after: float | None) -> float:
    if after is None:
        return 0.0
    return after - before if before is not None else 1.0


def _said(score: float | None) -> str:
    return "undefined" if score is None else f"{score:.2f}"
