"""What the public views say is believed, against a literal reading of random histories."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from exegete.datastore.store import Store

START = datetime(2031, 1, 1)
Row = dict[str, Any]
Tables = dict[str, list[Row]]

HARVEST: Row = {
    "harvest": "h", "subject": "s@1", "site": "layers.3", "layer": 3, "dictionary": "neurons", "corpus": "c",
    "tokens": 1000, "sha256": "0", "parameters": {},
}  # fmt: skip


def at(minute: int) -> datetime:
    return START + timedelta(minutes=minute)


def of(feature: int) -> Row:
    return {"harvest": "h", "feature_index": feature, "polarity": "+"}


def outcome(feature: int, minute: int, label: str | None, run: str, **more: Any) -> Row:
    scored = {"scorer": "simulation@1", "score": 0.6, "low": 0.4, "high": 0.8, "chance": 0.1, "p_value": 0.01}
    row = {
        **of(feature), "run": run, "status": "review", "label": label, "author": "highlight/m@1",
        "confidence": 0.7, "why": "w", "rounds": 1, "candidates": 3, "refine_score": 0.65, "density": 0.002,
        "maximum": 4.0, "made_at": at(minute),
        "label_id": None if label is None else f"{feature}:{label}",
    }  # fmt: skip
    return row | (scored if label is not None else dict.fromkeys(scored)) | more


def review(feature: int, minute: int, decision: str, before: str | None, text: str | None = None) -> Row:
    return {
        **of(feature), "decision": decision, "text": text, "label_before": before, "reviewer": f"r{minute}",
        "label_id": f"{feature}:{text}" if decision == "edit" else None, "made_at": at(minute),
    }  # fmt: skip


def score(feature: int, minute: int, text: str, run: str, value: float, **more: Any) -> Row:
    return {
        "run": run, "label_id": f"{feature}:{text}", "scorer": "simulation@1", "split": "report",
        "value": value, "low": value - 0.1, "high": value + 0.1, "chance": 0.05, "p_value": 0.02,
        "n_asked": 9, "n_read": 9, "why_none": None, "details": {}, "made_at": at(minute),
    } | more  # fmt: skip


def label(feature: int, minute: int, text: str, run: str, author: str = "person") -> Row:
    return {
        **of(feature), "run": run, "label_id": f"{feature}:{text}", "round": 0, "text": text,
        "author": author, "made_at": at(minute),
    }  # fmt: skip


@pytest.fixture
def ask(tmp_path: Path) -> Callable[..., list[Row]]:
    """Rows of the labels view after some rows were inserted."""

    def run(**tables: list[Row]) -> list[Row]:
        store = Store(tmp_path / "labels.duckdb")
        store.insert({"harvests": [HARVEST], **tables})
        return store.read("SELECT * FROM labels ORDER BY feature_index")

    return run


Ask = Callable[..., list[Row]]
SCORE_COLUMNS = ("score", "low", "high", "chance", "lift", "p_value", "q_value", "confidence", "scorer")


def test_a_run_that_failed_hides_no_label(ask: Callable[..., list[Row]]) -> None:
    """What was found before counts, until another run finds something; where all failed, that is said."""
    failed = {"status": "failed", "why": "the server is gone"}
    outcomes = [
        outcome(1, 1, "first", "a"), outcome(1, 2, None, "b", **failed),
        outcome(2, 1, "first", "a"), outcome(2, 2, None, "b", **failed), outcome(2, 3, "third", "c"),
        outcome(3, 1, None, "a", **failed), outcome(3, 2, None, "b", **failed),
    ]  # fmt: skip
    found = {
        row["feature_index"]: (row["label"], row["status"], row["run"]) for row in ask(outcomes=outcomes)
    }
    assert found == {1: ("first", "review", "a"), 2: ("third", "review", "c"), 3: (None, "failed", "b")}


def test_a_run_alone(ask: Ask) -> None:
    """Without reviews, a feature is what its run concluded, with the harvest's facts beside it."""
    (row,) = ask(outcomes=[outcome(1, 0, "a", "run")])
    assert (row["label"], row["status"], row["author"]) == ("a", "review", "highlight/m@1")
    assert row["lift"] == pytest.approx(0.5)
    assert (row["layer"], row["site"], row["report_looks"], row["reviewer"]) == (3, "layers.3", 1, None)


