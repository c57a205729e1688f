"""What a run shows: rates, intervals and rankings against independent implementations."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score
from statsmodels.stats.proportion import proportion_confint

from exegete.controls.suite import Control
from exegete.controls.truths import Truth
from exegete.report.contrast import Told, aurocs
from exegete.report.evaluation import Evaluation, Rate
from exegete.report.judged import Judged, share_named


def judged(kind: str, *, right: bool = False, status: str = "accepted", **more: Any) -> Judged:
    """One control after a run; with a truth unless its kind has none."""
    truth = Truth(kind, "x", 'the word "x"', ("x",), {}, {})
    positive = kind in ("token", "and")
    control = Control(kind, truth if positive else None, None, 0)
    own = {"label": "l", "score": 0.7, "low": 0.6, "high": 0.8, "confidence": 0.9, "agreement": 0.95}
    return Judged(control, status, **{**own, "named": 1.0, "right": right, "why": "", **more})


@given(st.integers(1, 2000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_intervals_are_wilsons(counts: tuple[int, int]) -> None:
    """The interval of a share is statsmodels' Wilson interval."""
    k, n = counts
    assert Rate(k, n).interval == pytest.approx(proportion_confint(k, n, method="wilson"), abs=1e-9)


def test_a_share_of_nothing_is_none() -> None:
    """Where there is nothing to count there is no share, and no interval."""
    assert Rate(0, 0).value is None
    assert Rate(0, 0).interval is None


@given(st.lists(st.tuples(st.floats(-1, 1), st.floats(-1, 1)), min_size=1, max_size=30))
def test_rankings_are_those_of_scikit_learn(pairs: list[tuple[float, float]]) -> None:
    """AUROC of right against wrong labels is scikit-learn's, over all of a kind of wrongness."""
    told = [
        Told(i, "token", how, "text", "simulation", value)
        for i, values in enumerate(pairs)
        for how, value in zip(("right", "swapped"), values, strict=True)
    ]
    found = aurocs(told)["simulation"]
    truth = [t.how == "right" for t in told]
    assert found["swapped"] == pytest.approx(roc_auc_score(truth, [t.value for t in told]))
    assert found["all"] == found["swapped"]
    assert found["too broad"] is None


def test_what_predicts_nothing_ranks_last_and_what_was_not_scored_not_at_all() -> None:
    """A wrong label that is the same everywhere is below every right one; an unscored one is left out."""
    told = [
        Told(0, "token", "right", "a", "simulation", -0.5),
        Told(0, "token", "swapped", "b", "simulation", -np.inf),
        Told(1, "token", "right", "c", "simulation", -0.9),
        Told(1, "token", "swapped", "d", "simulation", None),
        Told(2, "token", "right", "e", "simulation", None),
        Told(2, "token", "swapped", "f", "simulation", -0.7),
    ]
    # Of 1 no wrong label was scored, and of 2 no right one: -0.5 stands against -inf and -0.7.
    assert aurocs(told)["simulation"]["swapped"] == 1.0


def test_counts_say_what_they_count() -> None:
    """Recovered is accepted and right; false accepts are counted among scored labels; ECE over all scored."""
    found = Evaluation(
        "run",
        (
            judged("token", right=True),
            judged("token", right=True, status="review", confidence=0.5),
            judged("and", right=False),
            judged("random firing", confidence=1.0),
            judged("random firing", status="rejected", confidence=0.0),
            judged("random firing", status="unscorable", label=None, confidence=None),
        ),
        (),
        ("form",),
    )
    assert found.recovery == {"token": Rate(1, 2), "and": Rate(0, 1), "all": Rate(1, 3)}
    assert found.accepted["all"] == Rate(2, 3)
    assert found.false_accepts == {"random firing": Rate(1, 2), "all": Rate(1, 2)}
    assert found.unscored == {"random firing": 1}
    said, right = np.asarray([0.9, 0.5, 0.9, 1.0, 0.0]), np.asarray([1, 1, 0, 0, 0])
    bins = np.minimum((said * 10 - 1e-9).astype(int), 9)
    expected = sum(abs(right[bins == b].sum() - said[bins == b].sum()) for b in np.unique(bins)) / 5
    assert found.ece == pytest.approx(expected)
    assert list(found.to_json()) == ["recovery", "false_accept_rate", "auroc", "ece"]
    assert found.to_json()["false_accept_rate"] == {"random firing": 0.5, "all": 0.5}


def test_key_words_count_in_any_form() -> None:
    """A label names a key word that it has in another form, and an ending that it has in a word."""
    assert share_named(("returned", "yield"), 'forms of "return"') == 0.5
    assert share_named(("ing",), 'words ending in "-ing"') == 1.0
    assert share_named(("must", "may", "dog"), "modal verbs") == pytest.approx(2 / 3)
    assert share_named((), "anything") is None
