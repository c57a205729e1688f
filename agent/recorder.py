"""Writes finished cases to the labels file, a batch every ten seconds, and never makes the job wait for it.

A lock held by somebody else (a shell left open on the file) delays a flush; finished cases wait in memory
meanwhile. What a killed process had not flushed is worked out again from the journal, without new calls.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import count, islice
from typing import Any, TypeVar

import duckdb

from exegete.agent.confidence import map_confidence
from exegete.agent.nulls import NullCase
from exegete.agent.rethreshold import hold_again
from exegete.agent.rows import Case, Tables, call_row, case_rows, now, null_rows
from exegete.agent.tried import tried_rows
from exegete.agent.twins import twins
from exegete.datastore.memory import give_back
from exegete.datastore.store import Store, insert_rows
from exegete.errors import WorkspaceBusy
from exegete.llm import Journal
from exegete.scorers.multiplicity import q_values

FLUSH_EVERY_S = 10.0
"""Each flush starts DuckDB anew for the labels file, which costs the same for few rows as for many."""
_GIVE_BACK_EVERY = 6
"""Flushes."""
_CALLS_AT_ONCE = 10_000
"""Entries of the journal read at a time: a sitting begins with all of them."""
T = TypeVar("T")


class Recorder:
    """The one writer of a job.

    Attributes:
        store: the labels file.
        run: the run's name.
    """

    def __init__(
        self,
        store: Store,
        run: str,
        journal: Journal | None,
        independence: str | None,
        on_wait: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Prepare to record.

        Args:
            store: the labels file.
            run: the run's name.
            journal: its new entries become rows of `calls`; None when no model is asked.
            independence: how independent the run's judge is of its explainer; written with every label.
            on_wait: told, in words, when the file is held by another process.
        """
        self.store, self.run = store, run
        self._independence, self._on_wait = independence, on_wait
        self._journal, self._position = journal, ""
        self._waiting: list[Tables] = []

    def add(self, case: Case | NullCase) -> None:
        """Take in a finished case, or a null that was scored; it is written with the next flush."""
        self._waiting.append(self._rows(case))  # now, as those of a flush together would hold up all calls

    @property
    def n_waiting(self) -> int:
        """Finished cases and nulls that are not in the labels file yet."""
        return len(self._waiting)

    async def flush_regularly(self) -> None:
        """Flush every `FLUSH_EVERY_S`, until cancelled; and now and then give freed memory back."""
        for turn in count(1):
            await asyncio.sleep(FLUSH_EVERY_S)
            with contextlib.suppress(WorkspaceBusy):
                await self.flush()
            if turn % _GIVE_BACK_EVERY == 0:
                await asyncio.to_thread(give_back)

    async def flush(self) -> None:
        """Write what waits.

        Raises:
            WorkspaceBusy: somebody else holds the file; nothing is lost, try again.
            WorkspaceError: the file can't be written.
        """
        rows, self._waiting = self._waiting, []
        if not rows:
            return
        try:
            await asyncio.to_thread(self._write, rows)
        except BaseException as error:
            self._waiting = rows + self._waiting
            if isinstance(error, WorkspaceBusy):
                self._on_wait(str(error))
            raise

    async def written(self) -> None:
        """Write what waits, for as long as another process holds the file."""
        while True:
            with contextlib.suppress(WorkspaceBusy):
                await self.flush()
                return
            await asyncio.sleep(0.2)

    async def finish(self) -> None:
        """Write all that is left, and the q-values, which are known only now.

        It waits for as long as another process holds the file.
        """
        await self.written()
        await self.patiently(lambda: self.store.write(self._finish))

    async def patiently(self, work: Callable[[], T]) -> T:
        """Read or write the file in a thread, again and again while another process holds it."""
        while True:
            try:
                return await asyncio.to_thread(work)
            except WorkspaceBusy as error:
                self._on_wait(str(error))
            await asyncio.sleep(0.2)

    def _rows(self, case: Case | NullCase) -> Tables:
        if isinstance(case, NullCase):
            return {"nulls": null_rows(self.run, case)}
        case = replace(case, made_at=case.made_at or now())
        tables = case_rows(self.run, case, self._independence)
        for name, own in tried_rows(self.run, case).items():
            tables.setdefault(name, []).extend(own)
        return tables

    def _write(self, rows: Iterable[Tables]) -> None:
        merged: Tables = {}
        for tables in rows:
            for name, own in tables.items():
                merged.setdefault(name, []).extend(own)
        shown, outputs = merged.pop("examples", []), merged.pop("outputs", [])

        def work(con: duckdb.DuckDBPyConnection) -> str:
            # A feature that failed in an earlier sitting was tried again; its old rows make way.
            _forget(con, self.run, merged.get("outcomes", []))
            for name, own in merged.items():
                insert_rows(con, name, own)
            _insert_once(con, "examples", shown)
            _insert_once(con, "outputs", outputs)
            return self._insert_calls(con)

        self._position = self.store.write(work)

    def _finish(self, con: duckdb.DuckDBPyConnection) -> None:
        self._insert_calls(con)
        _write_q_values(con, self.run)
        map_confidence(con, self.run)
        hold_again(con, self.run)

    def _insert_calls(self, con: duckdb.DuckDBPyConnection) -> str:
        """Rows of the journal's new entries; the position to go on from once they are committed."""
        if self._journal is None:
            return ""
        position, entries = self._position, self._journal.entries(self._position)
        while some := list(islice(entries, _CALLS_AT_ONCE)):
            rows = [call_row(entry) for entry in some]
            keys = [row["key"] for row in rows]
            known = con.execute("SELECT key FROM store.calls WHERE key IN (SELECT unnest(?))", [keys])
            there = {row[0] for row in known.fetchall()}
            insert_rows(con, "calls", [row for row in rows if row["key"] not in there])
            position = str(some[-1]["next"])
        return position


