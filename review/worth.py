"""How much a person's look at a label is worth, and why it is asked for, in words.

A decision tells whether a label is right. What it tells is what was not known before: with p the chance that
the label is right, H(p) = -p log p - (1-p) log(1-p) bits [Shannon 1948; as a rule for what to ask a person
next, uncertainty sampling: Lewis & Gale 1994].

    p       confidence, mapped if it is known how often such labels are right; 1/2 where there is none
    doubts  reasons that no number settles: each halves the distance of p from 1/2, as it says that confidence
            may be beside the point. The interval's own reason is not one of them, for p says that already.
    mass    a feature that fires on 16 times as many tokens is worth two of the other: fourth root of density,
            1 at one token in a thousand

    worth = H(1/2 + (p - 1/2) / 2^doubts) * (1000 density)^(1/4)

Without the root the queue would go by density alone, which spans four powers of ten where bits span one, and
the densest features are seldom the ones that can be understood.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from exegete.scorers.triangulation import SENTENCES, Reason

SETTLED: Reason = "interval straddles the threshold"
"""The reason that confidence says in a number."""

DOUBTS = f"""(
    len(list_filter(coalesce(reasons, []), lambda reason: reason != '{SETTLED}'))
    + CAST(coalesce(twins, 0) > 0 AS INTEGER)
    + CAST(coalesce(tests_held < tests, false) AS INTEGER)
)"""
"""SQL over columns of the view `labels`: reasons that no number settles."""

CHANCE = f"(0.5 + (coalesce(confidence, 0.5) - 0.5) / pow(2, {DOUBTS}))"
"""SQL: the chance that the label is right, drawn to 1/2 by every doubt."""

WORTH = f"""(
    CASE WHEN {CHANCE} <= 0 OR {CHANCE} >= 1 THEN 0
    ELSE -({CHANCE} * log2({CHANCE}) + (1 - {CHANCE}) * log2(1 - {CHANCE})) END * pow(1000 * density, 0.25)
)"""
"""SQL: bits that a decision tells, weighed by how often the feature fires."""


def in_words(row: Mapping[str, Any]) -> tuple[str, ...]:
    """Why a card is dealt, each reason in a clause.

    Args:
        row: `reasons`, `twins`, `tests`, `tests_held` and `why` of the view `labels`.

    Returns:
        One clause a reason; the verdict's own sentence where there is none.
    """
    found = [_clause(reason) for reason in row["reasons"] or ()]
    if row["tests"] and row["tests_held"] < row["tests"]:
        found.append(f"{row['tests'] - row['tests_held']} of {row['tests']} tests on the subject failed")
    if row["twins"]:
        others = "1 other feature has" if row["twins"] == 1 else f"{row['twins']:,} other features have"
        found.append(f"{others} this label")
    return tuple(found) or (row["why"],)


def _clause(reason: str) -> str:
    """A reason's sentence with a subject; a name that this version does not know stands for itself."""
    if reason not in get_args(Reason):
        return reason
    clause = SENTENCES[reason]  # type: ignore[index]
    return f"the score {clause}" if clause.startswith(("is ", "was ")) else clause