def test_the_latest_outcome_wins(ask: Ask) -> None:
    """Of several runs the latest counts; of two at one moment, the one named last. All are looks."""
    rows = ask(
        outcomes=[
            outcome(1, 5, "new", "a"), outcome(1, 2, "old", "z"),
            outcome(2, 3, "x", "a"), outcome(2, 3, "y", "b"), outcome(2, 1, None, "c", status="failed"),
        ]
    )  # fmt: skip
    assert [(row["label"], row["run"], row["report_looks"]) for row in rows] == [
        ("new", "a", 2),
        ("y", "b", 2),
    ]


@pytest.mark.parametrize(("decision", "status"), [("accept", "accepted"), ("reject", "rejected")])
def test_a_decision_about_the_current_label(ask: Ask, decision: str, status: str) -> None:
    """Accepting or rejecting the label sets the status and names the person; the scores stay."""
    (row,) = ask(outcomes=[outcome(1, 0, "a", "run")], reviews=[review(1, 1, decision, "a")])
    assert (row["label"], row["status"], row["reviewer"], row["score"]) == ("a", status, "r1", 0.6)


@pytest.mark.parametrize("decision", ["accept", "reject"])
def test_a_decision_about_another_label(ask: Ask, decision: str) -> None:
    """What was decided about a label that a later run replaced says nothing about the new one."""
    (row,) = ask(
        outcomes=[outcome(1, 0, "a", "r1"), outcome(1, 9, "b", "r2")], reviews=[review(1, 1, decision, "a")]
    )
    assert (row["label"], row["status"], row["reviewer"]) == ("b", "review", None)


def test_a_feature_without_a_label_can_be_rejected(ask: Ask) -> None:
    """A rejection of no label holds while there is none: missing equals missing here."""
    (row,) = ask(
        outcomes=[outcome(1, 0, None, "r", status="unscorable")], reviews=[review(1, 1, "reject", None)]
    )
    assert (row["label"], row["status"]) == (None, "rejected")


def test_an_edited_label_keeps_no_score_of_another_text(ask: Ask) -> None:
    """An edit is accepted, by a person, and without any figure that was measured on the old text."""
    (row,) = ask(
        outcomes=[outcome(1, 0, "a", "run")],
        reviews=[review(1, 1, "edit", "a", "mine")],
        q_values=[q_value(1, "run", 0.03)],
    )
    assert (row["label"], row["status"], row["author"], row["reviewer"]) == (
        "mine", "accepted", "person", "r1",
    )  # fmt: skip
    assert {name: row[name] for name in SCORE_COLUMNS} == dict.fromkeys(SCORE_COLUMNS)


def test_an_edited_label_has_its_own_score(ask: Ask) -> None:
    """Once its own text is scored on the report split by the primary scorer, the latest score stands."""
    (row,) = ask(
        outcomes=[outcome(1, 0, "a", "run")],
        reviews=[review(1, 1, "edit", "a", "mine")],
        labels=[label(1, 2, "mine", "person-1"), label(1, 3, "mine", "person-2")],
        scores=[
            score(1, 2, "mine", "person-1", 0.3),
            score(1, 3, "mine", "person-2", 0.4),
            score(1, 4, "mine", "person-2", 0.9, scorer="detection@1"),
            score(1, 5, "mine", "person-2", 0.8, split="refine"),
            score(1, 6, "other", "person-2", 0.7),
        ],
    )
    assert (row["score"], row["p_value"], row["scorer"]) == (0.4, 0.02, "simulation@1")
    assert row["lift"] == pytest.approx(0.35)
    assert (row["q_value"], row["confidence"]) == (None, None)
    assert row["report_looks"] == 2


