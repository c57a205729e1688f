"""What the public views say of runs: outcomes, scores, nulls and planted features."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from exegete.datastore.store import Store
from tests.datastore.view_rows import (
    HARVEST,
    Row,
    at,
    label,
    of,
    outcome,
    q_value,
    score,
)


def test_outcomes_scores_and_runs(tmp_path: Path) -> None:
    """The other views: outcomes by run, scores with their label's words, runs with counts; no row twice."""
    store = Store(tmp_path / "labels.duckdb")
    run = {
        "run": "r", "kind": "label", "harvest": "h", "digest": "d", "parameters": {"x": 1}, "version": "1",
        "made_at": at(0),
    }  # fmt: skip
    feature = {
        **of(1), "density": 0.1, "fired": 3, "maximum": 2.0, "threshold": 0.5, "metadata": {"name": "x"},
    }  # fmt: skip
    store.insert(
        {
            "harvests": [HARVEST],
            "features": [feature],
            "runs": [run, run | {"run": "empty"}],
            "outcomes": [outcome(1, 5, "a", "r", status="accepted"), outcome(2, 7, None, "r", status="dead")],
            "labels": [label(1, 1, "a", "r", "m"), label(1, 1, "a", "other run", "m")],
            "scores": [score(1, 1, "a", "r", 0.5), score(1, 1, "a", "r", 0.4, split="refine")],
            "q_values": [q_value(1, "r", 0.2)],
        }
    )
    outcomes = store.read("SELECT feature_index, status, q_value FROM outcomes ORDER BY 1")
    assert [tuple(row.values()) for row in outcomes] == [(1, "accepted", 0.2), (2, "dead", None)]
    scores = store.read("SELECT split, label, value, q_value, lift FROM scores ORDER BY split")
    assert [tuple(r.values())[:4] for r in scores] == [("refine", "a", 0.4, None), ("report", "a", 0.5, 0.2)]
    runs = store.read("SELECT run, attempted, accepted, dead, failed, finished_at FROM runs ORDER BY run")
    assert [tuple(row.values()) for row in runs] == [
        ("empty", None, None, None, None, None), ("r", 2, 1, 1, 0, at(7)),
    ]  # fmt: skip
    features = store.read("SELECT feature_index, layer, density, metadata->>'name' AS name FROM features")
    assert [tuple(row.values()) for row in features] == [(1, 3, 0.1, "x")]


def null(feature: int, kind: str, value: float | None, status: str | None, **more: Any) -> Row:
    return {
        **of(feature), "run": "r", "kind": kind, "text": "other", "of_index": None, "of_polarity": None,
        "scorer": "simulation@1", "value": value, "low": None, "high": None, "p_value": 0.5, "n_asked": 9,
        "n_read": 9, "why_none": None, "status": status, "made_at": at(9),
    } | more  # fmt: skip


RUN: Row = {
    "run": "r", "kind": "job", "harvest": "h", "digest": "d", "parameters": {}, "version": "1",
    "made_at": at(0),
}  # fmt: skip


def test_nulls_and_their_lift(tmp_path: Path) -> None:
    """Lift is the label's own value by the same scorer less the null's; runs have the distribution by kind.

    Against a loop over random values, of which some are undefined. A null that could not be tested counts in
    no share; another scorer's rows in no distribution.
    """
    rng = np.random.default_rng(3)
    kinds = ("another feature", "empty", "lexical")
    states = ("accepted", "review", "rejected", "unscorable", "failed")
    outcomes, labels, scores, nulls = [], [], [], []
    own: dict[tuple[int, str], float] = {}
    for feature in range(60):
        outcomes.append(outcome(feature, 1, "a", "r"))
        labels.append(label(feature, 1, "a", "r", "m"))
        for scorer in ("simulation@1", "detection@1"):
            own[feature, scorer] = float(rng.random())
            scores.append(score(feature, 1, "a", "r", own[feature, scorer], scorer=scorer))
            for kind in kinds:
                status = str(rng.choice(states)) if scorer.startswith("s") else None
                untested = status in ("unscorable", "failed") or rng.random() < 0.1
                value = None if untested else float(rng.random())
                nulls.append(null(feature, kind, value, status, scorer=scorer))
    store = Store(tmp_path / "labels.duckdb")
    store.insert(
        {
            "harvests": [HARVEST], "runs": [RUN], "outcomes": outcomes, "labels": labels, "scores": scores,
            "nulls": nulls, "null_plans": [{"run": "r", "wanted": 200}],
        }
    )  # fmt: skip
    found = store.read("SELECT * FROM nulls")
    assert len(found) == len(nulls)
    for row in found:
        score_of_label = own[row["feature_index"], row["scorer"]]
        assert (row["label"], row["score"]) == ("a", score_of_label)
        assert row["lift"] == (None if row["value"] is None else pytest.approx(score_of_label - row["value"]))
    (run,) = store.read("SELECT * FROM runs")
    assert (run["nulls_wanted"], run["nulls_done"]) == (200, 180)
    primary = [row for row in nulls if row["status"] is not None]
    for kind, name in zip(kinds, ("null", "empty", "lexical"), strict=True):
        values = [row["value"] for row in primary if row["kind"] == kind and row["value"] is not None]
        assert run[f"{name}_n"] == len(values)
        assert run[f"{name}_mean"] == pytest.approx(np.mean(values))
        assert run[f"{name}_p95"] == pytest.approx(np.quantile(values, 0.95))
    tested = [row["status"] for row in primary if row["kind"] == kinds[0] and row["status"] in states[:3]]
    assert run["null_accepted"] == pytest.approx(tested.count("accepted") / len(tested))


