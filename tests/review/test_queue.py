"""What a person is asked to look at, in which order, and which cards are dealt at random."""

from __future__ import annotations

from math import log2
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from scipy import stats

from exegete.datastore.store import Store
from exegete.datastore.workspace import Workspace
from exegete.errors import UsageError
from exegete.review.audit import PLACE, SECOND, SLICE, is_dealt, place, slices
from exegete.review.keys import Key
from exegete.review.queue import Which, counts, queue, stamp
from exegete.review.record import Act, record
from exegete.review.worth import SETTLED, in_words
from exegete.scorers.triangulation import SENTENCES
from tests.review.labelled import key, outcome, row_of, workspace_of

N = 600


def varied(index: int) -> dict[str, Any]:
    """A label with a confidence, a density and reasons of its own; every third waits."""
    rng = np.random.default_rng(index)
    status = ("review", "accepted", "rejected")[index % 3]
    reasons = [
        *([SETTLED] if rng.random() < 0.5 else []),
        *(["scorers disagree"] if rng.random() < 0.3 else []),
    ]
    return outcome(
        index,
        status=status,
        confidence=None if rng.random() < 0.1 else float(rng.integers(0, 2001)) / 2000,
        density=float(10 ** rng.uniform(-5, -1)),
        reasons=reasons if status == "review" else [],
        tests=8 if rng.random() < 0.3 else None,
        tests_held=int(rng.integers(5, 9)),
    )


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """600 labels of one run; not to be decided about."""
    twins = {index: index % 7 for index in range(0, N, 5)}
    return workspace_of(tmp_path_factory.mktemp("many") / "w", [varied(i) for i in range(N)], twins)


def worth_of(row: dict[str, Any]) -> float:
    """The formula, by hand."""
    doubts = sum(reason != SETTLED for reason in row["reasons"] or [])
    doubts += (row["twins"] or 0) > 0
    doubts += row["tests"] is not None and row["tests_held"] < row["tests"]
    p = 0.5 if row["confidence"] is None else row["confidence"]
    p = 0.5 + (p - 0.5) / 2**doubts
    bits = 0.0 if p in (0.0, 1.0) else -p * log2(p) - (1 - p) * log2(1 - p)
    return float(bits * (1000 * row["density"]) ** 0.25)


def test_worth_is_the_formula(many: Workspace) -> None:
    """The queue's worth is entropy of the doubted confidence times the root of density, of every label."""
    rows = {row["feature_index"]: row for row in Store(many.labels).read("SELECT * FROM labels")}
    items = queue(Store(many.labels), which="all")
    assert len(items) == N
    assert [item.worth for item in items] == sorted((item.worth for item in items), reverse=True)
    for item in items:
        assert item.worth == pytest.approx(worth_of(rows[item.key.index]), abs=1e-9)


