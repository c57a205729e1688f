"""What reviews say of scores: rates by band, the threshold for a rate, and what another one would change."""

from __future__ import annotations

from datetime import timedelta
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.isotonic import IsotonicRegression
from statsmodels.stats.proportion import proportion_confint

from exegete.agent.rethreshold import set_threshold
from exegete.datastore.store import Store
from exegete.datastore.workspace import Workspace
from exegete.errors import UsageError
from exegete.review.calibrating import (
    LEAST,
    Audited,
    _least,
    accept_rates,
    audited,
    preview,
    refresh,
    threshold_for,
)
from exegete.review.record import Act, record, undo
from tests.review.labelled import BEGUN, SCORER, key, outcome, row_of, workspace_of
from tests.review.paged import visiting


def cards(low: NDArray[Any], right: NDArray[Any], plain: NDArray[Any] | None = None) -> Audited:
    """Random cards whose score is a tenth above its lower end."""
    plain = np.ones(len(low), bool) if plain is None else plain
    return Audited(np.minimum(low + 0.1, 1.0), low, plain, right)


def drawn(n: int, seed: int = 0) -> Audited:
    """Cards that are accepted the more often the better they score."""
    rng = np.random.default_rng(seed)
    low = np.round(rng.uniform(-0.2, 0.95, n), 2)
    return cards(low, rng.random(n) < np.clip(0.2 + low, 0, 1))


def test_rates_by_band() -> None:
    """Every scored card is in one band; rates have the intervals of statsmodels."""
    found, some = accept_rates(drawn(500)), drawn(500)
    assert sum(band.n for band in found) == 500
    for band in found:
        last = band.high == 1.0
        inside = (some.score >= band.low) & ((some.score <= 1.0) if last else (some.score < band.high))
        k, n = int(some.right[inside].sum()), int(inside.sum())
        assert (band.accepted, band.n, band.rate) == (k, n, k / n)
        low, high = proportion_confint(k, n, method="jeffreys")
        assert band.rate_low == pytest.approx(0.0 if k == 0 else low)
        assert band.rate_high == pytest.approx(1.0 if k == n else high)
    assert accept_rates(cards(np.array([]), np.array([], bool))) == []
    assert accept_rates(cards(np.array([np.nan]), np.array([True]))) == []


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(-5, 20), st.booleans()), min_size=1, max_size=40),
    st.sampled_from([0.5, 0.8, 0.95]),
)
def test_the_threshold_is_the_least_that_reaches_the_rate(pairs: list[tuple[int, bool]], rate: float) -> None:
    """Against scikit-learn's isotonic fit, its mean taken over every card above every candidate."""
    low, right = np.array([p[0] / 20 for p in pairs]), np.array([p[1] for p in pairs])
    fitted = IsotonicRegression().fit(low, right.astype(float)).predict(low)
    reached = [t for t in sorted(set(low.tolist())) if fitted[low >= t].mean() >= rate - 1e-9]
    assert _least(low, right, rate) == (reached[0] if reached else inf)


def test_a_threshold_has_an_interval_that_shrinks() -> None:
    """It holds the threshold; ten times the cards make it narrower; the rate above it is as wanted."""
    small, large = threshold_for(drawn(200), 0.8), threshold_for(drawn(2000), 0.8)
    assert small.value is not None
    assert large.value is not None
    for found in (small, large):
        assert found.low is not None
        assert found.high is not None
        assert found.low <= found.value <= found.high  # type: ignore[operator]
    assert large.high - large.low < small.high - small.low  # type: ignore[operator]
    assert large.accepted_above / large.n_above >= 0.78
    # The mean of min(.2 + x, 1) over x from t to .95 is .8 where t² / 2 - .6 t + .13 = 0.
    assert large.value == pytest.approx(0.6 - 0.1**0.5, abs=0.03)


def test_no_threshold() -> None:
    """Too few cards, or a rate none has; cards with another doubt or without interval don't count."""
    few = threshold_for(drawn(LEAST - 1))
    assert few.value is None
    assert f"needs {LEAST}" in (few.why_none or "")
    never = threshold_for(cards(np.linspace(0, 1, 40), np.arange(40) % 2 == 0))
    assert never.value is None
    assert "fewer than 95%" in (never.why_none or "")
    assert (never.low, never.high) == (pytest.approx(never.low), None)
    low = np.linspace(0, 0.9, 60)
    doubted = threshold_for(cards(low, np.ones(60, bool), np.arange(60) < LEAST - 1))
    assert (doubted.value, doubted.n) == (None, LEAST - 1)
    unknown = low.copy()
    unknown[10:] = np.nan
    assert threshold_for(cards(unknown, np.ones(60, bool))).n == 10


def score_row(index: int, scorer: str, value: float, half: float, **details: float) -> dict[str, Any]:
    """A row of `scores` on the report split."""
    return {
        **{"run": "r", "label_id": f"id{index}", "scorer": scorer, "split": "report", "value": value},
        **{"low": value - half, "high": value + half, "chance": 0.0, "p_value": 0.001, "n_asked": 60},
        **{"n_read": 60, "why_none": None, "details": details, "made_at": BEGUN},
    }


