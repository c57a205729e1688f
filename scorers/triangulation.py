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

Three levels of evidence stand side by side: what was observed (the primary score), what interventions on
texts show (`generation`) and what interventions on the model show (`ablation`, `steering`). Where they were
made,

- *fails when tested*. The primary score is clear above its bar, and generation clear below its own.
- *predicts but does not cause*. The primary score is clear above its bar, and zeroing the feature moves the
  model's predictions less than most random directions do. Not to be found above them is no evidence of that.
- *causes but does not predict*. The primary score is clear below its bar; zeroing the feature moves
  predictions more than random directions do; and its continuations are told by its output label better than
  by guessing.
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
    "fails when tested",
    "predicts but does not cause",
    "causes but does not predict",
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
    "fails when tested": "texts written from the label don't do what it says",
    "predicts but does not cause": "zeroing the feature changes less than most random directions do",
    "causes but does not predict": "the feature does what its output label says",
}
"""What each reason says, to go on "r = .62 [.51, .71] clears .50, but …"; in the order they are named in."""

Stance = Literal["clear above", "unclear", "clear below"]
"""Where a score's interval lies: all of it at or above the bar, on both sides, or all below."""

DISCRIMINATION, GENERATION, ABLATION, STEERING = "discrimination", "generation", "ablation", "steering"
APART = frozenset({"embedding", "intruder", DISCRIMINATION, GENERATION, ABLATION, STEERING})
"""Scorers that can't contradict the primary one: two measure how interpretable a feature is, whatever its
label says, and the others ask something else, for which there are reasons of their own."""

ALPHA = 0.05
"""Largest p-value of an intervention that counts as an effect."""
IDLE = 0.5
"""p-value above which an intervention counts as having none: most controls do as much."""

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
        **_by_intervention(stance(score, threshold), {base_name(other): other for other in beside}, bars),
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


def _by_intervention(
    own: Stance | None, beside: Mapping[str, Score], bars: Mapping[str, float]
) -> dict[Reason, bool]:
    """Reasons that interventions give; none where no intervention was made, or none had a value."""
    tested, bar = beside.get(GENERATION), bars.get(GENERATION)
    moves, does_as_said = (_has_effect(beside.get(name)) for name in (ABLATION, STEERING))
    return {
        "fails when tested": own == "clear above"
        and tested is not None
        and bar is not None
        and stance(tested, bar) == "clear below",
        "predicts but does not cause": own == "clear above" and moves is False,
        "causes but does not predict": own == "clear below" and moves is True and does_as_said is True,
    }


def _has_effect(score: Score | None) -> bool | None:
    """Whether an intervention did more than its controls; None where that is not known."""
    if score is None or score.value is None or score.p_value is None:
        return None
    return True if score.p_value <= ALPHA else False if score.p_value > IDLE else None


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
