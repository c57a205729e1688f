"""Confidence mapped to what people decided, and to what is known of planted features."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from exegete.agent.confidence import keep_checked, map_confidence, map_every_run
from exegete.datastore.store import Store
from exegete.datastore.workspace import Workspace
from exegete.scorers.calibration import expected_calibration_error, fit
from tests.review.deciding import decide_as_person

BEGUN = datetime(2026, 3, 1)
SIMULATION, DETECTION = "simulation@1(fake@1)", "detection@1(fake@1)"


def outcome(index: int, confidence: float | None, harvest: str = "real", run: str = "r") -> dict[str, Any]:
    """A row of `outcomes`, as far as confidence goes."""
    return {
        "run": run,
        "harvest": harvest,
        "feature_index": index,
        "polarity": "+",
        "status": "review",
        "label": f"label {index}",
        "confidence": confidence,
        "why": "",
        "rounds": 1,
        "candidates": 1,
        "scorer": SIMULATION,
        "density": 0.01,
        "maximum": 1.0,
        "made_at": BEGUN,
    }


def review(index: int, decision: str, text: str | None = None, minutes: int = 1) -> dict[str, Any]:
    """A row of `reviews` about the run's own label, or another text."""
    return {
        "harvest": "real",
        "feature_index": index,
        "polarity": "+",
        "decision": decision,
        "label_before": text or f"label {index}",
        "reviewer": "ann",
        "made_at": BEGUN + timedelta(minutes=minutes),
    }


def filled(folder: Path, real: Sequence[float | None], planted: Sequence[float] = ()) -> Store:
    """A labels file with a finished run over real and planted features of the same indices."""
    store = Store(folder / "labels.duckdb")
    common = {"subject": "s", "site": "l", "dictionary": "d", "tokens": 1, "sha256": "0", "parameters": "{}"}
    rows = [outcome(i, share) for i, share in enumerate(real)]
    rows += [outcome(i, share, "planted") for i, share in enumerate(planted)]
    q_values = [
        {"run": "r", "scorer": scorer, "feature_index": i, "polarity": "+", "q_value": 0.5}
        for scorer in (SIMULATION, DETECTION)
        for i in range(len(real))
    ]
    store.insert(
        {
            "harvests": [
                common | {"harvest": "real", "kind": "harvest"},
                common | {"harvest": "planted", "kind": "controls"},
            ],
            "outcomes": rows,
            "q_values": q_values,
        }
    )
    return store


def mapped(store: Store, scorer: str = SIMULATION) -> dict[int, float | None]:
    """Mapped confidence by feature."""
    rows = store.read("SELECT feature_index, confidence FROM store.q_values WHERE scorer = ?", [scorer])
    return {row["feature_index"]: row["confidence"] for row in rows}


def calibrations(store: Store) -> dict[str, dict[str, Any]]:
    """Rows of `calibrations` by source, details read."""
    rows = store.read("SELECT * FROM store.calibrations")
    return {row["source"]: row | {"details": json.loads(row["details"])} for row in rows}


def drawn(n: int, seed: int = 0) -> tuple[list[float], list[bool]]:
    """Shares, and whether labels were right: at half the rate that the shares promise."""
    rng = np.random.default_rng(seed)
    shares = rng.integers(0, 2001, n) / 2000
    return shares.tolist(), (rng.random(n) < shares / 2).tolist()


def map_run(store: Store) -> None:
    """Map in a transaction of its own."""
    store.write(lambda con: map_confidence(con, "r"))


def test_planted_features_map_the_confidence_of_real_ones(tmp_path: Path) -> None:
    """Real labels get the rates of the map, and only in the rows of the primary scorer; planted ones none."""
    planted, right = drawn(80)
    real: list[float | None] = [*drawn(30, 1)[0], None]
    store = filled(tmp_path, real, planted)
    known = {(i, "+"): truth for i, truth in enumerate(right)}
    store.write(lambda con: keep_checked(con, "r", "planted", known))
    expected = fit(planted, right)
    assert expected is not None
    found = mapped(store)
    for i, share in enumerate(real):
        assert found[i] == (None if share is None else pytest.approx(expected(share)))
    assert set(mapped(store, DETECTION).values()) == {None}
    row = calibrations(store)["controls"]
    assert (row["n"], row["details"]["used"], row["details"]["why_none"]) == (80, True, None)
    np.testing.assert_allclose(row["shares"], expected.shares)
    np.testing.assert_allclose(row["rates"], expected.rates)
    assert row["made_at"] == BEGUN


def test_errors_are_of_labels_that_were_held_out(tmp_path: Path) -> None:
    """The stated error is not the flattering one of labels that a map was fitted on; both are there."""
    shares, right = drawn(120, 3)
    store = filled(tmp_path, [], shares)
    known = {(i, "+"): truth for i, truth in enumerate(right)}
    store.write(lambda con: keep_checked(con, "r", "planted", known))
    row = calibrations(store)["controls"]
    details = row["details"]
    assert details["ece_raw"] == pytest.approx(expected_calibration_error(shares, right))
    assert details["ece_in_sample"] < row["ece"] < details["ece_raw"]
    assert details["brier_in_sample"] < details["brier_held_out"] < details["brier_raw"]
    assert details["n_right"] == sum(right)


