"""Another threshold over stored scores says what a job with that threshold says."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exegete.agent.rethreshold import COMPARED, Held, hold, set_threshold
from exegete.datastore.records import FeatureId, Label, Score
from exegete.datastore.store import Store
from exegete.errors import UsageError
from exegete.scorers.verdict import decide
from tests.agent import competent
from tests.agent.harness import Runner, competently, first, purpose, rows
from tests.agent.planted import TRUTH
from tests.agent.test_rebuild import rebuild

FEATURES = "4,6,7,8,9,10,11"


NUMBER = st.floats(0, 1)


def apart(number: float, thresholds: list[float]) -> float:
    """A number that is not between two thresholds, nor one of them."""
    low, high = thresholds
    return number if not low <= number <= high else (low - 0.01 if number < (low + high) / 2 else high + 0.01)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(NUMBER, min_size=3, max_size=3),
    st.fixed_dictionaries(dict.fromkeys(COMPARED, NUMBER)),
    st.integers(0, 400),
    st.integers(0, 60),
    st.lists(NUMBER, min_size=2, max_size=2).map(sorted),
    st.lists(NUMBER, min_size=2, max_size=2).map(sorted),
)
def test_nothing_else_is_compared(
    ends: list[float],
    details: dict[str, float],
    n_sampled: int,
    n_read: int,
    thresholds: list[float],
    other: list[float],
) -> None:
    """Between two thresholds with nothing in between that is compared, a verdict is the same."""
    low, value, high = sorted(apart(number, thresholds) for number in ends)
    known = {name: apart(number, thresholds) for name, number in details.items()} | {"n_sampled": n_sampled}
    feature = FeatureId("s", "l", "d", 1)
    primary = Score("simulation@1", "report", value, low, high, 0.0, 0.01, 60, n_read, None, known)
    beside = [Score("detection@1", "report", sum(other) / 2, *other, 0.5, 0.01, 60, 60)]
    first, second = (
        decide(feature, Label(feature, "x", "m"), primary, t, beside=beside, bars={"detection": 0.75})
        for t in thresholds
    )
    assert (first.status, first.reasons) == (second.status, second.reasons)


def unsure(request: Any) -> str:
    """Answer competently, but take feature 9 for feature 10."""
    if purpose(request) == "simulate":
        return competently(request)
    word, other = (TRUTH[feature].split('"')[1] for feature in (9, 10))
    return competent.answer(first(request)).replace(word, other)


def held(run: Runner, name: str, threshold: float) -> dict[int, Held]:
    """Labels of a run held against a threshold."""
    store = Store(run.workspace.labels)
    return {one.index: one for one in store.reading(lambda con: hold(con, name, threshold))}


def test_it_is_what_a_job_would_have_said(run: Runner) -> None:
    """At every threshold status, sentence and reasons are those of a job that had it, to the letter."""
    thresholds = (0.5, 0.2, 0.9, 0.995)
    for threshold in thresholds:
        run(unsure, features=FEATURES, name=f"at{threshold}", threshold=threshold)
    statuses = set()
    outcomes = rows(run.workspace, "SELECT * FROM outcomes")
    run_of = {(row["run"], row["feature_index"]): row for row in outcomes}
    for threshold in thresholds:
        found = held(run, "at0.5", threshold)
        wanted = rows(
            run.workspace, f"SELECT * FROM outcomes WHERE run = 'at{threshold}' AND scorer IS NOT NULL"
        )
        assert {row["feature_index"] for row in wanted} >= found.keys()
        for row in wanted:
            one = found.get(row["feature_index"])
            before = run_of["at0.5", row["feature_index"]]
            if one is not None:
                assert (one.status, one.why, list(one.reasons)) == (row["status"], row["why"], row["reasons"])
                assert one.before == before["status"]
            assert (one is not None and one.differs) == (row["status"] != before["status"])
            statuses.add(row["status"])
    assert statuses == {"accepted", "rejected", "review"}


def test_it_is_kept_with_the_decisions(run: Runner) -> None:
    """A labels file made anew has the thresholds that were set and the verdicts they changed."""
    run(features="8,9", name="night")
    store = Store(run.workspace.labels)
    set_threshold(store, "night", 0.9999, "ann")
    changed = rows(run.workspace, "SELECT feature_index, status, why, reasons FROM labels ORDER BY 1")
    assert {row["status"] for row in changed} == {"review"}
    run.workspace.labels.unlink()
    rebuilt = rebuild(run.workspace)
    assert rebuilt.missing == []
    again = Store(run.workspace.labels)
    assert again.read("SELECT feature_index, status, why, reasons FROM labels ORDER BY 1") == changed
    assert [r["reviewer"] for r in again.read("SELECT reviewer FROM store.thresholds")] == ["ann"]
    with pytest.raises(UsageError, match="there is no run 'day'"):
        set_threshold(again, "day", 0.5, "ann")