@pytest.fixture
def scored(tmp_path: Path) -> Workspace:
    """Forty labels with scores from 0 to .975 in steps of .025, each known to .1 either way."""
    rows, scores = [], []
    for i in range(40):
        value, half = i / 40, 0.1
        status = "accepted" if value - half >= 0.5 else "rejected" if value + half < 0.5 else "review"
        reasons = ["interval straddles the threshold"] if status == "review" else []
        rows.append(
            outcome(i, score=value, low=value - half, high=value + half, status=status, reasons=reasons)
        )
        scores.append(score_row(i, SCORER, value, half))
    return workspace_of(tmp_path / "w", rows, scores=scores)


def test_a_preview_is_what_is_then_done(scored: Workspace) -> None:
    """Counts before and after add up; setting the threshold makes the view what was promised, and a person's
    decision stays. Setting the run's own gives back what the run said."""
    store = Store(scored.labels)
    before = {row["feature_index"]: row for row in store.read("SELECT * FROM labels")}
    record(scored, Act(key(10), "accept", "ann", "label 10"))
    promised = preview(store, "r", 0.3)
    assert sum(promised.before.values()) == sum(promised.after.values()) == 40
    assert promised.decided == 1
    assert {("review", "accepted"), ("rejected", "review")} <= promised.moved.keys()
    set_threshold(store, "r", 0.3, "ann")
    rows = store.read("SELECT * FROM labels ORDER BY feature_index")
    for row in rows:
        i, low, high = row["feature_index"], row["low"], row["high"]
        status = "accepted" if low >= 0.3 else "rejected" if high < 0.3 else "review"
        assert row["status"] == ("accepted" if i == 10 else status), i
        assert row["reasons"] == (["interval straddles the threshold"] if status == "review" else [])
        if status != before[i]["status"] and i != 10:
            assert ".30" in row["why"]
    counts = {status: sum(row["status"] == status for row in rows) for status in promised.after}
    assert counts == dict(promised.after)
    assert preview(store, "r", 0.3).moved == {}
    assert [r["status"] for r in store.read("SELECT status FROM outcomes ORDER BY feature_index")] == [
        before[i]["status"] for i in range(40)
    ]
    set_threshold(store, "r", 0.5, "bob")
    undo(scored, "ann")
    assert [row_of(scored, i)["status"] for i in (0, 10, 20, 39)] == [
        before[i]["status"] for i in (0, 10, 20, 39)
    ]
    history = store.read("SELECT threshold, reviewer FROM store.thresholds ORDER BY made_at")
    assert [tuple(row.values()) for row in history] == [(0.3, "ann"), (0.5, "bob")]
    for run, threshold, sentence in (("none", 0.5, "no run 'none'"), ("r", 1.0, "can't be used")):
        with pytest.raises(UsageError, match=sentence):
            set_threshold(store, run, threshold, "ann")


def test_only_random_cards_that_stand_are_read(scored: Workspace) -> None:
    """Audit cards, their latest decision, about the run's own label; others say nothing here."""
    store = Store(scored.labels)
    record(scored, Act(key(1), "accept", "ann", "label 1", audit=True))
    record(scored, Act(key(2), "accept", "ann", "label 2"))
    record(scored, Act(key(3), "edit", "ann", "label 3", text="mine", audit=True))
    record(scored, Act(key(3), "accept", "bob", "mine", audit=True))
    record(scored, Act(key(20), "reject", "ann", "label 20", audit=True))
    record(scored, Act(key(20), "accept", "ann", "label 20", audit=True))
    record(scored, Act(key(21), "accept", "ann", "label 21", audit=True))
    undo(scored, "ann")
    found = audited(store, "r")
    np.testing.assert_allclose(found.score, [1 / 40, 3 / 40, 20 / 40])
    assert found.right.tolist() == [True, False, True]
    assert found.plain.all()


def test_a_later_run_is_chosen_instead(scored: Workspace) -> None:
    """A run none of whose labels is current any more has nothing to change."""
    store = Store(scored.labels)
    again = [outcome(i, run="s", made_at=BEGUN + timedelta(days=1)) for i in range(40)]
    store.insert({"outcomes": again})
    with pytest.raises(UsageError, match="a later run has labelled all features of r again"):
        preview(store, "r", 0.3)


def test_the_page_says_it_all(scored: Workspace) -> None:
    """Rates by band, what confidence is mapped by, the threshold, and what another one would change."""
    for i in range(40):
        record(scored, Act(key(i), "accept" if i >= 15 else "reject", "ann", f"label {i}", audit=True))
    refresh(Store(scored.labels), "r")
    with visiting(scored) as ann:
        page = ann.get("/calibration?threshold=0.3")
        counts = [row.text.split() for row in page.elements("td") if " of " in row.text]
        assert (sum(int(c[0]) for c in counts), sum(int(c[2]) for c in counts)) == (25, 40)
        assert "40 random cards, of which 25 were right" in page.one("map").text
        # The lower end of the score of label 15, the first that was accepted; one above is wanted for 95%.
        assert page.one("found").text.startswith("From .25 ")
        assert "Of the 26 above it they accepted 25." in page.one("found").text
        assert "40 labels that people decided about stay as they are." in page.one("change-title").inside.text  # type: ignore[union-attr]
    with visiting(scored) as bob:
        assert "Nothing changes." in bob.get("/calibration?threshold=0.5").html
