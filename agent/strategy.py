"""When a case goes on and when it stops: every decision of the loop, in one place, with its reason.

    after recall          dead, unscorable, or worth proposing labels for
    after a trial         report | falsify | revise, by the best refine score of each round and what was spent
    after falsification   what is handed to the reviser
    after a revision      a trial, or the report when nothing new was written

Rounds go where they can pay. A label that is fine already leaves at once: there is too little to gain, and
what is wrong with it shows on no excerpt that it is judged by. A hopeless one is revised once from its errors
and not tested: tests are written from a label, and those of one that says nothing right teach nothing. What
lies between is tested on the subject before each revision, where the job asks for that.

All are pure functions of numbers that were measured on the explain and refine splits and on texts written
from labels. Every one that was taken is kept, with its number and its bar (the view `decisions`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from exegete.datastore.evidence_file import FeatureSummary
from exegete.datastore.records import SPLITS, Experiment, Split
from exegete.explainers.experiments import summary

FINE = 0.8
"""A refine score from here on leaves too little to gain to pay for another round."""
HOPELESS = 0.05
"""A best refine score below this, after a first revision, is not worth a second; nor are its tests."""
GAIN = 0.01
"""Less than this is no gain."""
SENSES_GAIN = 0.05
"""Lead on the refine split from which a label with senses is preferred to one without: less is a tie."""
NEEDED: Mapping[Split, int] = {"explain": 5, "refine": 5, "report": 5}
"""Activating contexts a split must have for a label to be proposed, chosen and scored."""

Action = Literal["dead", "unscorable", "propose", "falsify", "revise", "trial", "report", "go on without"]
"""What is done next; "go on without" what could not be measured."""
REFINE = "refine score"
"""The quantity that most decisions are taken on."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do next, and on which number."""

    action: Action
    why: str
    """The reason in a sentence."""
    quantity: str | None = None
    """The number it was taken on, by name; None when it was taken on none."""
    value: float | None = None
    """Its value; None when it is undefined."""
    bar: float | None = None
    """What it was held against."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a case has come: what the decision after a trial is taken on.

    Attributes:
        best_by_round: the best refine score after each round so far; None where none was defined.
        rounds: revisions the job allows.
        can_falsify: whether labels can be tested on the subject, and the job asks for it.
        spent_by_round: input and output tokens of the case's calls at the end of each round.
        case_budget: tokens it may take; None: any number.
    """

    best_by_round: Sequence[float | None]
    rounds: int
    can_falsify: bool = False
    spent_by_round: Sequence[int] = ()
    case_budget: int | None = None


def after_recall(summary: FeatureSummary) -> Decision:
    """Whether a feature can be labelled at all."""
    if summary.fired == 0:
        why = f"it never rose above its firing threshold {summary.threshold:.3g}"
        return Decision("dead", why, "maximum", summary.maximum, summary.threshold)
    short = [s for s in SPLITS if summary.fired_contexts[s] < NEEDED[s]]
    if short:
        have = ", ".join(f"{summary.fired_contexts[s]} of {NEEDED[s]} in {s}" for s in short)
        fewest, needed = summary.fired_contexts[short[0]], NEEDED[short[0]]
        why = f"too few activating contexts: {have}; harvest more text"
        return Decision("unscorable", why, f"contexts in {short[0]}", fewest, needed)
    total = sum(summary.fired_contexts.values())
    return Decision("propose", f"it fires in {total} contexts", "contexts", total, sum(NEEDED.values()))


def after_trial(case: Standing) -> Decision:
    """Whether another round pays, and whether labels are tested in it."""
    done, best = len(case.best_by_round) - 1, case.best_by_round[-1]
    stop = _enough(case, done, best)
    if stop is not None:
        return stop
    left = f"refine score {_said(best)} leaves room and {case.rounds - done} revision(s) are left"
    if not case.can_falsify:
        return Decision("revise", left, REFINE, best, FINE)
    if best is None or best < HOPELESS:
        why = f"refine score {_said(best)} is too low for tests to teach anything: revised from its errors"
        return Decision("revise", why, REFINE, best, HOPELESS)
    return Decision("falsify", f"{left}: the label is tested first", REFINE, best, FINE)


def _enough(case: Standing, done: int, best: float | None) -> Decision | None:
    """Why the case stops here; None when it goes on."""
    if best is not None and best >= FINE:
        return Decision("report", f"refine score {best:.2f} is fine already ({FINE})", REFINE, best, FINE)
    if done >= case.rounds:
        return Decision("report", f"all {case.rounds} revisions are used", "revisions", done, case.rounds)
    if done >= 1 and (best is None or best < HOPELESS):
        why = f"hopeless: after {done} revision(s) the best refine score is {_said(best)}"
        return Decision("report", why, REFINE, best, HOPELESS)
    if done >= 2 and (gain := _gain(case.best_by_round[-3], best)) < GAIN:
        return Decision("report", "two rounds brought no gain", "gain over two rounds", gain, GAIN)
    if case.case_budget is not None and not has_room(case.spent_by_round, case.case_budget):
        needs = with_another_round(case.spent_by_round)
        why = f"another round like the last would take it to {needs:,} of {case.case_budget:,} tokens"
        return Decision("report", why, "tokens with another round", needs, case.case_budget)
    return None


def with_another_round(spent_by_round: Sequence[int]) -> int:
    """Tokens a case will have taken after another round, if that one takes what the last one did.

    Args:
        spent_by_round: tokens at the end of each round, the first of which proposed.
    """
    before = spent_by_round[-2] if len(spent_by_round) > 1 else 0
    return spent_by_round[-1] + (spent_by_round[-1] - before)


def has_room(spent_by_round: Sequence[int], case_budget: int | None) -> bool:
    """Whether a case's budget leaves room for another round; see `with_another_round`."""
    return case_budget is None or with_another_round(spent_by_round) <= case_budget


def after_falsification(experiments: Sequence[Experiment], why_none: str | None) -> Decision:
    """What the reviser gets from a round of tests; the label is revised whatever they said.

    Tests that all held do not end the search: the refine score has left room, and a label's own tests look
    only where the label does.

    Args:
        experiments: of this round.
        why_none: why there are none, in a clause; None when there are some.
    """
    tested = summary(experiments)
    failed = tested.tests - tested.held
    if not tested.tests:
        why = why_none or (experiments[0].why if experiments else None) or "no test was written"
        return Decision("revise", f"it is revised from its errors alone: {why}", "tests run", 0, 1)
    then = "those that did not are shown to the reviser" if failed else "it is revised from its errors alone"
    return Decision("revise", f"{tested.said}: {then}", "tests failed", failed, 0)


def after_revision(n_new: int, why_none: str | None) -> Decision:
    """Whether there is anything new to try.

    Args:
        n_new: labels that were not tried before.
        why_none: why the revision could not be read; None when it could.
    """
    if n_new:
        return Decision("trial", f"{n_new} new label(s) to try", "new labels", n_new, 1)
    why = (
        "the revision brought nothing new" if why_none is None else f"no revision could be read ({why_none})"
    )
    return Decision("report", why, "new labels", 0, 1)


def standing(score: float | None, n_senses: int) -> float:
    """What a label is ranked by: its refine score, less the lead it needs when it has senses.

    Tests have no say in it, not even in a tie: each label is tested by texts written from itself, so the
    shares that held are of different tests, and a label that dares little would win.

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