def test_what_a_run_asked_and_missed(tmp_path: Path) -> None:
    """Excerpts of its own primary report scores; features without a score are counted."""
    store = Store(tmp_path / "labels.duckdb")
    store.insert(
        {
            "harvests": [HARVEST],
            "runs": [RUN, RUN | {"run": "s"}],
            "outcomes": [
                outcome(1, 1, "a", "r"), outcome(2, 1, "b", "r", score=None), outcome(3, 1, None, "r"),
                outcome(1, 1, "a", "s"),
            ],
            "labels": [label(f, 1, t, r, "m") for f, t, r in ((1, "a", "r"), (2, "b", "r"), (1, "a", "s"))],
            "scores": [
                score(1, 1, "a", "r", 0.5, n_asked=60, n_read=57),
                score(1, 1, "a", "r", 0.5, n_asked=60, n_read=59, scorer="detection@1"),
                score(1, 1, "a", "r", 0.5, n_asked=30, n_read=1, split="refine"),
                score(2, 1, "b", "r", 0.5, n_asked=60, n_read=10),
                score(1, 1, "a", "s", 0.5, n_asked=20, n_read=20),
            ],
        }
    )  # fmt: skip
    found = store.read("SELECT run, unscored, asked, missing, nulls_wanted, null_n FROM runs ORDER BY run")
    assert [tuple(row.values()) for row in found] == [
        ("r", 2, 120, 53, None, None), ("s", 0, 20, 0, None, None),
    ]  # fmt: skip


def test_planted_features_are_seen_as_controls_alone(tmp_path: Path) -> None:
    """A harvest of planted features is in no other view and no count, though its indices are others' too."""
    store = Store(tmp_path / "labels.duckdb")
    planted = {"harvest": "planted"}
    example: Row = {
        **of(1), "rank": 0, "stratum": "top", "peak": 2.0, "weight": 1.0, "document": "d", "context_id": 1,
        "start": 0, "text": "t", "words": ["t"], "activations": [2.0],
    }  # fmt: skip
    feature = {**of(1), "density": 0.1, "fired": 3, "maximum": 2.0, "threshold": 0.5, "metadata": None}

    def of_both(row: Row) -> list[Row]:
        ids = {"label_id": f"planted:{row['label_id']}"} if row.get("label_id") else {}
        return [row, row | planted | ids]

    control: Row = {**of(1), **planted, "kind": "token", "truth": "a", "positive": True}
    real, hidden = score(1, 1, "a", "r", 0.5), score(1, 1, "a", "r", 0.9, label_id="planted:1:a")
    store.insert(
        {
            "harvests": [HARVEST | {"kind": "harvest"}, HARVEST | planted | {"kind": "controls"}],
            "features": of_both(feature),
            "runs": [RUN],
            "outcomes": of_both(outcome(1, 5, "a", "r", status="accepted")),
            "labels": of_both(label(1, 1, "a", "r", "m")),
            "scores": [real, hidden],
            "examples": of_both(example),
            "q_values": [q_value(1, "r", 0.2)],
            "controls": [
                control,
                control | {"feature_index": 2, "kind": "random", "truth": None, "positive": False},
            ],
        }
    )
    for view in ("labels", "outcomes", "features", "scores", "examples"):
        assert [row["harvest"] for row in store.read(f"SELECT harvest FROM {view}")] == ["h"], view
    (run,) = store.read("SELECT attempted, accepted, asked FROM runs")
    assert run == {"attempted": 1, "accepted": 1, "asked": 9}
    found = store.read(
        "SELECT kind, truth, positive, label, status, score, run FROM controls ORDER BY kind DESC"
    )
    assert [tuple(row.values()) for row in found] == [
        ("token", "a", True, "a", "accepted", 0.6, "r"),
        ("random", None, False, None, None, None, None),
    ]