@pytest.mark.parametrize(("decision", "status"), [("accept", "accepted"), ("reject", "rejected")])
def test_a_decision_about_an_edited_label(ask: Ask, decision: str, status: str) -> None:
    """Accepting a colleague's edit keeps it, rejecting it rejects it: neither brings the old text back."""
    (row,) = ask(
        outcomes=[outcome(1, 0, "a", "run")],
        reviews=[review(1, 1, "edit", "a", "mine"), review(1, 2, decision, "mine")],
    )
    assert (row["label"], row["status"], row["author"]) == ("mine", status, "person")
    assert (row["reviewer"], row["score"]) == ("r2", None)


def test_a_later_run_after_an_edit(ask: Ask) -> None:
    """A person's text outranks a later run's; one that a person rejected makes way for it."""
    rows = ask(
        outcomes=[outcome(f, m, t, r) for f in (1, 2) for m, t, r in ((0, "a", "r1"), (9, "b", "r2"))],
        reviews=[
            review(1, 1, "edit", "a", "mine"),
            review(2, 1, "edit", "a", "mine"), review(2, 2, "reject", "mine"),
        ],
    )  # fmt: skip
    assert [(row["label"], row["status"], row["reviewer"]) for row in rows] == [
        ("mine", "accepted", "r1"), ("b", "review", None),
    ]  # fmt: skip


def q_value(feature: int, run: str, value: float, scorer: str = "simulation@1") -> Row:
    return {
        "run": run, "scorer": scorer, "feature_index": feature, "polarity": "+", "q_value": value,
    }  # fmt: skip


def test_q_values(ask: Ask) -> None:
    """A q-value is of its own run, scorer and feature; one feature is one row however many there are."""
    rows = ask(
        outcomes=[outcome(1, 0, "a", "r1"), outcome(1, 5, "b", "r2"), outcome(2, 0, "c", "r1")],
        q_values=[
            q_value(1, "r1", 0.1), q_value(1, "r2", 0.2), q_value(1, "r2", 0.9, "detection@1"),
            q_value(2, "r2", 0.5),
        ],
    )  # fmt: skip
    assert [(row["feature_index"], row["q_value"]) for row in rows] == [(1, 0.2), (2, None)]


def test_polarities_and_harvests_are_apart(ask: Ask) -> None:
    """The two sides of a neuron, and one index in two harvests, are features of their own."""
    other = {**of(1), "polarity": "-"}
    second = {**of(1), "harvest": "h2"}
    rows = ask(
        harvests=[HARVEST, HARVEST | {"harvest": "h2"}],
        outcomes=[
            outcome(1, 0, "a", "r"), outcome(1, 0, "b", "r") | other, outcome(1, 0, "c", "r2") | second,
        ],
        reviews=[review(1, 1, "reject", "b") | other],
        q_values=[q_value(1, "r", 0.5) | {"polarity": "-"}],
    )  # fmt: skip
    found = {(r["harvest"], r["polarity"]): (r["label"], r["status"], r["q_value"]) for r in rows}
    assert found == {
        ("h", "+"): ("a", "review", None),
        ("h", "-"): ("b", "rejected", 0.5),
        ("h2", "+"): ("c", "review", None),
    }


