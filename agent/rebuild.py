"""Making the labels file anew, from what it was made from.

    evidence/      harvests, features, and with the journal the cases of every run
    journal/       calls
    measurements/  what subjects did on texts that tested labels
    decisions/     runs, people's decisions and the labels they had scored (events.py)

1. A labels file that can still be read is asked for whatever the events lack (adopt.py).
2. labels.duckdb.new is filled: calls, harvests, runs, and the cases of each worked out again (recall.py).
3. With everybody else shut out, people's rows are added, the old file gets a second name, and the new one is
   renamed into its place: at any moment labels.duckdb is one of the two, whole.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import duckdb

from exegete.agent.adopt import adopt
from exegete.agent.confidence import map_every_run
from exegete.agent.events import Event, Finished, events_folder, finished_by_run, read_events, rows_by_key
from exegete.agent.recall import recall_run
from exegete.agent.rethreshold import hold_every_run
from exegete.agent.rows import call_row, feature_rows
from exegete.datastore.evidence_file import EvidenceFile
from exegete.datastore.records import Polarity
from exegete.datastore.store import Store
from exegete.datastore.workspace import Workspace
from exegete.errors import ExegeteError, WorkspaceDamaged
from exegete.llm import Journal
from exegete.llm.compressor import fsync_folder

TABLES = (
    *("harvests", "features", "runs", "calls", "labels", "scores", "outcomes", "q_values"),
    *("examples", "reviews", "nulls", "null_plans", "experiments", "decisions", "outputs"),
)
_CALLS_AT_ONCE = 10_000


@dataclass(slots=True)
class Rebuilt:
    """What was restored."""

    rows: dict[str, int] = field(default_factory=dict)
    """How many, by table."""
    missing: list[str] = field(default_factory=list)
    """What was not restored, and why; one sentence each."""
    before: Path | None = None
    """Where the old labels file is kept; None when there was none."""


class Rebuild:
    """One making anew of a workspace's labels file."""

    def __init__(self, workspace: Workspace, on_progress: Callable[[str], None] = lambda _: None) -> None:
        """Prepare.

        Args:
            workspace: whose labels file.
            on_progress: told, in words, how far it is.
        """
        self._workspace, self._say = workspace, on_progress
        self._new = workspace.labels.with_name("labels.duckdb.new")
        self._events: list[Event] = []
        self._asked: dict[str, set[tuple[int, Polarity]]] = {}
        self._rebuilt = Rebuilt()

    async def run(self) -> Rebuilt:
        """Make it. No model is asked anything.

        Raises:
            WorkspaceBusy: a job runs, or another process holds the journal or the labels file.
            WorkspaceError: a disk is full, or the old file was written by a newer exegete.
        """
        with self._workspace.job_lock(), Journal(self._workspace.journal) as journal:
            old = self._old()
            if old is not None:
                self._rebuilt.missing += adopt(old)
            for left in (self._new, _wal(self._new)):
                left.unlink(missing_ok=True)
            store = Store(self._new)
            self._events = list(read_events(events_folder(self._new)))
            self._calls(store, journal)
            await self._runs(store, journal)
            with contextlib.suppress(WorkspaceDamaged, duckdb.Error):
                if old is not None:
                    old.write(lambda _: self._take_its_place(store))
            if not self._rebuilt.rows:  # there is no old file, or none that anybody could write to
                self._take_its_place(store)
        return self._rebuilt

    def _old(self) -> Store | None:
        """The labels file as it is; None when there is none, or it can't be read."""
        if not self._workspace.labels.exists():
            return None
        try:
            return Store(self._workspace.labels)
        except (WorkspaceDamaged, duckdb.Error) as error:
            self._miss(f"whatever the old file alone knew ({str(error).splitlines()[0]})")
            return None

    def _calls(self, store: Store, journal: Journal) -> None:
        """Rows of `calls`, each key once, and which features each run has asked models about."""
        entries, seen = journal.entries(), set[str]()
        while some := list(islice(entries, _CALLS_AT_ONCE)):
            rows = {row["key"]: row for row in map(call_row, some) if row["key"] not in seen}
            store.insert({"calls": list(rows.values())})
            seen |= rows.keys()
            for row in rows.values():
                if row["run"] and row["feature"]:
                    self._asked.setdefault(row["run"], set()).add(_feature(row["feature"]))
            self._say(f"{len(seen):,} calls")
        if journal.damaged:
            self._miss(f"{journal.damaged:,} damaged lines of the journal are lost")

    async def _runs(self, store: Store, journal: Journal) -> None:
        """Harvests and features, and the cases of all runs, in the order in which they were begun."""
        runs = {row["run"]: row for row in rows_by_key(self._events, "runs").values()}
        finished = finished_by_run(self._events)
        for run in sorted(runs.values(), key=lambda row: (row["made_at"], row["run"])):
            store.insert({"runs": [run]})
            with self._evidence(run) as evidence:
                if evidence is None:
                    continue
                _add_harvest(store, evidence)
                if run["kind"] != "job":
                    continue
                noted = finished.get(run["run"], Finished(frozenset(), run["made_at"]))
                todo = Finished(noted.features | self._asked.get(run["run"], set()), noted.noted_at)
                try:
                    recalled = await recall_run(
                        self._workspace, store, run, evidence, journal, todo, self._say
                    )
                except ExegeteError as error:
                    self._miss(f"the {len(todo.features):,} features of run {run['run']}: {error}")
                    continue
                if recalled.no_effects is not None:
                    self._miss(f"of run {run['run']}, {recalled.no_effects}")
                if recalled.undone:
                    self._miss(
                        f"{recalled.undone:,} features of run {run['run']}: a call of each is not in the "
                        "journal; the run can be gone on with"
                    )
                if recalled.nulls_undone:
                    self._miss(
                        f"{recalled.nulls_undone:,} nulls of run {run['run']}: a call of each is not in the "
                        "journal; the run can be gone on with"
                    )

    @contextlib.contextmanager
    def _evidence(self, run: Mapping[str, Any]) -> Iterator[EvidenceFile | None]:
        """A run's harvest; None, and a sentence, when it can't be read."""
        try:
            file = self._workspace.open_evidence(run["harvest"])
        except ExegeteError as error:
            self._miss(f"the features of run {run['run']}: {error}")
            yield None
            return
        with contextlib.closing(file):
            yield file

    def _take_its_place(self, store: Store) -> None:
        """Add what people did, count, and put the new file in the place of the old one.

        Called while nobody else can write: what somebody decided in the meantime is in the events by now.
        """
        events = list(read_events(events_folder(self._new)))
        self._late_runs(store, events)
        for table in ("labels", "scores", "experiments", "reviews", "thresholds"):
            for some in _alike(rows_by_key(events, table).values()):
                store.insert({table: some})
        store.write(map_every_run)  # by what people decided, which is known only now
        store.write(hold_every_run)
        counts = ", ".join(f"(SELECT count(*) FROM store.{table}) AS {table}" for table in TABLES)
        (rows,) = store.read(f"SELECT {counts}")
        self._rebuilt.before = replace_keeping(self._workspace.labels, self._new)
        self._rebuilt.rows = rows

    def _late_runs(self, store: Store, events: list[Event]) -> None:
        """Runs that a person began while this was under way: a label scored without a model."""
        known = {row["run"] for row in rows_by_key(self._events, "runs").values()}
        for row in rows_by_key(events, "runs").values():
            if row["run"] not in known:
                store.insert({"runs": [row]})
                with self._evidence(row) as evidence:
                    if evidence is not None:
                        _add_harvest(store, evidence)

    def _miss(self, sentence: str) -> None:
        self._rebuilt.missing.append(sentence)


