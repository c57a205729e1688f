"""Do a label's scores agree, over scorers and over kinds of excerpts; and if not, why should a person look?

Each score is held against a bar of its own, by its interval: clear above, clear below, or unclear. A label
whose scores say different things clearly is one that no single number describes:

- *scorers disagree*. Detection clear and simulation not: the label finds the right excerpts, and is wrong
  about where in them, or how strongly, the feature fires. The reverse: it follows the strong firings and
  predicts firing in excerpts that are silent. `embedding` and `intruder` measure the feature and not the
  label, and don't count.
- *good on top only*, *not on hard quiet*. The same correlation over part of the excerpts (see
  `exegete.scorers.simulation`) is at the bar on one part, below it on the other, and further apart than
  chance takes labels that are equally good everywhere. How far that is was measured on simulated features:
  r of the strongest excerpts is up to .2 above that of sampled ones, since weak firings drown in noise. With
  margins of `TOP_BIAS` + `TOP_NOISE` / sqrt(sampled excerpts) and `HARD_NOISE` / sqrt(excerpts) each reason
  is found for 5% of such labels at most, whatever their quality, the bar, and how few excerpts were sampled
  (tests/scorers/test_triangulation.py).
- *missing judgements*. With the missing ones all wrong the value misses the bar, all right it reaches it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf, sqrt
from typing import Literal

from exegete.datastore.records import Score

Reason = Literal[
    "interval straddles the threshold",
    "no interval",
    "no better than chance",
    "not compared with chance",
    "reads like an instruction",
    "missing judgements",
    "scorers disagree",
    "good on top only",
    "not on hard quiet",
    "collides with a neighbour",
    "predicts but does not cause",
]
"""Why a person should look at a label, by a short name that does not change."""

SENTENCES: Mapping[Reason, str] = {
    "interval straddles the threshold": "the interval of its score holds the threshold",
    "no interval": "its score has no interval",
    "no better than chance": "is no better than chance",
    "not compared with chance": "was not compared with chance",
    "reads like an instruction": "the label reads like an instruction to whoever reads it",
    "missing judgements": "what could not be read could change that",
    "scorers disagree": "another scorer clearly says the opposite",
    "good on top only": "the label falls short on excerpts that are not the strongest",
    "not on hard quiet": "the label falls short against the quiet excerpts that look most like firing ones",
    "collides with a neighbour": "the label does not tell the feature from its nearest neighbours",
    "predicts but does not cause": "the label says when the feature fires, and not what the feature does",
}
"""What each reason says, to go on "r = .62 [.51, .71] clears .50, but …"; in the order they are named in."""

Stance = Literal["clear above", "unclear", "clear below"]
"""Where a score's interval lies: all of it at or above the bar, on both sides, or all below."""

DISCRIMINATION = "discrimination"
APART = frozenset({"embedding", "intruder", DISCRIMINATION})
"""Scorers that can't contradict the primary one: two measure how interpretable a feature is, whatever its
label says, and the last asks something else, for which there is a reason of its own."""

TOP_BIAS, TOP_NOISE, HARD_NOISE = 0.25, 0.9, 0.75
"""How far r of two kinds of excerpts may lie apart where a label is equally good on both."""

MIN_READ = 0.9
"""With a smaller share read, missing judgements are a reason where no bounds are known."""


def stance(score: Score, bar: float) -> Stance | None:
    """Hold a score's interval against a bar; None when it has none."""
    if score.value is None or score.low is None or score.high is None:
        return None
    return "clear above" if score.low >= bar else "clear below" if score.high < bar else "unclear"


def base_name(score: Score) -> str:
    """The name of a score's scorer, without version and simulator."""
    return score.scorer.partition("@")[0]


def disagreements(
    score: Score, threshold: float, beside: Sequence[Score], bars: Mapping[str, float]
) -> list[Reason]:
    """Reasons to doubt what the primary score says of a label.

    Args:
        score: the primary score, with a value.
        threshold: its bar.
        beside: the label's other scores on the same split.
        bars: theirs, by the scorer's name without its version; a score without one has no say.

    Returns:
        Reasons in the order of `SENTENCES`, each once.
    """
    n_sampled = score.details.get("n_sampled") or 0.0
    holds: dict[Reason, bool] = {
        "missing judgements": _missing_matter(score, threshold),
        "scorers disagree": opponent(score, threshold, beside, bars) is not None,
        "good on top only": _falls(
            score, threshold, "r_top", "r_sampled", TOP_BIAS + _noise(TOP_NOISE, n_sampled)
        ),
        "not on hard quiet": _falls(
            score, threshold, "r_random_quiet", "r_hard_quiet", _noise(HARD_NOISE, score.n_read)
        ),
        "collides with a neighbour": any(_collides(other, bars) for other in beside),
    }
    return [reason for reason, held in holds.items() if held]


def opponent(
    score: Score, threshold: float, beside: Sequence[Score], bars: Mapping[str, float]
) -> Score | None:
    """The first other score of the label that is as clear as the primary one, and says the opposite."""
    own = stance(score, threshold)
    opposite = {"clear above": "clear below", "clear below": "clear above"}.get(own or "")
    for other in beside:
        bar = bars.get(base_name(other))
        if bar is not None and base_name(other) not in APART and opposite and stance(other, bar) == opposite:
            return other
    return None


def _missing_matter(score: Score, threshold: float) -> bool:
    """Whether the verdict depends on judgements that could not be read."""
    if score.n_read >= score.n_asked:
        return False
    wrong, right = score.details.get("if_missing_wrong"), score.details.get("if_missing_right")
    if wrong is None or right is None:  # nothing is known that could lift a label that is clearly too low
        return score.n_read < MIN_READ * score.n_asked and stance(score, threshold) != "clear below"
    return wrong < threshold <= right


def _falls(score: Score, threshold: float, good: str, poor: str, margin: float) -> bool:
    """Whether the part of a score that reaches the bar lies far above the part that does not."""
    high, low = score.details.get(good), score.details.get(poor)
    return high is not None and low is not None and low < threshold <= high and high - low > margin


def _noise(scale: float, n: float) -> float:
    """How far apart chance takes two parts of so many excerpts; any distance where there are none."""
    return scale / sqrt(n) if n > 0 else inf


def _collides(score: Score, bars: Mapping[str, float]) -> bool:
    """Whether a label tells its feature from the neighbours neither by firing nor by how strongly it does."""
    bar = bars.get(DISCRIMINATION) if base_name(score) == DISCRIMINATION else None
    if bar is None or score.value is None:
        return False
    auroc = score.details.get("auroc")
    # Of ten excerpts a side a value alone says little: it has to be clear that the bar is not reached.
    below = score.value < bar if score.high is None else score.high < bar
    return below and (auroc is None or auroc < bar)
