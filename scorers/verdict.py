"""From a report score to a verdict: code holds numbers against bars, and says which against which.

low >= threshold and no reason to doubt it   accepted
high < threshold                             rejected
the interval straddles the threshold         review
low >= threshold, and a reason to doubt it   review      no better than chance, or scores that disagree
high < threshold, and clearly contradicted   review      by another scorer, by what is missing, or by what
                                                         the feature does to the model
the label predicts the same everywhere       rejected    it was tested, and said nothing
no value for want of evidence or replies     unscorable  it was not tested

Reasons are those of `exegete.scorers.triangulation`; a verdict has some just when it is `review`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from exegete.datastore.records import FeatureId, Label, Score, Status, Verdict
from exegete.scorers.triangulation import SENTENCES, Reason, base_name, disagreements, opponent

Q_MAX = 0.05
"""Largest p- or q-value that counts as better than chance."""

_REDEEMING: frozenset[Reason] = frozenset(
    {"scorers disagree", "missing judgements", "causes but does not predict"}
)
"""Reasons to look at a label whose score stays below the threshold: it may be better than that, or the
feature be one that its output label describes."""


def decide(
    feature: FeatureId,
    label: Label | None,
    score: Score | None,
    threshold: float,
    *,
    beside: Sequence[Score] = (),
    bars: Mapping[str, float] = MappingProxyType({}),
    noted: Sequence[Reason] = (),
    q_max: float = Q_MAX,
    q_value: float | None = None,
) -> Verdict:
    """Hold a report score against a job's threshold.

    The interval decides, not the value: a label is accepted when the whole of it clears the threshold.
    The interval's level is 95%, so a label whose true score is just at the threshold is accepted once in
    forty times where intervals are exact (see `exegete.scorers.intervals` for how exact they are).

    Args:
        feature: the feature.
        label: its chosen label, or None when none was proposed.
        score: the label's primary score on the report split, or None when it was not scored.
        threshold: value to clear, in the score's units.
        beside: the label's other scores on the report split.
        bars: values they are to clear, by the scorer's name without its version ("detection").
        noted: reasons to look that were found elsewhere, for example in the label's text.
        q_max: largest p-value, or q-value where one is given, to count as better than chance.
        q_value: the score's p-value adjusted over the run, if that is known yet; it is then held against
            `q_max` in place of the p-value.

    Returns:
        accepted, review, rejected or unscorable, with the numbers in a sentence that names the first reason.
    """
    if label is None:
        return Verdict(feature, "unscorable", None, None, "no label was proposed")
    if score is None:
        return Verdict(feature, "unscorable", label, None, "the label was not scored on the report split")
    confidence = score.details.get("share_above_threshold")
    if score.value is None:
        status, why = _undefined(score)
        return Verdict(feature, status, label, confidence, why)
    status, why = _by_interval(score, threshold)
    doubts = _by_chance(score, q_max, q_value) | {reason: SENTENCES[reason] for reason in noted}
    doubts |= _by_the_others(score, threshold, beside, bars)
    if status == "rejected":
        doubts = {reason: clause for reason, clause in doubts.items() if reason in _REDEEMING}
    reasons = [reason for reason in SENTENCES if reason in doubts]
    if status == "review":
        reasons.insert(0, "no interval" if score.low is None else "interval straddles the threshold")
    elif reasons:
        status, why = "review", f"{why}, but {doubts[reasons[0]]}"
    return Verdict(feature, status, label, confidence, why, tuple(reasons))


def decimals(value: float) -> str:
    """A score in two decimals without its leading zero: ".62", "-.05", "1.00"."""
    return _unlead(f"{value:.2f}")


def with_interval(score: Score) -> str:
    """A score with its interval: ".62 [.51, .71]"; without one, ".62"."""
    if score.value is None:
        return "undefined"
    if score.low is None or score.high is None:
        return decimals(score.value)
    return f"{decimals(score.value)} [{decimals(score.low)}, {decimals(score.high)}]"


def _undefined(score: Score) -> tuple[Status, str]:
    """Status and sentence of a label whose score has no value."""
    if score.p_value is not None:  # tested, and failed without a value: a constant simulation
        return "rejected", f"the label predicts nothing on these excerpts ({score.why_none})"
    return "unscorable", score.why_none or "the score is undefined"


def _by_interval(score: Score, threshold: float) -> tuple[Status, str]:
    """Status and sentence by the primary score's interval alone."""
    bar, measured = decimals(threshold), f"{_symbol(score)} = {with_interval(score)}"
    if score.low is None or score.high is None:
        return "review", f"{measured} has no interval to hold against {bar}"
    if score.high < threshold:
        return "rejected", f"{measured} stays below {bar}"
    if score.low < threshold:
        return "review", f"{measured} straddles {bar}"
    return "accepted", f"{measured} clears {bar}"


def _by_chance(score: Score, q_max: float, q_value: float | None) -> dict[Reason, str]:
    """Why a value may be no better than chance, in words with its numbers."""
    name, p = ("p", score.p_value) if q_value is None else ("q", q_value)
    if p is None:
        return {"not compared with chance": SENTENCES["not compared with chance"]}
    if p <= q_max:
        return {}
    chance = "" if score.chance is None else f", {decimals(score.chance)} by chance"
    return {"no better than chance": f"{SENTENCES['no better than chance']} ({name} = {_small(p)}{chance})"}


def _by_the_others(
    score: Score, threshold: float, beside: Sequence[Score], bars: Mapping[str, float]
) -> dict[Reason, str]:
    """What speaks against a score by its own parts and by other scores, in words."""
    doubts = {reason: SENTENCES[reason] for reason in disagreements(score, threshold, beside, bars)}
    if (other := opponent(score, threshold, beside, bars)) is not None:
        doubts["scorers disagree"] += f" ({_symbol(other)} = {with_interval(other)})"
    return doubts


def _symbol(score: Score) -> str:
    """What the score's value is called: r, or the scorer's own name."""
    name = base_name(score)
    return {"simulation": "r", "detection": "balanced accuracy"}.get(name, name)


def _small(p: float) -> str:
    """A p-value in two significant digits: ".12", ".0031", "5e-04"."""
    return _unlead(f"{p:.2g}") if p >= 0.001 else f"{p:.0e}"


def _unlead(text: str) -> str:
    """Drop the zero before the point, and the sign of a rounded zero."""
    text = "0.00" if text == "-0.00" else text
    return text.replace("0.", ".", 1) if text.lstrip("-").startswith("0.") else text
