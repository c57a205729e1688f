"""Read-only questions to a labels file, bounded in rows and in time."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from exegete.datastore.store import Store
from exegete.errors import UsageError

_READING = ("SELECT", "EXPLAIN", "MULTI", "PRAGMA")
"""MULTI is what PIVOT becomes; a PRAGMA that sets something meets the locked configuration."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Rows of a query."""

    names: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    cut: bool
    """Whether there were more rows than the limit."""


def query(path: Path, statement: str, limit: int, timeout_s: float) -> Answer:
    """Run one statement that only reads, and no files of this machine.

    Args:
        path: `labels.duckdb`.
        statement: one SQL statement over the public views.
        limit: rows at most.
        timeout_s: seconds at most; a query holds up a running job's flushes for as long as it takes.

    Raises:
        UsageError: it is not one statement, is wrong, writes, or took too long.
        WorkspaceBusy: a writer holds the file for too long.
        WorkspaceDamaged: DuckDB can't read the file.
    """
    store = Store(path)

    def run(con: duckdb.DuckDBPyConnection) -> Answer:
        # Neither files of this machine, nor this program's variables, nor settings are a query's business.
        con.execute("SET enable_external_access = false")
        con.execute("SET enable_progress_bar = false")  # DuckDB draws it on stdout, among the rows
        con.execute("SET lock_configuration = true")
        statements = con.extract_statements(statement)
        if len(statements) != 1:
            raise UsageError(f"give one SQL statement and not {len(statements)}")
        kind = statements[0].type.name
        if kind not in _READING:
            raise UsageError(f"a query only reads: give a SELECT and not a statement of kind {kind}")
        timer = threading.Timer(timeout_s, con.interrupt)
        timer.daemon = True
        timer.start()
        try:
            cursor = con.execute(statements[0])
            names = tuple(column[0] for column in cursor.description or ())
            rows = cursor.fetchmany(limit + 1)
        finally:
            timer.cancel()
        return Answer(names, tuple(rows[:limit]), len(rows) > limit)

    try:
        return store.reading(run)
    except duckdb.InterruptException:
        raise UsageError(
            f"the query took longer than {timeout_s:g} s: narrow it, or raise --timeout"
        ) from None
    except duckdb.Error as error:
        first = str(error).splitlines()[0]
        raise UsageError(f"the query can't be run: {first}; docs/sql.md lists views and columns") from None
