"""A person's decision about a label, as a row that is only ever added."""

from __future__ import annotations

from typing import Any, Literal

import duckdb

from exegete.agent.confidence import map_confidence
from exegete.agent.events import note_rows
from exegete.agent.rows import label_id, now
from exegete.datastore.records import FeatureId, Label, Polarity
from exegete.datastore.store import Store, insert_rows
from exegete.datastore.workspace import Workspace
from exegete.errors import UsageError
from exegete.explainers.hygiene import clean, why_refused

Decision = Literal["accept", "edit", "reject"]


def decide_as_person(
    workspace: Workspace,
    index: int,
    polarity: Polarity,
    decision: Decision,
    text: str | None,
    reviewer: str,
    harvest: str | None,
) -> dict[str, Any]:
    """Record a decision about a feature's current label.

    Args:
        workspace: where the label is.
        index: the feature.
        polarity: its side.
        decision: accept, edit or reject.
        text: the edited label, or the reason of a rejection.
        reviewer: who decides.
        harvest: the feature's harvest, or a part of its name; needed only when several have the feature.

    Returns:
        The feature's row of the `labels` view as it is now.

    Raises:
        UsageError: there is no such labelled feature, or the text can't be a label.
    """
    store = Store(workspace.labels)
    where = "feature_index = ? AND polarity = ? AND contains(harvest, ?)"
    known = [index, polarity, harvest or ""]
    rows = store.read(f"SELECT * FROM labels WHERE {where}", known)
    if not rows:
        raise UsageError(f"feature {index}{polarity.strip('+')} has no result yet: label it first")
    if len(rows) > 1:
        raise UsageError(f"choose with --harvest among {', '.join(row['harvest'] for row in rows)}")
    row = rows[0]
    if decision == "accept" and row["label"] is None:
        raise UsageError(
            f"feature {index} is {row['status']} and has no label to accept: write one with edit"
        )
    cleaned = None if text is None else clean(text)
    edited_id = None
    if decision == "edit":
        if refused := why_refused(cleaned or ""):
            raise UsageError(f"the label can't be used ({refused}): say in a sentence what makes it fire")
        feature = FeatureId(row["subject"], row["site"], row["dictionary"], index, polarity)
        edited_id = label_id(row["harvest"], Label(feature, cleaned or "", "person"))
    review = {
        "harvest": row["harvest"],
        "feature_index": index,
        "polarity": polarity,
        "decision": decision,
        "text": cleaned,
        "label_before": row["label"],
        "label_id": edited_id,
        "reviewer": reviewer,
        "made_at": now(),
    }

    def work(con: duckdb.DuckDBPyConnection) -> None:
        insert_rows(con, "reviews", [review])
        map_confidence(con, row["run"])
        note_rows(store, {"reviews": [review]})

    store.write(work)
    return store.read(f"SELECT * FROM labels WHERE {where}", known)[0]
