"""What people did comes back when the labels file is made anew, with every column it had."""

from __future__ import annotations

from exegete.agent.events import append, events_folder
from exegete.datastore.store import Store
from exegete.review.keys import find, key_of
from exegete.review.record import Act, record, redo, undo
from tests.agent.harness import Runner, rows
from tests.agent.test_rebuild import rebuild


def test_events_come_back_with_every_column(run: Runner) -> None:
    """Decisions, remarks, undo and redo, and beside them one noted before there were such columns."""
    run(features="8,9,10", name="night")
    row = find(Store(run.workspace.labels), 8, "+")
    seen, eight = row["label"], key_of(row)
    record(run.workspace, Act(eight, "flag", "ann", seen))
    record(run.workspace, Act(eight, "comment", "ann", seen, comment="look here"))
    record(run.workspace, Act(eight, "reject", "ann", seen, reason="wrong", seconds=3.5, audit=True))
    undo(run.workspace, "ann")
    redo(run.workspace, "ann")
    other = find(Store(run.workspace.labels), 9, "+")
    record(run.workspace, Act(key_of(other), "edit", "bob", other["label"], "mine", blind_text="a guess"))
    old = {
        **{
            "harvest": row["harvest"],
            "feature_index": 10,
            "polarity": "+",
            "decision": "accept",
            "text": None,
        },
        **{"label_before": find(Store(run.workspace.labels), 10, "+")["label"], "label_id": None},
        **{"reviewer": "eve", "made_at": row["labelled_at"]},
    }
    append(events_folder(run.workspace.labels), {"rows": {"reviews": [old]}})
    Store(run.workspace.labels).insert({"reviews": [old]})
    before = rows(run.workspace, "SELECT * FROM store.reviews ORDER BY made_at")
    believed = rows(run.workspace, "SELECT * FROM labels ORDER BY feature_index")
    run.workspace.labels.unlink()
    rebuild(run.workspace)
    store = Store(run.workspace.labels)
    assert store.read("SELECT * FROM store.reviews ORDER BY made_at") == before
    assert len(before) == 7
    columns = "feature_index, label, status, reviewer, score, author, reasons"
    wanted = [{name: one[name] for name in columns.split(", ")} for one in believed]
    assert store.read(f"SELECT {columns} FROM labels ORDER BY feature_index") == wanted
    assert [one["status"] for one in wanted] == ["rejected", "accepted", "accepted"]