def _forget(con: duckdb.DuckDBPyConnection, run: str, outcomes: list[dict[str, Any]]) -> None:
    """Delete what a run recorded of some features."""
    if not outcomes:
        return
    columns = "(harvest VARCHAR, feature_index INTEGER, polarity VARCHAR)"
    con.execute(f"CREATE TEMP TABLE IF NOT EXISTS again {columns}")
    con.execute("DELETE FROM again")
    features = [[row[name] for row in outcomes] for name in ("harvest", "feature_index", "polarity")]
    con.execute("INSERT INTO again SELECT unnest(?), unnest(?), unnest(?)", features)
    among = "(harvest, feature_index, polarity) IN (SELECT (harvest, feature_index, polarity) FROM again)"
    if not con.execute(f"SELECT 1 FROM store.outcomes WHERE run = ? AND {among} LIMIT 1", [run]).fetchone():
        return
    of_run = f"SELECT label_id FROM store.labels WHERE run = $1 AND {among}"
    con.execute(f"DELETE FROM store.scores WHERE run = $1 AND label_id IN ({of_run})", [run])
    for table in ("labels", "outcomes", "experiments", "decisions"):
        con.execute(f"DELETE FROM store.{table} WHERE run = $1 AND {among}", [run])


def _insert_once(con: duckdb.DuckDBPyConnection, table: str, rows: list[dict[str, Any]]) -> None:
    """Rows that are a feature's and not a run's: the first run that meets a feature writes them."""
    if not rows:
        return
    found = con.execute(
        f"SELECT DISTINCT harvest, feature_index, polarity FROM store.{table} "
        "WHERE feature_index IN (SELECT unnest(?::INTEGER[]))",
        [sorted({row["feature_index"] for row in rows})],
    ).fetchall()
    there = set(found)
    new = [row for row in rows if (row["harvest"], row["feature_index"], row["polarity"]) not in there]
    insert_rows(con, table, new)


def _write_q_values(con: duckdb.DuckDBPyConnection, run: str) -> None:
    """q-values of a run's report scores, for each scorer over all features attempted, and each label's twins.

    Unscorable and failed features count among the tests, with no p-value; dead ones were never tested.
    Planted features are no part of what a run attempts.
    """
    attempted = con.execute(
        "SELECT o.feature_index, o.polarity, o.label_id, o.label FROM store.outcomes o "
        "JOIN store.harvests h ON h.harvest = o.harvest AND h.kind IS DISTINCT FROM 'controls' "
        "WHERE o.run = ? AND o.status != 'dead' ORDER BY o.feature_index, o.polarity",
        [run],
    ).fetchall()
    scored = con.execute(
        "SELECT scorer, label_id, p_value FROM store.scores WHERE run = ? AND split = 'report'", [run]
    ).fetchall()
    n_twins = twins([row[3] for row in attempted])
    con.execute("DELETE FROM store.q_values WHERE run = ?", [run])
    for scorer in sorted({row[0] for row in scored}):
        p_values = {label_id: p for name, label_id, p in scored if name == scorer}
        qs = q_values([p_values.get(row[2]) for row in attempted])
        rows = [
            {
                "run": run,
                "scorer": scorer,
                "feature_index": index,
                "polarity": polarity,
                "q_value": q,
                "twins": n,
            }
            for (index, polarity, *_), q, n in zip(attempted, qs, n_twins, strict=True)
            if q is not None
        ]
        insert_rows(con, "q_values", rows)