def random_history(feature: int, rng: np.random.Generator) -> Tables:
    """Runs, reviews of whatever label was shown at the time, and scores of people's texts, in any order."""
    tables: Tables = {"outcomes": [], "reviews": [], "labels": [], "scores": [], "q_values": []}
    for minute in range(int(rng.integers(1, 9))):
        run, shown = f"run{minute}", literal(feature, tables)
        kind = rng.choice(["run", "accept", "reject", "edit", "score"]) if shown else "run"
        if kind == "run":
            text = (["a", "b", "c", None])[int(rng.integers(4))]
            tables["outcomes"].append(outcome(feature, minute, text, run))
            if text is not None and rng.random() < 0.7:
                tables["q_values"].append(q_value(feature, run, float(rng.random())))
        elif kind == "score":
            text = rng.choice(["a", "mine", "other"])
            tables["labels"].append(label(feature, minute, text, run))
            tables["scores"].append(score(feature, minute, text, run, float(rng.random())))
        elif shown is not None:
            text = str(rng.choice(["mine", "other", "a"])) if kind == "edit" else None
            tables["reviews"].append(review(feature, minute, str(kind), shown["label"], text))
    return tables


def literal(feature: int, tables: Tables) -> Row | None:
    """What is believed of a feature, by going through its history from the start."""
    if not tables["outcomes"]:
        return None
    o = tables["outcomes"][-1]
    edits = [r for r in tables["reviews"] if r["decision"] == "edit"]
    last = tables["reviews"][-1] if tables["reviews"] else None
    q = [x["q_value"] for x in tables["q_values"] if x["run"] == o["run"]]
    looks = sum(x["scorer"] is not None for x in tables["outcomes"])
    looks += len({x["label_id"] for x in tables["labels"]})
    found = {
        "label": o["label"], "status": o["status"], "author": o["author"], "score": o["score"],
        "q_value": q[0] if q else None, "confidence": o["confidence"], "reviewer": None,
        "report_looks": looks, "run": o["run"],
    }  # fmt: skip
    if last is None:
        return found
    own = edits and (last["decision"] == "edit" or last["label_before"] == edits[-1]["text"])
    if own and last["decision"] == "reject" and last["made_at"] < o["made_at"]:
        return found
    if own:
        scores = [s["value"] for s in tables["scores"] if s["label_id"] == edits[-1]["label_id"]]
        return found | {
            "label": edits[-1]["text"], "author": "person", "reviewer": last["reviewer"],
            "status": "rejected" if last["decision"] == "reject" else "accepted",
            "score": scores[-1] if scores else None, "q_value": None, "confidence": None,
        }  # fmt: skip
    if last["label_before"] == o["label"]:
        found["reviewer"] = last["reviewer"]
        found["status"] = {"accept": "accepted", "reject": "rejected"}[last["decision"]]
    return found


def test_random_histories(ask: Ask) -> None:
    """Three hundred features with runs, decisions and scores in any order read as they should."""
    merged: Tables = {"outcomes": [], "reviews": [], "labels": [], "scores": [], "q_values": []}
    expected = []
    for feature in range(300):
        history = random_history(feature, np.random.default_rng(feature))
        expected.append(literal(feature, history))
        for name, rows in history.items():
            merged[name] += rows
    found = ask(**merged)
    assert len(found) == 300
    for row, wanted in zip(found, expected, strict=True):
        assert wanted is not None
        assert {name: row[name] for name in wanted} == wanted


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


def test_what_a_label_says_of_itself(ask: Ask) -> None:
    """Reasons, senses, independence and twins are the run's; a mapped confidence goes before the raw one.

    None of them is kept for a text that a person put in the label's place.
    """
    said = {"reasons": ["scorers disagree"], "senses": ["x", "y"], "independence": "same model"}
    rows = ask(
        outcomes=[outcome(f, 0, "a", "run", **said) for f in (1, 2, 3)],
        q_values=[
            q_value(1, "run", 0.1) | {"confidence": 0.4, "twins": 2},
            q_value(2, "run", 0.1) | {"confidence": None, "twins": 0},
            q_value(3, "run", 0.1) | {"confidence": 0.4, "twins": 2},
        ],
        reviews=[review(3, 1, "edit", "a", "mine")],
    )
    columns = (*said, "twins", "confidence")
    assert [[row[name] for name in columns] for row in rows] == [
        [*said.values(), 2, 0.4],
        [*said.values(), 0, 0.7],
        [None] * 5,
    ]


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