def replace_keeping(labels: Path, new: Path) -> Path | None:
    """Put a file in the place of another one, which keeps a name of its own.

    Args:
        labels: the place; there may be nothing there.
        new: the file; nobody may have it open.

    Returns:
        The old file's new name, labels.duckdb.before-rebuild-N; None when there was none.
    """
    with new.open("rb") as file:
        os.fsync(file.fileno())
    kept = None
    if labels.exists():
        numbers = (n for n in range(1, 1_000_000) if not _before(labels, n).exists())
        kept = _before(labels, next(numbers))
        _second_name(labels, kept)
        # The new file has nothing to do with changes that were on their way into the old one.
        if _wal(labels).exists():
            _second_name(_wal(labels), _wal(kept))
            _wal(labels).unlink()
    os.replace(new, labels)
    fsync_folder(labels.parent)
    return kept


def _before(labels: Path, number: int) -> Path:
    return labels.with_name(f"{labels.name}.before-rebuild-{number}")


def _wal(path: Path) -> Path:
    """What DuckDB keeps beside a file while it changes."""
    return path.with_name(f"{path.name}.wal")


def _second_name(path: Path, name: Path) -> None:
    """Give a file another name, beside the one it has."""
    try:
        os.link(path, name)
    except OSError:  # a file system without links
        shutil.copyfile(path, name)


def _add_harvest(store: Store, evidence: EvidenceFile) -> None:
    """A harvest's row and its features', unless they are there."""
    if not store.read("SELECT 1 FROM store.harvests WHERE harvest = ?", [evidence.name]):
        store.insert(feature_rows(evidence))


def _alike(rows: Iterable[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Rows by the columns they have: those that an earlier version noted lack the newest."""
    groups: dict[frozenset[str], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(frozenset(row), []).append(row)
    return list(groups.values())


def _feature(text: str) -> tuple[int, Polarity]:
    """A feature as calls are tagged with it: "12", or "12-"."""
    return (int(text[:-1]), "-") if text.endswith("-") else (int(text), "+")
