"""What people did, to the row: nothing is overwritten or decided unseen, and all can be taken back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from exegete import __version__
from exegete.agent.events import events_folder, read_events, rows_by_key
from exegete.datastore.store import Store
from exegete.datastore.workspace import Workspace
from exegete.errors import UsageError
from exegete.review.record import REASONS, Act, Kind, Stale, record, redo, undo
from tests.review.labelled import key, outcome, row_of, workspace_of


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """Six labels that wait."""
    return workspace_of(tmp_path / "w", [outcome(i) for i in range(6)])


def act(index: int, kind: Kind, reviewer: str = "ann", **more: Any) -> Act:
    """An act about a label that nobody has touched."""
    return replace(Act(key(index), kind, reviewer, f"label {index}"), **more)


def events(workspace: Workspace) -> list[dict[str, Any]]:
    """Rows of the view `reviews`, in order."""
    return Store(workspace.labels).read("SELECT * FROM reviews ORDER BY reviewed_at")


def test_a_decision_about_another_label_is_refused(workspace: Workspace) -> None:
    """What was seen must be what is there: after an edit, and after another run; remarks are always taken."""
    record(workspace, act(0, "edit", text="better"))
    for kind, text in (("accept", None), ("reject", None), ("edit", "worse")):
        with pytest.raises(Stale, match="feature 0 has another label now, 'better'"):
            record(workspace, act(0, kind, "bob", text=text))  # type: ignore[arg-type]
    for kind in ("skip", "flag", "comment"):
        record(workspace, act(0, kind, "bob", comment="hm" if kind == "comment" else None))  # type: ignore[arg-type]
    later = outcome(1)["made_at"].replace(year=2027)
    Store(workspace.labels).insert({"outcomes": [outcome(1, run="s", label="other", made_at=later)]})
    with pytest.raises(Stale, match="another label now, 'other'"):
        record(workspace, act(1, "accept"))
    record(workspace, act(1, "accept", label_seen="other"))
    assert [row["decision"] for row in events(workspace)] == ["edit", "skip", "flag", "comment", "accept"]
    assert [row["label_before"] for row in events(workspace)][1:] == ["label 0"] * 3 + ["other"]


def test_what_is_refused(workspace: Workspace) -> None:
    """No reviewer, no such feature, no label to accept, an empty edit or comment, a reason that is none."""
    Store(workspace.labels).insert({"outcomes": [outcome(7, status="dead", label=None, label_id=None)]})
    refused = [
        (act(0, "accept", " "), "say who reviews"),
        (act(9, "accept"), "feature 9 of h has no result yet"),
        (act(7, "accept", label_seen=None), "is dead and has no label to accept"),
        (act(0, "edit", text=" \u202e"), "can't be used"),
        (act(0, "edit", text="x" * 301), "can't be used"),
        (act(0, "comment", comment="\t"), "says nothing"),
        (act(0, "comment", comment="x" * 2001), "2,001 characters are too many"),
        (act(0, "reject", reason="ugly"), "'ugly' is no reason"),
        (act(0, "accept", reason="wrong"), "is no reason"),
    ]
    for wrong, sentence in refused:
        with pytest.raises(UsageError, match=sentence):
            record(workspace, wrong)
    assert events(workspace) == []
    edited = record(workspace, act(7, "edit", label_seen=None, text="a label after all"))
    assert (edited.row["label"], edited.row["status"]) == ("a label after all", "accepted")


def test_undo_gives_back_what_was(workspace: Workspace) -> None:
    """Status, label and score are as before, the flag is gone, and a new act cuts what could be redone."""
    before = row_of(workspace, 0)
    record(workspace, act(0, "edit", text="mine"))
    assert row_of(workspace, 0)["score"] is None
    record(workspace, act(1, "flag"))
    assert undo(workspace, "bob") is None
    first, second = undo(workspace, "ann"), undo(workspace, "ann")
    assert first is not None
    assert second is not None
    assert (first.row["feature_index"], second.row) == (1, before)
    assert undo(workspace, "ann") is None
    again = redo(workspace, "ann")
    assert again is not None
    assert again.row["label"] == "mine"
    record(workspace, act(2, "skip"))
    assert redo(workspace, "ann") is None
    stands = [(row["decision"], row["stands"]) for row in events(workspace)]
    assert stands == [
        *(("edit", True), ("flag", False), ("undo", False), ("undo", False)),
        *(("redo", False), ("skip", False)),
    ]


def test_nobody_is_undone_beneath(workspace: Workspace) -> None:
    """A decision that somebody else has built on, or decided over, is neither taken back nor put back."""
    record(workspace, act(0, "edit", text="mine"))
    record(workspace, act(0, "accept", "bob", label_seen="mine"))
    with pytest.raises(Stale, match="bob has decided about feature 0 since"):
        undo(workspace, "ann")
    record(workspace, act(1, "accept"))
    undo(workspace, "ann")
    record(workspace, act(1, "edit", "bob", text="his"))
    with pytest.raises(Stale, match="bob has decided about feature 1 since"):
        redo(workspace, "ann")
    undo(workspace, "bob")
    assert redo(workspace, "ann") is not None
    assert row_of(workspace, 1)["status"] == "accepted"


def test_redo_is_about_the_label_that_was(workspace: Workspace) -> None:
    """When another run has written another label meanwhile, what was undone stays so."""
    record(workspace, act(0, "accept"))
    undo(workspace, "ann")
    later = outcome(0)["made_at"].replace(year=2027)
    Store(workspace.labels).insert({"outcomes": [outcome(0, run="s", label="other", made_at=later)]})
    with pytest.raises(Stale, match="has another label now"):
        redo(workspace, "ann")


def test_times_rise_whatever_the_clock_does(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a clock that stands still, and one that was set back, events keep their order."""
    times = iter([2, 2, 2, 1, 0, 3, 3, 3])
    monkeypatch.setattr(
        "exegete.review.record.now", lambda: outcome(0)["made_at"].replace(day=5 + next(times))
    )
    for kind in ("accept", "reject", "accept", "reject"):
        record(workspace, act(0, kind))  # type: ignore[arg-type]
    found = events(workspace)
    assert [row["decision"] for row in found] == ["accept", "reject", "accept", "reject"]
    assert len({row["reviewed_at"] for row in found}) == len({row["event"] for row in found}) == 4
    assert row_of(workspace, 0)["status"] == "rejected"


