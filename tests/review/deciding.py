"""Decisions as the tests of other folders make them: about whatever label is current."""

from __future__ import annotations

from typing import Any

from exegete.datastore.records import Polarity
from exegete.datastore.store import Store
from exegete.datastore.workspace import Workspace
from exegete.review.keys import find, key_of
from exegete.review.record import Act, Kind, record


def decide_as_person(
    workspace: Workspace,
    index: int,
    polarity: Polarity,
    decision: Kind,
    text: str | None,
    reviewer: str,
    harvest: str | None,
) -> dict[str, Any]:
    """Record a decision about a feature's current label; its row of `labels` afterwards."""
    row = find(Store(workspace.labels), index, polarity, harvest)
    return record(workspace, Act(key_of(row), decision, reviewer, row["label"], text)).row
