"""Kappa and alpha against scikit-learn and nltk, and intervals against resampling unit by unit."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nltk.metrics.agreement import AnnotationTask
from sklearn.metrics import cohen_kappa_score

from exegete.datastore.store import Store
from exegete.review.agreement import Coefficient, Ratings, agreement, alpha, kappa
from exegete.review.record import Act, record
from tests.review.labelled import key, outcome, workspace_of

RATINGS = st.lists(
    st.dictionaries(st.sampled_from(["ann", "bob", "eve"]), st.booleans(), max_size=3),
    min_size=1,
    max_size=25,
)


def as_units(said: list[dict[str, bool]]) -> Ratings:
    """Ratings by numbered units."""
    return {(str(i),): one for i, one in enumerate(said)}


@settings(max_examples=60, deadline=None)
@given(RATINGS)
def test_kappa_is_scikit_learns(said: list[dict[str, bool]]) -> None:
    """For every pair; undefined where both always say the same one thing, or share nothing."""
    for a, b in combinations(("ann", "bob", "eve"), 2):
        both = [(one[a], one[b]) for one in said if a in one and b in one]
        found = kappa(as_units(said), (a, b))
        assert found.n == len(both)
        if not both or len({x for pair in both for x in pair}) == 1:
            assert found.value is None
        else:
            assert found.value == pytest.approx(cohen_kappa_score(*zip(*both, strict=True)))


@settings(max_examples=60, deadline=None)
@given(RATINGS)
def test_alpha_is_nltks(said: list[dict[str, bool]]) -> None:
    """With missing ratings; undefined without two answers among units that two rated."""
    shared = [one for one in said if len(one) > 1]
    found = alpha(as_units(said))
    assert found.n == len(shared)
    if len({answer for one in shared for answer in one.values()}) < 2:
        assert found.value is None
        return
    triples = [(who, str(i), answer) for i, one in enumerate(shared) for who, answer in one.items()]
    assert found.value == pytest.approx(AnnotationTask(triples).alpha())


def test_intervals_are_those_of_resampled_units() -> None:
    """Counting kinds of units gives what drawing the units one by one gives, up to the noise of the draws."""
    rng = np.random.default_rng(4)
    said = [{"ann": bool(a), "bob": bool(a if rng.random() < 0.8 else not a)} for a in rng.random(80) < 0.6]
    found = kappa(as_units(said), ("ann", "bob"))
    assert found.value is not None
    assert found.low is not None
    assert found.high is not None
    drawn = []
    for _ in range(1000):
        some = [said[i] for i in rng.integers(0, len(said), len(said))]
        drawn.append(cohen_kappa_score([one["ann"] for one in some], [one["bob"] for one in some]))
    low, high = np.quantile(drawn, [0.025, 0.975])
    assert (found.low, found.high) == (pytest.approx(low, abs=0.03), pytest.approx(high, abs=0.03))
    assert found.low < found.value < found.high


def test_what_counts_as_a_rating(tmp_path: Path) -> None:
    """First decisions that stand, label by label; who writes a label accepts it; one alone is no agreement.

    ann and bob agree on 0, not on 1, and on the text that ann wrote for 2; bob changes his mind on 1.
    """
    workspace = workspace_of(tmp_path / "w", [outcome(i) for i in range(5)])

    def does(who: str, index: int, kind: str, seen: str | None = None, text: str | None = None) -> None:
        record(workspace, Act(key(index), kind, who, seen or f"label {index}", text))  # type: ignore[arg-type]

    does("ann", 0, "accept")
    does("bob", 0, "accept")
    does("ann", 1, "accept")
    does("bob", 1, "reject")
    store = Store(workspace.labels)
    assert agreement(store).disagreements == 1
    does("bob", 1, "accept")
    does("ann", 2, "edit", text="mine")
    does("bob", 2, "accept", "mine")
    does("ann", 3, "accept")
    does("eve", 4, "skip")
    found = agreement(store)
    assert found.reviewers == ("ann", "bob")
    assert (found.alpha.n, found.same, found.disagreements) == (3, pytest.approx(2 / 3), 0)
    triples = [
        ("ann", "0", 1),
        ("bob", "0", 1),
        ("ann", "1", 1),
        ("bob", "1", 0),
        ("ann", "2", 1),
        ("bob", "2", 1),
    ]
    assert found.alpha.value == pytest.approx(AnnotationTask(triples).alpha())
    assert found.kappa[("ann", "bob")].value == pytest.approx(cohen_kappa_score([1, 1, 1], [1, 0, 1]))


def test_nobody_to_agree_with(tmp_path: Path) -> None:
    """Without a label that two people decided about there is no figure."""
    found = agreement(Store(workspace_of(tmp_path / "w", [outcome(0)]).labels))
    assert found.alpha == Coefficient(None, None, None, 0)
    assert (found.kappa, found.same, found.reviewers) == ({}, None, ())
