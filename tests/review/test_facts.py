"""What a card knows of its feature, whichever way it is asked for."""

from __future__ import annotations

from pathlib import Path

from exegete.datastore.evidence_rows import Key as IndexKey
from exegete.datastore.store import Store
from exegete.datastore.workspace import Workspace
from exegete.review.believed import Lasting
from exegete.review.pages.facts import Facts, read_facts
from exegete.review.record import Act, record
from tests.review.labelled import BEGUN, key, outcome, row_of, workspace_of

NEAR: list[tuple[IndexKey, float]] = [((1, "+"), 0.9), ((2, "+"), 0.8), ((7, "+"), 0.1)]


def facts(workspace: Workspace, index: int) -> Facts:
    """Of a feature whose neighbours are others."""
    found = read_facts(Store(workspace.labels), key(index), NEAR, Lasting())
    assert found is not None
    return found


def test_a_card_says_what_the_view_says(tmp_path: Path) -> None:
    """Of features that nobody touched, and once somebody decided, edited or scored a label of one of them."""
    workspace = workspace_of(tmp_path / "w", [outcome(i, status="accepted") for i in range(4)])

    def agree() -> None:
        for index in range(4):
            found = facts(workspace, index)
            assert found.row == row_of(workspace, index)
            near = [(row["label"], row["status"]) for row in found.neighbours]
            rows = [row_of(workspace, i) for i in (1, 2)]
            assert near == [*((row["label"], row["status"]) for row in rows), (None, "not labelled")]

    agree()
    assert facts(workspace, 0).events == ()
    record(workspace, Act(key(1), "reject", "ann", "label 1"))
    agree()
    assert [event["decision"] for event in facts(workspace, 1).events] == ["reject"]
    assert facts(workspace, 0).neighbours[0]["status"] == "rejected"
    record(workspace, Act(key(2), "edit", "ann", "label 2", text="mine"))
    agree()
    said = {"harvest": "h", "feature_index": 3, "polarity": "+", "made_at": BEGUN}
    own = {"run": "person-1", "label_id": "own", "round": 0, "text": "own", "author": "person"}
    score = {"run": "person-1", "label_id": "own", "scorer": "simulation@1", "split": "report", "value": 0.1}
    more = {"n_asked": 9, "n_read": 9, "made_at": BEGUN}
    Store(workspace.labels).insert({"labels": [said | own], "scores": [score | more]})
    agree()
    assert facts(workspace, 3).row["report_looks"] == 2


def test_no_result_is_no_card(tmp_path: Path) -> None:
    """Also where its neighbours have one."""
    workspace = workspace_of(tmp_path / "w", [outcome(i) for i in range(4)])
    assert read_facts(Store(workspace.labels), key(9), NEAR, Lasting()) is None
