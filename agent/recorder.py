"""Writes finished cases to the labels file, a batch every second or so, and never makes the job wait for it.

A lock held by somebody else (a shell left open on the file) delays a flush; finished cases wait in memory
meanwhile. What a killed process had not flushed is worked out again from the journal, without new calls.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from itertools import islice

import duckdb

from exegete.agent.rows import Case, Tables, call_row, case_rows
from exegete.datastore.store import Store, insert_rows
from exegete.errors import WorkspaceBusy
from exegete.llm import Journal
from exegete.scorers.multiplicity import q_values

FLUSH_EVERY_S = 1.5
_CALLS_AT_ONCE = 10_000
"""Entries of the journal read at a time: a sitting begins with all of them."""


class Recorder:
    """The one writer of a job."""

    def __init__(
        self,
        store: Store,
        run: str,
        harvest: str,
        journal: Journal | None,
        on_wait: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Prepare to record.

        Args:
            store: the labels file.
            run: the run's name.
            harvest: the harvest's name.
            journal: its new entries become rows of `calls`; None when no model is asked.
            on_wait: told, in words, when the file is held by another process.
        """
        self._store, self._run, self._harvest, self._on_wait = store, run, harvest, on_wait
        self._journal, self._position = journal, ""
        self._waiting: list[Case] = []

    def add(self, case: Case) -> None:
        """Take in a finished case; it is written with the next flush."""
        self._waiting.append(case)

    @property
    def n_waiting(self) -> int:
        """Finished cases that are not in the labels file yet."""
        return len(self._waiting)

    async def flush_regularly(self) -> None:
        """Flush every second or so, until cancelled."""
        while True:
            await asyncio.sleep(FLUSH_EVERY_S)
            with contextlib.suppress(WorkspaceBusy):
                await self.flush()

    async def flush(self) -> None:
        """Write what waits.

        Raises:
            WorkspaceBusy: somebody else holds the file; nothing is lost, try again.
            WorkspaceError: the file can't be written.
        """
        cases, self._waiting = self._waiting, []
        if not cases:
            return
        rows = [case_rows(self._run, self._harvest, case) for case in cases]
        try:
            await asyncio.to_thread(self._write, rows)
        except BaseException as error:
            self._waiting = cases + self._waiting
            if isinstance(error, WorkspaceBusy):
                self._on_wait(str(error))
            raise

    async def finish(self) -> None:
        """Write all that is left, and the q-values, which are known only now.

        It waits for as long as another process holds the file.
        """
        while True:
            with contextlib.suppress(WorkspaceBusy):
                await self.flush()
                await asyncio.to_thread(self._store.write, self._finish)
                return
            await asyncio.sleep(0.2)

    def _write(self, rows: Iterable[Tables]) -> None:
        merged: Tables = {}
        for tables in rows:
            for name, own in tables.items():
                merged.setdefault(name, []).extend(own)
        shown = merged.pop("examples", [])

        def work(con: duckdb.DuckDBPyConnection) -> str:
            # A feature that failed in an earlier sitting was tried again; its old rows make way.
            _forget(con, self._run, [(r["feature_index"], r["polarity"]) for r in merged["outcomes"]])
            for name, own in merged.items():
                insert_rows(con, name, own)
            _insert_examples(con, self._harvest, shown)
            return self._insert_calls(con)

        self._position = self._store.write(work)

    def _finish(self, con: duckdb.DuckDBPyConnection) -> None:
        self._insert_calls(con)
        _write_q_values(con, self._run)

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


def _forget(con: duckdb.DuckDBPyConnection, run: str, features: list[tuple[int, str]]) -> None:
    """Delete what a run recorded of some features."""
    con.execute("CREATE TEMP TABLE IF NOT EXISTS again (feature_index INTEGER, polarity VARCHAR)")
    con.execute("DELETE FROM again")
    con.executemany("INSERT INTO again VALUES (?, ?)", features)
    known = con.execute(
        "SELECT feature_index, polarity FROM store.outcomes JOIN again USING (feature_index, polarity) "
        "WHERE run = ?",
        [run],
    ).fetchall()
    if not known:
        return
    of_run = (
        "SELECT l.label_id FROM store.labels l JOIN again USING (feature_index, polarity) WHERE l.run = $1"
    )
    con.execute(f"DELETE FROM store.scores WHERE run = $1 AND label_id IN ({of_run})", [run])
    for table in ("labels", "outcomes"):
        con.execute(
            f"DELETE FROM store.{table} WHERE run = $1 AND "
            "(feature_index, polarity) IN (SELECT (feature_index, polarity) FROM again)",
            [run],
        )


def _insert_examples(con: duckdb.DuckDBPyConnection, harvest: str, rows: list[dict[str, object]]) -> None:
    """Examples are a feature's, not a run's: the first run that meets a feature writes them."""
    features = {(row["feature_index"], row["polarity"]) for row in rows}
    if not features:
        return
    there = set(
        con.execute(
            "SELECT DISTINCT feature_index, polarity FROM store.examples "
            "WHERE harvest = ? AND feature_index IN (SELECT unnest(?::INTEGER[]))",
            [harvest, [index for index, _ in features]],
        ).fetchall()
    )
    insert_rows(con, "examples", [r for r in rows if (r["feature_index"], r["polarity"]) not in there])


def _write_q_values(con: duckdb.DuckDBPyConnection, run: str) -> None:
    """q-values of a run's report scores, for each scorer over all features attempted.

    Unscorable and failed features count among the tests, with no p-value; dead ones were never tested.
    """
    attempted = con.execute(
        "SELECT feature_index, polarity, label_id FROM store.outcomes WHERE run = ? AND status != 'dead' "
        "ORDER BY feature_index, polarity",
        [run],
    ).fetchall()
    scored = con.execute(
        "SELECT scorer, label_id, p_value FROM store.scores WHERE run = ? AND split = 'report'", [run]
    ).fetchall()
    con.execute("DELETE FROM store.q_values WHERE run = ?", [run])
    for scorer in sorted({row[0] for row in scored}):
        p_values = {label_id: p for name, label_id, p in scored if name == scorer}
        qs = q_values([p_values.get(label_id) for _, _, label_id in attempted])
        rows = [
            {"run": run, "scorer": scorer, "feature_index": index, "polarity": polarity, "q_value": q}
            for (index, polarity, _), q in zip(attempted, qs, strict=True)
            if q is not None
        ]
        insert_rows(con, "q_values", rows)
