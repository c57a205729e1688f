"""Batches as their log (batch_log.py) tells of them: one row a batch, by replaying what happened to it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from exegete.errors import WorkspaceError
from exegete.llm.lines import Position, intact, read_lines

ITEM = b'{"item":"'
"""How a line with one request of a batch begins; every other line is something that happened to a batch."""
NOT_SUBMITTED = "not submitted"
DROPPED = "dropped"


@dataclass(frozen=True, slots=True)
class BatchRow:
    """One batch as the log knows it."""

    uuid: str
    """Ours."""
    model: str
    """Canonical name."""
    endpoint: str
    requests: int
    intended_at: datetime
    """UTC, by our clock, as all times here."""
    after: float | None = None
    """When the provider's newest batch before it was created, Unix time by the provider's clock."""
    id: str | None = None
    """The provider's; None while it is not known whether the provider has it."""
    file: str | None = None
    """The provider's id of its file of requests, where it has one."""
    submitted_at: datetime | None = None
    state: str = NOT_SUBMITTED
    """As last seen, in the provider's word."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """Requests by what became of them, as last seen, in the provider's words."""
    ended_at: datetime | None = None
    """When it was first seen to have ended."""
    open: bool = True
    """False when there is nothing more to be done about it."""


def wave_states(folder: Path) -> list[BatchRow]:
    """All batches of a log, oldest first; needs no lock, so it can be asked while a job runs.

    Args:
        folder: of the log; one that is not there has no batches.

    Raises:
        WorkspaceError: it can't be read.
    """
    rows: dict[str, BatchRow] = {}
    try:
        for _, line, _ in read_lines(folder, Position(1, 0)):
            if not line.startswith(ITEM) and intact(line):
                replayed(rows, json.loads(line))
    except OSError as error:
        raise WorkspaceError(f"can't read the batches in {folder}: {error.strerror}") from error
    return list(rows.values())


def replayed(rows: dict[str, BatchRow], event: Mapping[str, Any]) -> BatchRow | None:
    """Let something happen to the batches; the one it happened to, or None when that is not known."""
    kind, uuid = next(iter(event.items()))
    at = datetime.fromisoformat(event["at"])
    if kind == "intent":
        known = {name: event[name] for name in ("model", "endpoint", "requests", "after")}
        rows[uuid] = BatchRow(uuid=uuid, intended_at=at, **known)
    row = rows.get(uuid)
    if row is None:  # its intent was damaged
        return None
    if kind == "submitted":
        row = replace(row, id=event["id"], file=event["file"], submitted_at=at, state="submitted")
    elif kind in ("seen", "ended"):
        row = replace(row, state=event["state"], counts=event["counts"])
        row = replace(row, ended_at=row.ended_at or at) if kind == "ended" else row
    elif kind == "ingested":
        row = replace(row, open=False)
    elif kind == "dropped":
        row = replace(row, open=False, state=DROPPED)
    rows[uuid] = row
    return row
