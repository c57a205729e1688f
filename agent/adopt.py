"""Noting what a labels file holds and the events lack, before the file is put aside.

A file from before there were events, or one whose job was killed before it noted what it had finished, knows
things that nobody else does. While it can be read, they are not lost.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import duckdb

from exegete.agent.events import (
    KEYS,
    append,
    events_folder,
    finished_by_run,
    finished_of,
    key_of,
    read_events,
    rows_by_key,
)
from exegete.datastore.store import Store
from exegete.errors import WorkspaceDamaged

_JSON = ("parameters", "details")
_OF_PEOPLE = "run IN (SELECT run FROM store.runs WHERE kind != 'job')"
_WHICH = {
    **{"runs": "true", "reviews": "true", "thresholds": "true"},
    **dict.fromkeys(("labels", "scores", "experiments"), _OF_PEOPLE),
}


def adopt(store: Store) -> list[str]:
    """Note all that can't be worked out again and has not been noted.

    Args:
        store: the labels file.

    Returns:
        What could not be read, as sentences.

    Raises:
        WorkspaceBusy: another process holds the file or the events.
        WorkspaceError: the events can't be written.
    """
    events = list(read_events(events_folder(store.path)))
    rows, problems = {}, []
    for table in KEYS:
        known = rows_by_key(events, table)
        try:
            found = store.read(f"SELECT * FROM store.{table} WHERE {_WHICH[table]}")
        except (WorkspaceDamaged, duckdb.Error) as error:
            problems.append(f"{table} of the old file can't be read: {_first_line(error)}")
            continue
        rows[table] = [_noted(row) for row in found if key_of(table, row) not in known]
    if any(rows.values()):
        append(events_folder(store.path), {"rows": {name: some for name, some in rows.items() if some}})
    noted = finished_by_run(events)
    try:
        outcomes = store.read("SELECT run, feature_index, polarity FROM store.outcomes")
    except (WorkspaceDamaged, duckdb.Error) as error:
        return [*problems, f"outcomes of the old file can't be read: {_first_line(error)}"]
    by_run: dict[str, list[Any]] = {}
    for row in outcomes:
        by_run.setdefault(row["run"], []).append((row["feature_index"], row["polarity"]))
    for run, features in by_run.items():
        if run not in noted or not noted[run].features.issuperset(features):
            append(events_folder(store.path), finished_of(run, features))
    return problems


def _noted(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row as events have it: JSON columns as what they say."""
    return {
        name: json.loads(value) if name in _JSON and isinstance(value, str) else value
        for name, value in row.items()
    }


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]