def test_a_tenth_is_dealt_at_random(many: Workspace) -> None:
    """Whatever waits is in the queue; a tenth of it is random, of every status, about one in each ten cards.

    Beside the slice, cards come by worth.
    """
    items = queue(Store(many.labels), limit=N)
    by_worth = [item for item in items if not item.audit]
    dealt = [item for item in items if item.audit]
    waiting = {
        row["feature_index"]
        for row in Store(many.labels).read("SELECT * FROM labels WHERE status = 'review'")
    }
    assert waiting <= {item.key.index for item in items}
    assert len({item.key for item in items}) == len(items)
    assert [item.worth for item in by_worth] == sorted((item.worth for item in by_worth), reverse=True)
    (one,) = Store(many.labels).reading(slices)
    expected = one.share * N / (len(waiting) + one.share * (N - len(waiting)))
    assert expected == pytest.approx(SLICE)
    assert stats.binomtest(len(dealt), len(items), SLICE).pvalue > 0.01
    assert len({item.status for item in dealt}) == 3
    places = [items.index(item) // 10 for item in dealt]
    assert places == list(range(len(dealt)))
    assert {items.index(item) % 10 for item in dealt} != {0}


def test_the_slice_is_a_property_of_the_card(many: Workspace) -> None:
    """It is the same in every queue, whatever is searched for, and is what `is_dealt` says."""
    store = Store(many.labels)
    everywhere = {item.key: item.audit for item in queue(store, which="all")}
    for item in [*queue(store), *queue(store, which="audit"), *queue(store, search="label 1")]:
        assert item.audit == everywhere[item.key]
    assert {item.key for item in queue(store, which="audit")} == {
        k for k, dealt in everywhere.items() if dealt
    }
    some = [key(i) for i in range(0, N, 10)]
    assert [store.reading(lambda con, k=k: is_dealt(con, "r", k)) for k in some] == [
        everywhere[k] for k in some
    ]
    assert not store.reading(lambda con: is_dealt(con, "no run", key(0)))
    places = [place(slices_of(store)[0].salt, item.key) for item in queue(store, which="audit")]
    assert places == sorted(places)


def slices_of(store: Store) -> list[Any]:
    """Slices of all runs."""
    return store.reading(slices)


def test_places_are_uniform_and_the_same_in_sql(many: Workspace) -> None:
    """SQL and Python give a feature one number, evenly spread, another one by another salt."""
    sql = (
        f"SELECT l.feature_index, l.polarity, {PLACE.format(salt='CAST(77 AS UBIGINT)', name='a')}, "
        f"{PLACE.format(salt='CAST(4294967295 AS UBIGINT)', name='b')} "
        "FROM (SELECT i AS feature_index, p AS polarity FROM range(2000) t(i), (VALUES ('+'), ('-')) s(p)) l"
    )
    rows = Store(many.labels).read(sql)
    for name, salt in (("a", 77), ("b", 4294967295)):
        found = [row[name] for row in rows]
        assert found == [place(salt, Key("h", row["feature_index"], row["polarity"])) for row in rows]
        assert stats.kstest(found, "uniform").pvalue > 0.01
    assert abs(np.corrcoef([row["a"] for row in rows], [row["b"] for row in rows])[0, 1]) < 0.05


@pytest.fixture
def few(tmp_path: Path) -> Workspace:
    """Twelve labels in two harvests, all of which wait."""
    rows = [outcome(i, confidence=0.5 - i / 100) for i in range(8)]
    rows += [
        outcome(i, harvest="other", run="s", label=f"Sea {i}", reasons=["scorers disagree"]) for i in range(4)
    ]
    return workspace_of(tmp_path / "w", rows)


def indices(workspace: Workspace, **wanted: Any) -> list[tuple[str, int]]:
    """Harvest and index of the cards of a queue."""
    return [(item.key.harvest, item.key.index) for item in queue(Store(workspace.labels), **wanted)]


def test_filters(few: Workspace) -> None:
    """By harvest, run, layer, status, reason and text; a search finds an index too, and no wildcard."""
    assert len(indices(few)) == 12
    others = [("other", i) for i in range(4)]
    for wanted in ({"harvest": "oth"}, {"run": "s"}, {"reason": "scorers disagree"}, {"search": "sEA"}):
        assert sorted(indices(few, **wanted)) == others
    assert len(indices(few, layer=3)) == 12
    assert indices(few, layer=4) == indices(few, search="%") == indices(few, status="rejected") == []
    assert sorted(indices(few, search="7")) == [("h", 7)]
    assert len(indices(few, limit=5)) == 5
    with pytest.raises(UsageError, match="there is no queue 'best'"):
        indices(few, which="best")


def test_a_saved_query_is_a_queue(few: Workspace) -> None:
    """Its features in its order, whatever their status; with what is wrong with it in a sentence."""
    record(few, Act(key(3), "accept", "ann", "label 3"))
    sql = (
        "SELECT feature_index, harvest FROM labels WHERE harvest = 'h' AND feature_index > 1 ORDER BY 1 DESC"
    )
    assert indices(few, sql=sql) == [("h", i) for i in (7, 6, 5, 4, 3, 2)]
    both = indices(few, sql="SELECT 2 AS feature_index")
    assert sorted(both) == [("h", 2), ("other", 2)]
    assert indices(few, sql="SELECT 2 AS feature_index, '-' AS polarity") == []
    for wrong, sentence in (
        ("SELECT label FROM labels", "returns feature_index"),
        ("SELECT label AS feature_index FROM labels", "as a number"),
        ("DELETE FROM store.reviews", "a query only reads"),
        ("SELECT", "can't be run"),
    ):
        with pytest.raises(UsageError, match=sentence):
            indices(few, sql=wrong)


def test_what_people_did_moves_cards(few: Workspace) -> None:
    """Decided cards leave; skipped ones come last for who skipped them, until their label changes."""
    store, before = Store(few.labels), stamp(Store(few.labels))
    first = queue(store)[0].key
    record(few, Act(first, "skip", "ann", row_of_key(store, first)["label"]))
    assert queue(store, reviewer="ann")[-1].key == first
    assert queue(store, reviewer="bob")[0].key == queue(store)[0].key == first
    record(few, Act(first, "reject", "ann", row_of_key(store, first)["label"]))
    assert first not in [item.key for item in queue(store)]
    assert len(queue(store)) == 11
    record(few, Act(key(1), "flag", "ann", "label 1"))
    record(few, Act(key(2), "flag", "ann", "label 2"))
    record(few, Act(key(2), "unflag", "bob", "label 2"))
    assert indices(few, which="flagged") == [("h", 1)]
    assert stamp(store) != before


def row_of_key(store: Store, wanted: Key) -> dict[str, Any]:
    """A feature's row of `labels`."""
    (row,) = store.read(
        "SELECT * FROM labels WHERE harvest = ? AND feature_index = ?", [wanted.harvest, wanted.index]
    )
    return row


def test_second_reviews(many: Workspace, tmp_path: Path) -> None:
    """A tenth of decided cards is dealt again, to others than who decided; once they did, to nobody."""
    workspace = workspace_of(tmp_path / "w", [outcome(i, status="accepted") for i in range(400)])
    reviews = [
        {
            **{"harvest": "h", "feature_index": i, "polarity": "+", "decision": "accept", "reviewer": "ann"},
            **{"label_before": f"label {i}", "made_at": outcome(0)["made_at"], "event": str(i)},
        }
        for i in range(400)
    ]
    store = Store(workspace.labels)
    store.insert({"reviews": reviews})
    again = queue(store, which="second", reviewer="bob")
    assert stats.binomtest(len(again), 400, SECOND).pvalue > 0.01
    assert queue(store, which="second", reviewer="ann") == queue(store, which="second") == []
    assert {item.key for item in queue(store, reviewer="bob")} == {item.key for item in again}
    assert queue(store, reviewer="ann") == []
    one = again[0].key
    record(workspace, Act(one, "reject", "bob", f"label {one.index}"))
    assert one not in {item.key for item in queue(store, which="second", reviewer="eve")}
    assert [item.key for item in queue(store, which="disagreements")] == [one]
    record(workspace, Act(one, "flag", "bob", f"label {one.index}"))
    for who in ("bob", "eve", None):
        held = {which: len(queue(store, which=which, reviewer=who)) for which in get_args(Which)}
        assert counts(store, who) == held
        assert held["flagged"] == held["disagreements"] == 1
    record(workspace, Act(one, "accept", "ann", f"label {one.index}"))
    assert queue(store, which="disagreements") == []


def test_reasons_are_in_words() -> None:
    """Every reason has a sentence with a subject; tests and twins are counted; else the verdict speaks."""
    empty = {"reasons": None, "tests": None, "tests_held": None, "twins": None, "why": "r = .9 clears .5"}
    assert in_words(empty) == ("r = .9 clears .5",)
    said = in_words(empty | {"reasons": list(SENTENCES), "tests": 8, "tests_held": 5, "twins": 1})
    assert len(said) == len(SENTENCES) + 2
    assert said[-2:] == ("3 of 8 tests on the subject failed", "1 other feature has this label")
    assert not any(clause.startswith(("is ", "was ")) for clause in said)
    assert in_words(empty | {"twins": 1200}) == ("1,200 other features have this label",)
    assert in_words(empty | {"reasons": ["a reason of the future"], "tests": 8, "tests_held": 8}) == (
        "a reason of the future",
    )


def test_every_queue_can_be_asked_for(few: Workspace) -> None:
    """Each name there is gives a list."""
    for which in get_args(Which):
        assert isinstance(queue(Store(few.labels), which=which, reviewer="ann"), list)
    assert row_of(few, 7)["status"] == "review"
