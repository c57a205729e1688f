"""When a case goes on: pure decisions, at their edges."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exegete.agent.strategy import (
    FINE,
    GAIN,
    HOPELESS,
    NEEDED,
    Decision,
    Standing,
    after_falsification,
    after_recall,
    after_revision,
    after_trial,
    with_another_round,
)
from exegete.datastore.evidence_file import FeatureSummary
from exegete.datastore.records import SPLITS, Experiment, FeatureId, Label, Prediction

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
    if action == "unscorable":
        assert decision.value is not None
        assert decision.bar is not None
        assert decision.value < decision.bar


@given(st.lists(scores, min_size=1, max_size=8), st.integers(0, 20), st.booleans())
def test_a_case_ends(rounds_so_far: list[float | None], rounds: int, can_falsify: bool) -> None:
    """Never more revisions than allowed, none once the score is fine, and always a reason on a number."""
    decision = after_trial(Standing(rounds_so_far, rounds, can_falsify))
    assert decision.action in ("revise", "falsify", "report")
    assert decision.why
    assert decision.quantity
    assert decision.bar is not None
    best = rounds_so_far[-1]
    if len(rounds_so_far) - 1 >= rounds or (best is not None and best >= FINE):
        assert decision.action == "report"


@given(st.floats(-1, FINE, exclude_max=True) | st.none())
def test_a_first_revision_is_always_worth_it(score: float | None) -> None:
    """Whatever the first trial gave short of fine, there is one revision if one is allowed."""
    assert after_trial(Standing([score], 1)).action == "revise"


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
    assert after_trial(Standing(so_far, 20)).action == action


@given(scores, st.integers(1, 20))
def test_tests_go_between_hopeless_and_fine(score: float | None, rounds: int) -> None:
    """Where labels can be tested those in between are, and all others go where they went without."""
    without = after_trial(Standing([score], rounds)).action
    tested = after_trial(Standing([score], rounds, can_falsify=True)).action
    between = score is not None and HOPELESS <= score < FINE
    assert tested == ("falsify" if between else without)


@given(st.lists(st.integers(0, 9_000), min_size=1, max_size=6), st.integers(1, 50_000))
def test_a_case_keeps_to_its_budget(taken: list[int], budget: int) -> None:
    """Another round is begun just if it fits, taking what the last one did; without a budget any fits."""
    spent = np.cumsum(taken).tolist()
    # A rising score, so that nothing else ends the search.
    rising = [0.1 + 0.1 * i for i in range(len(taken))]
    decision = after_trial(Standing(rising, 20, True, spent, budget))
    assert (decision.action == "report") == (spent[-1] + taken[-1] > budget)
    assert after_trial(Standing(rising, 20, True, spent)).action == "falsify"
    if decision.action == "report":
        assert (decision.quantity, decision.value, decision.bar) == (
            "tokens with another round",
            with_another_round(spent),
            budget,
        )


def experiment(fires: bool, activation: float, why: str | None = None) -> Experiment:
    """A test of one word, held against 0.5."""
    verdict = "not run" if why else "held" if (activation > 0.5) == fires else "failed"
    words = () if why else ("w",)
    values = np.asarray([] if why else [activation], dtype=np.float32)
    prediction = Prediction("fires" if fires else "silent", "w", fires)
    return Experiment(Label(FEATURE, "l", "a"), 1, prediction, words, values, 0.5, verdict, why)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("found", "why_none", "value", "said"),
    [
        ([experiment(True, 1), experiment(False, 1)], None, 1, "1 of 2 predictions came true"),
        ([experiment(True, 1)], None, 0, "1 of 1 predictions came true"),
        ([experiment(True, 1), experiment(True, 0, "it is too long")], None, 0, "1 not run"),
        ([experiment(True, 0, "it is too long")], None, 0, "from its errors alone: it is too long"),
        ([], "no test could be read", 0, "from its errors alone: no test could be read"),
    ],
)
def test_after_falsification(found: list[Experiment], why_none: str | None, value: int, said: str) -> None:
    """A tested label is revised whatever came of it, and the decision says what did."""
    decision = after_falsification(found, why_none)
    assert (decision.action, decision.value) == ("revise", value)
    assert said in decision.why


def test_after_revision() -> None:
    """New labels are tried; without any the best so far is reported, and the decision says why."""
    assert after_revision(2, None).action == "trial"
    assert after_revision(0, None) == Decision(
        "report", "the revision brought nothing new", "new labels", 0, 1
    )
    assert "cut off" in after_revision(0, "the reply was cut off").why
