"""From a score to a verdict, and the sentence that says why."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exegete.datastore.records import Score
from exegete.scorers.triangulation import SENTENCES, Reason
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


DETECTION = replace(GOOD, scorer="detection@1(fake@1)", value=0.9, low=0.82, high=0.95)
BARS = {"detection": 0.75, "discrimination": 0.7}


@pytest.mark.parametrize(
    ("score", "beside", "noted", "reasons", "why"),
    [
        (
            GOOD,
            [replace(DETECTION, value=0.6, low=0.5, high=0.7)],
            [],
            ["scorers disagree"],
            "r = .62 [.51, .71] clears .50, but another scorer clearly says the opposite "
            "(balanced accuracy = .60 [.50, .70])",
        ),
        (
            replace(GOOD, value=0.3, low=0.2, high=0.4),
            [DETECTION],
            [],
            ["scorers disagree"],
            "r = .30 [.20, .40] stays below .50, but another scorer clearly says the opposite "
            "(balanced accuracy = .90 [.82, .95])",
        ),
        (
            replace(GOOD, details={"r_top": 0.95, "r_sampled": 0.4, "n_sampled": 30.0}),
            [DETECTION],
            [],
            ["good on top only"],
            "r = .62 [.51, .71] clears .50, but the label falls short on excerpts that are not the strongest",
        ),
        (
            replace(GOOD, details={"r_random_quiet": 0.7, "r_hard_quiet": 0.4}),
            [replace(DETECTION, scorer="discrimination@1(fake@1)", value=0.5, low=0.3, high=0.68)],
            ["reads like an instruction"],
            ["reads like an instruction", "not on hard quiet", "collides with a neighbour"],
            "r = .62 [.51, .71] clears .50, but the label reads like an instruction to whoever reads it",
        ),
        (
            replace(
                GOOD,
                low=0.4,
                p_value=0.2,
                n_read=57,
                details={"if_missing_wrong": 0.45, "if_missing_right": 0.6},
            ),
            [],
            [],
            ["interval straddles the threshold", "no better than chance", "missing judgements"],
            "r = .62 [.40, .71] straddles .50",
        ),
        (
            replace(
                GOOD,
                value=0.4,
                low=0.3,
                high=0.49,
                details={"if_missing_wrong": 0.35, "if_missing_right": 0.5},
            ),
            [],
            [],
            ["missing judgements"],
            "r = .40 [.30, .49] stays below .50, but what could not be read could change that",
        ),
        (GOOD, [], ["predicts but does not cause"], ["predicts but does not cause"], None),
        (
            replace(GOOD, low=None, high=None),
            [],
            [],
            ["no interval"],
            "r = .62 has no interval to hold against .50",
        ),
    ],
)
def test_reasons_to_look(
    score: Score, beside: list[Score], noted: list[Reason], reasons: list[str], why: str | None
) -> None:
    """A reason sends a label to a person, and the sentence names the first; all are kept by name."""
    verdict = decide(FEATURE, LABEL, score, 0.5, beside=beside, bars=BARS, noted=noted)
    assert verdict.status == "review"
    assert list(verdict.reasons) == reasons
    assert why is None or verdict.why == why


@pytest.mark.parametrize(
    "doubtful",
    [
        {"details": {"r_top": 0.95, "r_sampled": 0.1, "n_sampled": 30.0}},
        {"details": {"r_random_quiet": 0.9, "r_hard_quiet": 0.1}},
        {"p_value": 0.9},
        {"n_read": 40},
    ],
)
def test_a_rejected_label_needs_no_further_reason(doubtful: dict[str, Any]) -> None:
    """What speaks against a label does not send it to a person once it is rejected."""
    score = replace(GOOD, **({"value": 0.3, "low": 0.2, "high": 0.4} | doubtful))
    verdict = decide(FEATURE, LABEL, score, 0.5, noted=["reads like an instruction"])
    assert (verdict.status, verdict.reasons) == ("rejected", ())


@given(
    low=st.floats(-1, 1),
    width=st.floats(0, 1),
    p=st.none() | st.floats(0, 1),
    other=st.floats(0, 1),
    parts=st.lists(st.none() | st.floats(-1, 1), min_size=4, max_size=4),
    read=st.integers(0, 60),
)
def test_a_verdict_has_reasons_just_when_a_person_should_look(
    low: float, width: float, p: float | None, other: float, parts: list[float | None], read: int
) -> None:
    """Whatever the numbers: reasons if and only if review, each of them known, none twice."""
    names = ("r_top", "r_sampled", "r_random_quiet", "r_hard_quiet")
    details = {"n_sampled": 30.0, **dict(zip(names, parts, strict=True))}
    score = replace(GOOD, value=low, low=low, high=low + width, p_value=p, n_read=read, details=details)
    beside = [replace(DETECTION, value=other, low=other, high=other)]
    verdict = decide(FEATURE, LABEL, score, 0.5, beside=beside, bars=BARS)
    assert (verdict.status == "review") == bool(verdict.reasons)
    assert len(set(verdict.reasons)) == len(verdict.reasons)
    assert set(verdict.reasons) <= set(SENTENCES)


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
