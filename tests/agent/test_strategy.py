"""When a case goes on: pure decisions, at their edges."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exegete.agent.strategy import FINE, GAIN, HOPELESS, NEEDED, after_recall, after_trial
from exegete.datastore.evidence_file import FeatureSummary
from exegete.datastore.records import SPLITS, FeatureId

FEATURE = FeatureId("m", "s", "neurons", 3)
scores = st.none() | st.floats(-1, 1)


def summary(fired: int, explain: int, refine: int, report: int) -> FeatureSummary:
    """A feature that fires on so many tokens, and in so many contexts of each split."""
    contexts = dict(zip(SPLITS, (explain, refine, report), strict=True))
    return FeatureSummary(FEATURE, 0.1, fired, contexts, 1.0, 1.0, 0.25, {})


@pytest.mark.parametrize(
    ("known", "action"),
    [
        (summary(0, 0, 0, 0), "dead"),
        (summary(1, 1, 0, 0), "unscorable"),
        (summary(99, 5, 5, 4), "unscorable"),
        (summary(99, 5, 4, 5), "unscorable"),
        (summary(99, 4, 5, 5), "unscorable"),
        (summary(15, 5, 5, 5), "propose"),
    ],
)
def test_after_recall(known: FeatureSummary, action: str) -> None:
    """Dead means never fired; unscorable names every split that has too little, and none that has enough."""
    decision = after_recall(known)
    assert decision.action == action
    for split, n in known.fired_contexts.items():
        short = action == "unscorable" and n < NEEDED[split]
        assert (f"{n} of {NEEDED[split]} in {split}" in decision.why) == short


@given(st.lists(scores, min_size=1, max_size=8), st.integers(0, 20))
def test_a_case_ends(rounds_so_far: list[float | None], rounds: int) -> None:
    """Never more revisions than allowed, none once the score is fine, and always a reason."""
    decision = after_trial(rounds_so_far, rounds)
    assert decision.action in ("revise", "report")
    assert decision.why
    best = rounds_so_far[-1]
    if len(rounds_so_far) - 1 >= rounds or (best is not None and best >= FINE):
        assert decision.action == "report"


@given(st.floats(-1, FINE, exclude_max=True) | st.none())
def test_a_first_revision_is_always_worth_it(score: float | None) -> None:
    """Whatever the first trial gave short of fine, there is one revision if one is allowed."""
    assert after_trial([score], 1).action == "revise"


@pytest.mark.parametrize(
    ("so_far", "action"),
    [
        ([0.2, HOPELESS - 1e-9], "report"),
        ([None, None], "report"),
        ([0.0, HOPELESS], "revise"),
        ([0.4, 0.4, 0.4 + GAIN / 2], "report"),
        ([0.4, 0.4, 0.4 + 2 * GAIN], "revise"),
        ([None, 0.3, 0.3], "revise"),
        ([0.3, 0.4, 0.4], "revise"),
        ([0.3, 0.4, 0.4, 0.4], "report"),
        ([0.4, FINE], "report"),
    ],
)
def test_later_revisions_have_to_pay(so_far: list[float | None], action: str) -> None:
    """Hopeless after one revision ends it; so do two rounds without a gain, counted from before them."""
    assert after_trial(so_far, 20).action == action
