"""From a score to a verdict, and the sentence that says why."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exegete.datastore.records import Score
from exegete.scorers.verdict import decide, decimals, with_interval
from tests.scorers.scorer_fakes import FEATURE, LABEL

GOOD = Score(
    scorer="simulation@1(fake@1)",
    split="report",
    value=0.62,
    low=0.51,
    high=0.71,
    chance=0.01,
    p_value=0.0005,
    n_asked=60,
    n_read=58,
    details={"share_above_threshold": 0.98},
)
NONE = replace(
    GOOD, value=None, low=None, high=None, chance=None, p_value=None, why_none="too few", details={}
)


@pytest.mark.parametrize(
    ("score", "threshold", "status", "why"),
    [
        (GOOD, 0.5, "accepted", "r = .62 [.51, .71] clears .50"),
        (GOOD, 0.51, "accepted", "r = .62 [.51, .71] clears .51"),
        (GOOD, 0.6, "review", "r = .62 [.51, .71] straddles .60"),
        (GOOD, 0.71, "review", "r = .62 [.51, .71] straddles .71"),
        (GOOD, 0.8, "rejected", "r = .62 [.51, .71] stays below .80"),
        (
            replace(GOOD, p_value=0.12, chance=0.55),
            0.5,
            "review",
            "r = .62 [.51, .71] clears .50, but is no better than chance (p = .12, .55 by chance)",
        ),
        (
            replace(GOOD, p_value=None, chance=None),
            0.5,
            "review",
            "r = .62 [.51, .71] clears .50, but was not compared with chance",
        ),
        (
            replace(GOOD, low=None, high=None),
            0.5,
            "review",
            "r = .62 has no interval to hold against .50",
        ),
        (NONE, 0.5, "unscorable", "too few"),
        (
            replace(NONE, p_value=1.0, why_none="constant simulation: 0 on all 9 words"),
            0.5,
            "rejected",
            "the label predicts nothing on these excerpts (constant simulation: 0 on all 9 words)",
        ),
        (
            replace(GOOD, scorer="detection@1(fake@1)", value=1.0, low=0.9, high=1.0),
            0.8,
            "accepted",
            "balanced accuracy = 1.00 [.90, 1.00] clears .80",
        ),
        (
            replace(GOOD, value=-0.1, low=-0.2, high=0.0),
            0.5,
            "rejected",
            "r = -.10 [-.20, .00] stays below .50",
        ),
    ],
)
def test_verdicts(score: Score, threshold: float, status: str, why: str) -> None:
    """The interval decides, and the sentence holds the number against the bar."""
    verdict = decide(FEATURE, LABEL, score, threshold)
    assert (verdict.status, verdict.why) == (status, why)
    assert verdict.label is LABEL
    assert verdict.confidence == score.details.get("share_above_threshold")


def test_nothing_to_decide_on() -> None:
    """Without a label or a score a feature is unscorable, and nobody is confident of anything."""
    for label, why in (
        (None, "no label was proposed"),
        (LABEL, "the label was not scored on the report split"),
    ):
        verdict = decide(FEATURE, label, None, 0.5)
        assert (verdict.status, verdict.why, verdict.confidence) == ("unscorable", why, None)


def test_a_q_value_takes_the_place_of_the_p_value() -> None:
    """Once q-values over a run are known they decide, with the same bar."""
    assert decide(FEATURE, LABEL, GOOD, 0.5, q_value=0.04).status == "accepted"
    doubtful = decide(FEATURE, LABEL, GOOD, 0.5, q_value=0.2)
    assert doubtful.status == "review"
    assert doubtful.why.endswith("no better than chance (q = .2, .01 by chance)")
    assert decide(FEATURE, LABEL, GOOD, 0.5, q_max=0.0001).why.endswith("(p = 5e-04, .01 by chance)")


@given(low=st.floats(-1, 1), width=st.floats(0, 1), threshold=st.floats(-1, 1))
def test_the_whole_interval_counts(low: float, width: float, threshold: float) -> None:
    """Accepted means all of the interval is at or above the bar, rejected all below; else people look."""
    high = low + width
    score = replace(GOOD, value=low + width / 2, low=low, high=high)
    status = decide(FEATURE, LABEL, score, threshold).status
    assert (status == "accepted") == (low >= threshold)
    assert (status == "rejected") == (high < threshold)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.62, ".62"),
        (-0.05, "-.05"),
        (1.0, "1.00"),
        (-1.0, "-1.00"),
        (-0.001, ".00"),
        (0.999, "1.00"),
        (10.05, "10.05"),
    ],
)
def test_decimals(value: float, text: str) -> None:
    """Two decimals, no leading zero, no negative nothing."""
    assert decimals(value) == text


def test_undefined_scores_are_named_so() -> None:
    """A score without a value is not printed as a number."""
    assert with_interval(NONE) == "undefined"
