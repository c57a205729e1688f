"""What is put together of a feature is its row of the view `labels`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from exegete.datastore.store import Store
from exegete.review.believed import Believed, believed
from tests.datastore.test_labels_view import random_history
from tests.datastore.view_rows import HARVEST, Row, Tables, at, of, q_value, review

FEATURES = 150


def more_of(history: Tables, feature: int, rng: np.random.Generator) -> Tables:
    """A history with what `random_history` leaves out.

    Runs that failed, thresholds set since, mapped confidence, and decisions that are taken
    back and put back.
    """
    for number, row in enumerate(history["reviews"]):
        row.update(event=f"{feature}-{number}", target=None)
    for row in list(history["reviews"]):
        for kind in ("undo", "redo")[: rng.integers(3)]:
            minute = 10 + len(history["reviews"])
            again = review(feature, minute, kind, None)
            history["reviews"].append(again | {"event": f"{feature}-{minute}", "target": row["event"]})
    extra = {"reasons": ["a"], "senses": ["x", "y"], "independence": "i", "tests": 3, "tests_held": 1}
    more = {"generation": 0.5, "generation_low": 0.4, "generation_high": 0.6, "output_label": "o"}
    reverdicts: list[Row] = []
    for row in history["outcomes"]:
        row.update(extra | more | ({"status": "failed"} if rng.random() < 0.2 else {}))
        if rng.random() < 0.4:
            status = {"status": "accepted", "why": "now", "reasons": [[], None][rng.integers(2)]}
            reverdicts.append({**of(feature), "run": row["run"]} | status)
    for row in history["scores"]:  # what an earlier version noted does not say whose it is
        row.update(feature_index=feature if rng.random() < 0.8 else None)
    for row in history["q_values"]:
        row.update(confidence=None if rng.random() < 0.5 else 0.4, twins=2)
    return history | {"reverdicts": reverdicts}


def filled(path: Path) -> Store:
    """Random histories of features of both polarities, and one planted feature."""
    store = Store(path)
    merged: Tables = {"harvests": [HARVEST | {"kind": "harvest"}]}
    merged["harvests"].append(HARVEST | {"harvest": "planted", "kind": "controls"})
    for feature in range(FEATURES):
        rng = np.random.default_rng(feature)
        history = more_of(random_history(feature, rng), feature, rng)
        polarity = {"polarity": "-"} if feature % 7 == 3 else {}
        for name, rows in history.items():
            own = [row | polarity if "polarity" in row else row for row in rows]
            merged[name] = [*merged.get(name, ()), *own]
    merged["outcomes"].append(merged["outcomes"][0] | {"harvest": "planted"})
    merged["q_values"].append(q_value(0, "another run", 0.9) | {"confidence": 0.9, "twins": 9})
    set_since = {"threshold": 0.4, "reviewer": "ann", "version": "1"}
    merged["thresholds"] = [{"run": "run0", "made_at": at(m)} | set_since for m in (2, 3, 1)]
    merged["thresholds"][1]["threshold"] = 0.3
    store.insert(merged)
    return store


def of_some(store: Store, indices: Iterable[int], harvest: str = "h") -> list[Believed]:
    """What is believed of each of some features."""
    return store.reading(lambda con: [believed(con, harvest, index) for index in indices])


def test_it_is_the_view(tmp_path: Path) -> None:
    """Every column of a feature, and what others are called, over random histories of runs and people."""
    store = filled(tmp_path / "labels.duckdb")
    wanted = {(row["feature_index"], row["polarity"]): row for row in store.read("SELECT * FROM labels")}
    assert len(wanted) == FEATURES
    assert {row["status"] for row in wanted.values()} >= {"accepted", "rejected", "review", "failed"}
    assert {row["author"] for row in wanted.values()} >= {"person", "highlight/m@1"}
    every = of_some(store, range(FEATURES + 9))
    assert {key: row for one in every for key, row in one.rows.items()} == wanted
    assert every[0].thresholds == {"run0": 0.3}
    called = {key: {name: row[name] for name in ("label", "status", "score")} for key, row in wanted.items()}
    for index in (3, FEATURES + 8):
        among = store.reading(lambda con, index=index: believed(con, "h", index, range(FEATURES + 9)))
        assert among.rows == every[index].rows
        assert among.others == called


def test_what_stands_is_as_in_the_view(tmp_path: Path) -> None:
    """Events with whether they stand, the latest first."""
    store = filled(tmp_path / "labels.duckdb")
    names = ("event", "decision", "stands", "reviewed_at")
    wanted: dict[tuple[int, str], list[Row]] = {}
    for row in store.read("SELECT * FROM reviews ORDER BY reviewed_at DESC"):
        event = {name: row[name] for name in names}
        wanted.setdefault((row["feature_index"], row["polarity"]), []).append(event)
    of_each = [one.events for one in of_some(store, range(FEATURES))]
    found = {key: events for one in of_each for key, events in one.items()}
    assert {
        key: [{n: event[n] for n in names} for event in events] for key, events in found.items()
    } == wanted
    assert max(map(len, wanted.values())) > 3


def test_planted_features_have_no_row(tmp_path: Path) -> None:
    """As in the view: they are controls."""
    store = filled(tmp_path / "labels.duckdb")
    for harvest in ("planted", "nowhere"):
        (found,) = of_some(store, [0], harvest)
        assert found.rows == {}