PLAN: list[tuple[Kind, dict[str, Any]]] = [
    ("accept", {}),
    ("edit", {"text": "a better  label"}),
    *(("reject", {"reason": reason}) for reason in REASONS),
    ("reject", {"text": "in my own words", "comment": "and more"}),
    ("skip", {}),
    ("flag", {}),
    ("comment", {"comment": "look \x1b[31mhere"}),
    ("accept", {"blind_text": "what I thought", "audit": True}),
    ("unflag", {}),
    ("accept", {"audit": True}),
    ("reject", {"reason": "wrong", "audit": True}),
]
"""One act a feature; with an undo after every fifth and a redo after every tenth, fifty events and more."""


def test_a_session_of_fifty(tmp_path: Path) -> None:
    """Fifty acts of every kind with undo and redo: what they leave in `reviews`, to the row."""
    n = 38
    outcomes = [outcome(i, confidence=i / 100, score=i / 50) for i in range(n)]
    workspace = workspace_of(tmp_path / "w", outcomes)
    expected: list[dict[str, Any]] = []
    for i in range(n):
        kind, more = PLAN[i % len(PLAN)]
        done = record(workspace, act(i, kind, seconds=i + 0.5, **more))
        common = {
            **{"feature_index": i, "polarity": "+", "harvest": "h", "run": "r", "reviewer": "ann"},
            **{"status_before": "review", "score_before": i / 50, "confidence_before": i / 100},
            **{"version": __version__, "label_before": f"label {i}"},
        }
        empty = {"text": None, "reason": None, "comment": None, "blind_text": None, "target": None}
        own = {**empty, "audit": False, **more}
        own["text"] = "a better label" if kind == "edit" else own["text"]
        own["comment"] = own["comment"] and own["comment"].replace("\x1b[31m", "")
        expected.append(
            {**common, **own, "decision": kind, "seconds": i + 0.5, "event": done.event}
            | {"stands": kind in ("accept", "edit", "reject")}
        )
        taken = {**common, **empty, "audit": None, "seconds": None, "stands": False, "target": done.event}
        if i % 5 == 4:
            back = undo(workspace, "ann")
            assert back is not None
            status = done.row["status"]
            label = done.row["label"]
            seen = {
                "status_before": status,
                "label_before": label,
                **({"score_before": None, "confidence_before": None} if kind == "edit" else {}),
            }
            expected.append({**taken, **seen, "decision": "undo", "event": back.event})
            if i % 10 == 9:
                forth = redo(workspace, "ann")
                assert forth is not None
                expected.append({**taken, "decision": "redo", "event": forth.event})
            else:
                expected[-2]["stands"] = False
    found = events(workspace)
    assert len(found) == len(expected) >= 48
    for row, wanted in zip(found, expected, strict=True):
        assert {name: value for name, value in row.items() if name != "reviewed_at"} == wanted
    noted = rows_by_key(read_events(events_folder(workspace.labels)), "reviews")
    assert list(noted.values()) == Store(workspace.labels).read(
        "SELECT * FROM store.reviews ORDER BY made_at"
    )
