"""What the labels file holds and nothing could work out again, on disk a second time.

    WORKSPACE/decisions/000001.jsonl      sealed lines, as the journal's (llm/lines.py)

    {"event": id, "rows": {table: [row, …]}, "at": UTC, "version": …}
    {"event": id, "finished": {"run": …, "+": "0-511", "-": ""}, "at": UTC, "version": …}

Rows are those of runs as they were registered, of people's decisions, of thresholds they set, and of labels
that they had scored.
They are written within the transaction that inserts them, before it is committed: what the labels file has
is here too, and what it refused is not. `finished` says which features of a run have an outcome: of features
that asked no model the journal knows nothing. The id is a digest of what happened, so that an event that is
here twice happened once.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from exegete import __version__
from exegete.agent.rows import Tables
from exegete.datastore.records import Polarity
from exegete.datastore.store import PATIENCE_S, Store
from exegete.datastore.workspace import parse_features
from exegete.errors import WorkspaceBusy, WorkspaceError
from exegete.llm.lines import Position, intact, read_lines
from exegete.llm.segments import Segments

EVENT = b'{"event":"'
"""How a line with an event begins."""
KEYS: Mapping[str, tuple[str, ...]] = {
    "runs": ("run", "digest"),
    "reviews": ("harvest", "feature_index", "polarity", "decision", "reviewer", "made_at"),
    "labels": ("run", "label_id"),
    "scores": ("run", "label_id", "scorer", "split"),
    "experiments": ("run", "label_id", "round", "number"),
    "thresholds": ("run", "made_at"),
}
"""Tables whose rows are noted, with the columns by which a row is known again."""
POLARITIES: tuple[Polarity, ...] = ("+", "-")


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened."""

    id: str
    rows: Tables
    finished: Mapping[str, str]
    """Of a run: its name, and its features with an outcome by polarity, as ranges; or empty."""
    noted_at: datetime
    """UTC, without a zone."""


@dataclass(frozen=True, slots=True)
class Finished:
    """Features of a run that had an outcome."""

    features: frozenset[tuple[int, Polarity]]
    noted_at: datetime
    """UTC, without a zone."""


def events_folder(labels: Path) -> Path:
    """Where the events of a labels file are."""
    return labels.parent / "decisions"


def note_rows(store: Store, rows: Tables) -> None:
    """Note rows of a labels file; to be called within the transaction that inserts them.

    Raises:
        WorkspaceBusy: another process keeps the events to itself for too long.
        WorkspaceError: they can't be written.
    """
    append(events_folder(store.path), {"rows": {name: some for name, some in rows.items() if some}})


def note_finished(store: Store, run: str) -> None:
    """Note which features of a run have an outcome.

    Raises:
        WorkspaceError: it can't be written.
    """
    found = store.read("SELECT feature_index, polarity FROM store.outcomes WHERE run = ?", [run])
    if found:
        features = [(row["feature_index"], row["polarity"]) for row in found]
        # The labels file knows, and says so at the end of the next sitting.
        with contextlib.suppress(WorkspaceBusy):
            append(events_folder(store.path), finished_of(run, features))


def finished_of(run: str, features: list[tuple[int, Polarity]]) -> dict[str, Any]:
    """The event of a run's finished features."""
    sides = {side: as_ranges(sorted(i for i, p in features if p == side)) for side in POLARITIES}
    return {"finished": {"run": run, **sides}}


def append(folder: Path, what: Mapping[str, Any]) -> None:
    """Write an event and wait until it is safe.

    Raises:
        WorkspaceBusy: another process keeps the events to itself for too long.
        WorkspaceError: it can't be written.
    """
    canonical = json.dumps(what, sort_keys=True, default=_plain)
    event = {
        "event": hashlib.sha256(canonical.encode()).hexdigest(),
        **what,
        "at": datetime.now(UTC).replace(tzinfo=None).isoformat(),
        "version": __version__,
    }
    line = json.dumps(event, separators=(",", ":"), default=_plain).encode("ascii")
    for attempt in Retrying(
        retry=retry_if_exception_type(WorkspaceBusy),
        wait=wait_random_exponential(multiplier=0.02, max=0.5),
        stop=stop_after_delay(PATIENCE_S),
        reraise=True,
    ):
        with attempt:
            segments = Segments(folder, lambda position, line: None)
            try:
                segments.append([line]).result()
            finally:
                segments.close()


def read_events(folder: Path) -> Iterator[Event]:
    """All events, in order, each once; needs no lock.

    Raises:
        WorkspaceError: they can't be read.
    """
    seen = set()
    try:
        for _, line, _ in read_lines(folder, Position(1, 0)):
            if not (line.startswith(EVENT) and intact(line)):
                continue
            event = json.loads(line)
            if event["event"] not in seen:
                seen.add(event["event"])
                rows = {name: [_row(row) for row in some] for name, some in event.get("rows", {}).items()}
                noted_at = datetime.fromisoformat(event["at"])
                yield Event(event["event"], rows, event.get("finished", {}), noted_at)
    except OSError as error:
        raise WorkspaceError(f"can't read {folder}: {error.strerror}") from error


def rows_by_key(events: Iterable[Event], table: str) -> dict[tuple[Any, ...], dict[str, Any]]:
    """All rows of a table that were noted, each once; of equal keys the last."""
    rows = (row for event in events for row in event.rows.get(table, ()))
    return {key_of(table, row): row for row in rows}


def key_of(table: str, row: Mapping[str, Any]) -> tuple[Any, ...]:
    """What a row is known by."""
    return tuple(row[column] for column in KEYS[table])


def finished_by_run(events: Iterable[Event]) -> dict[str, Finished]:
    """The latest that was noted of each run's finished features."""
    found = {}
    for event in events:
        if event.finished:
            features = {
                (index, side)
                for side in POLARITIES
                if event.finished[side]
                for index in parse_features(event.finished[side])
            }
            found[event.finished["run"]] = Finished(frozenset(features), event.noted_at)
    return found


def as_ranges(indices: list[int]) -> str:
    """Sorted indices as "0-511,600"; what `parse_features` reads."""
    if not indices:
        return ""
    starts = [indices[0], *(b for a, b in pairwise(indices) if b != a + 1)]
    ends = [*(a for a, b in pairwise(indices) if b != a + 1), indices[-1]]
    return ",".join(f"{a}-{b}" if a < b else str(a) for a, b in zip(starts, ends, strict=True))


def _row(row: dict[str, Any]) -> dict[str, Any]:
    """A row as it is inserted: with its time as one."""
    return row | {"made_at": datetime.fromisoformat(row["made_at"])}


def _plain(value: object) -> str:
    """Times as text; nothing else is in a row that JSON does not have."""
    if not isinstance(value, datetime):
        raise TypeError(f"{value!r} can't be noted")
    return value.isoformat()