def test_reviews_go_before_controls(tmp_path: Path) -> None:
    """What people decided about the run's own labels counts, and counts first."""
    shares, _ = drawn(60)
    store = filled(tmp_path, shares, drawn(60, 2)[0])
    wanted = [share > 0.5 for share in shares]
    reviews = [review(i, "accept" if yes else ("edit", "reject")[i % 2]) for i, yes in enumerate(wanted)]
    store.insert({"reviews": reviews})
    known = {(i, "+"): i % 2 == 0 for i in range(60)}
    store.write(lambda con: keep_checked(con, "r", "planted", known))
    rows = calibrations(store)
    assert rows["reviews"]["details"]["used"]
    assert not rows["controls"]["details"]["used"]
    assert rows["reviews"]["made_at"] == BEGUN + timedelta(minutes=1)
    expected = fit(shares, wanted)
    assert expected is not None
    assert mapped(store) == pytest.approx({i: expected(share) for i, share in enumerate(shares)})


def test_only_the_last_decision_about_the_very_label_counts(tmp_path: Path) -> None:
    """A decision about another text is none about this label, and a later one replaces an earlier one."""
    store = filled(tmp_path, [0.5] * 4)
    reviews = [
        review(0, "accept"),
        review(0, "reject", minutes=2),
        review(1, "accept", "somebody's own"),
        review(2, "edit"),
        review(2, "accept", "somebody's own", minutes=2),
        review(3, "accept"),
    ]
    store.insert({"reviews": reviews})
    map_run(store)
    row = calibrations(store)["reviews"]
    assert (row["n"], row["details"]["n_right"]) == (3, 1)


def test_too_little_is_kept_in_words(tmp_path: Path) -> None:
    """Some known labels, but too few to fit: no map, no mapped confidence, and the reason."""
    store = filled(tmp_path, [0.2, 0.9])
    store.insert({"reviews": [review(0, "reject"), review(1, "accept")]})
    map_run(store)
    row = calibrations(store)["reviews"]
    assert (row["shares"], row["rates"], row["ece"]) == ([], [], None)
    assert row["details"]["why_none"].startswith("2 labels of known truth, 1 right and 1 wrong")
    assert not row["details"]["used"]
    assert set(mapped(store).values()) == {None}


def test_nothing_known_writes_nothing(tmp_path: Path) -> None:
    """A run without reviews or controls has no map, not even an empty one."""
    store = filled(tmp_path, [0.2, 0.9])
    map_run(store)
    assert calibrations(store) == {}
    assert set(mapped(store).values()) == {None}


def test_mapping_anew_replaces(tmp_path: Path) -> None:
    """Mapping twice is mapping once; a map that is no longer backed is taken back."""
    shares, right = drawn(60)
    store = filled(tmp_path, shares, shares)
    known = {(i, "+"): truth for i, truth in enumerate(right)}
    store.write(lambda con: keep_checked(con, "r", "planted", known))
    once, before = mapped(store), calibrations(store)
    map_run(store)
    assert (mapped(store), calibrations(store)) == (once, before)
    store.write(lambda con: keep_checked(con, "r", "planted", {}))
    assert set(mapped(store).values()) == {None}
    assert calibrations(store) == {}


def test_other_runs_are_left_alone(tmp_path: Path) -> None:
    """A map is a run's own."""
    shares, right = drawn(60)
    store = filled(tmp_path, shares, shares)
    rows = [outcome(i, share, run="other") for i, share in enumerate(shares)]
    theirs = [
        {"run": "other", "scorer": SIMULATION, "feature_index": i, "polarity": "+", "q_value": 0.5}
        for i in range(60)
    ]
    store.insert({"outcomes": rows, "q_values": theirs})
    known = {(i, "+"): truth for i, truth in enumerate(right)}
    store.write(lambda con: keep_checked(con, "r", "planted", known))
    assert store.read("SELECT count(confidence) AS n FROM store.q_values WHERE run = 'other'") == [{"n": 0}]
    assert store.read("SELECT count(confidence) AS n FROM store.q_values WHERE run = 'r'") == [{"n": 60}]


def test_all_runs_at_once_are_each_run_by_itself(tmp_path: Path) -> None:
    """What a rebuild does for all runs is what a job does for its own."""
    shares, _ = drawn(60)
    store = filled(tmp_path, shares)
    store.insert(
        {"reviews": [review(i, "accept" if share > 0.5 else "reject") for i, share in enumerate(shares)]}
    )
    map_run(store)
    once, before = mapped(store), calibrations(store)
    store.write(lambda con: con.execute("DELETE FROM store.calibrations"))
    store.write(map_every_run)
    assert (mapped(store), calibrations(store)) == (once, before)


def test_a_decision_maps_at_once(tmp_path: Path) -> None:
    """With the decision that makes enough of them, all labels have a mapped confidence."""
    workspace = Workspace.open_or_create(tmp_path / "workspace")
    shares, _ = drawn(40)
    store = filled(workspace.root, shares)
    store.insert({"reviews": [review(i, "accept" if i % 2 else "reject") for i in range(29)]})
    map_run(store)
    assert set(mapped(store).values()) == {None}
    decide_as_person(workspace, 29, "+", "accept", None, "ann", None)
    assert None not in mapped(store).values()
    (row,) = store.read("SELECT confidence FROM labels WHERE feature_index = 39")
    assert row["confidence"] == mapped(store)[39]
