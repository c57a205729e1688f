"""What the public views say is believed, against a literal reading of random histories."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from exegete.datastore.store import Store
from tests.datastore.view_rows import (
    HARVEST,
    Row,
    Tables,
    label,
    of,
    outcome,
    q_value,
    review,
    score,
)


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
