"""From a report score to a verdict: code holds a number against a bar, and says which against which.

low >= threshold and better than chance   accepted
high < threshold                          rejected
the interval straddles the threshold      review
low >= threshold, no better than chance   review      a person should see why both can be
the label predicts the same everywhere    rejected    it was tested, and said nothing
no value for want of evidence or replies  unscorable  it was not tested
"""

from __future__ import annotations

from exegete.datastore.records import FeatureId, Label, Score, Status, Verdict

Q_MAX = 0.05
"""Largest p- or q-value that counts as better than chance."""


def decide(
    feature: FeatureId,
    label: Label | None,
    score: Score | None,
    threshold: float,
    *,
    q_max: float = Q_MAX,
    q_value: float | None = None,
) -> Verdict:
    """Hold a report score against a job's threshold.

    The interval decides, not the value: a label is accepted when the whole of it clears the threshold.
    The interval's level is 95%, so a label whose true score is just at the threshold is accepted once in
    forty times where intervals are exact (see `exegete.scorers.resampling` for how exact they are).

    Args:
        feature: the feature.
        label: its chosen label, or None when none was proposed.
        score: the label's primary score on the report split, or None when it was not scored.
        threshold: value to clear, in the score's units.
        q_max: largest p-value, or q-value where one is given, to count as better than chance.
        q_value: the score's p-value adjusted over the run, if that is known yet; it is then held against
            `q_max` in place of the p-value.

    Returns:
        accepted, review, rejected or unscorable, with the numbers in a sentence.
    """
    if label is None:
        return Verdict(feature, "unscorable", None, None, "no label was proposed")
    if score is None:
        return Verdict(feature, "unscorable", label, None, "the label was not scored on the report split")
    status, why = _status(score, threshold, q_max, q_value)
    return Verdict(feature, status, label, score.details.get("share_above_threshold"), why)


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


def _status(score: Score, threshold: float, q_max: float, q_value: float | None) -> tuple[Status, str]:
    """Status and reason of a label that was proposed and scored."""
    if score.value is None:
        if score.p_value is not None:  # tested, and failed without a value: a constant simulation
            return "rejected", f"the label predicts nothing on these excerpts ({score.why_none})"
        return "unscorable", score.why_none or "the score is undefined"
    bar = decimals(threshold)
    measured = f"{_symbol(score)} = {with_interval(score)}"
    if score.low is None or score.high is None:
        return "review", f"{measured} has no interval to hold against {bar}"
    if score.high < threshold:
        return "rejected", f"{measured} stays below {bar}"
    if score.low < threshold:
        return "review", f"{measured} straddles {bar}"
    doubt = _doubt(score, q_max, q_value)
    return ("accepted" if doubt is None else "review"), f"{measured} clears {bar}{doubt or ''}"


def _doubt(score: Score, q_max: float, q_value: float | None) -> str | None:
    """Why a value that clears the bar may be no better than chance, or None."""
    name, p = ("p", score.p_value) if q_value is None else ("q", q_value)
    if p is None:
        return ", but was not compared with chance"
    if p <= q_max:
        return None
    chance = "" if score.chance is None else f", {decimals(score.chance)} by chance"
    return f", but is no better than chance ({name} = {_small(p)}{chance})"


def _symbol(score: Score) -> str:
    """What the score's value is called: r, or the scorer's own name."""
    scorer = score.scorer.partition("@")[0]
    return {"simulation": "r", "detection": "balanced accuracy"}.get(scorer, scorer)


def _small(p: float) -> str:
    """A p-value in two significant digits: ".12", ".0031", "5e-04"."""
    return _unlead(f"{p:.2g}") if p >= 0.001 else f"{p:.0e}"


def _unlead(text: str) -> str:
    """Drop the zero before the point, and the sign of a rounded zero."""
    text = "0.00" if text == "-0.00" else text
    return text.replace("0.", ".", 1) if text.lstrip("-").startswith("0.") else text
