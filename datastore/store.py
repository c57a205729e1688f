"""The labels file: everything that changes in a workspace.

Any process that has a DuckDB file open for writing shuts out all others, and an open reader shuts out the
writer. So nobody holds this file: each read or write opens it, does one transaction, and closes it. A lock
held by somebody else is waited for; one that lasts names the process that holds it.
"""

from __future__ import annotations

import json
import re
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

import duckdb
import pyarrow as pa
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from exegete.datastore.attached import Attached
from exegete.datastore.database import connect
from exegete.errors import WorkspaceBusy, WorkspaceDamaged, WorkspaceError

PATIENCE_S = 10.0
"""How long a read or write waits for a lock before it gives up."""

T = TypeVar("T")
Rows = Sequence[dict[str, Any]]


_NO_ROOM = re.compile("No space left|quota exceeded|File too large|Read-only file system")
_IN_USE = re.compile("Could not set lock on file|Unique file handle conflict")
_NO_ACCESS = re.compile("Permission denied|Too many open files|No such file")

_OF_THE_FILE = (duckdb.IOException, duckdb.TransactionException, duckdb.FatalException)
"""What DuckDB raises when the file fails, and not the statement."""

_MUTEXES: defaultdict[Path, threading.Lock] = defaultdict(threading.Lock)
"""One a file: within a process, too, a file can't be open for reading and for writing at once."""


class _Locked(Exception):
    """Somebody else has the file open in a way that shuts us out."""


class Store:
    """Short transactions on one labels file."""

    def __init__(self, path: Path, patience_s: float = PATIENCE_S, *, often: bool = False) -> None:
        """Open or make a labels file, and bring it to this version's schema.

        Args:
            path: `labels.duckdb`.
            patience_s: how long to wait for a lock.
            often: keep DuckDB up between reads, though not the file open, until `close`.

        Raises:
            WorkspaceBusy: another process holds it.
            WorkspaceError: it can't be written, or was made by a newer version.
            WorkspaceDamaged: it is no DuckDB file, or not whole.
        """
        self.path, self._patience_s = path, patience_s
        self._mutex = _MUTEXES[path.resolve()]
        self._attached = Attached(path, self._mutex) if often else None
        self._migrate()

    def close(self) -> None:
        """Let go of what is kept between reads; reads that come still open the file for themselves."""
        attached, self._attached = self._attached, None
        if attached is not None:
            attached.close()

    def read(self, sql: str, parameters: Sequence[Any] = ()) -> list[dict[str, Any]]:
        """Rows of a query, as dicts.

        Raises:
            WorkspaceBusy: a writer holds the file for too long.
            WorkspaceDamaged: DuckDB can't read it.
        """

        def run(con: duckdb.DuckDBPyConnection) -> list[dict[str, Any]]:
            cursor = con.execute(sql, list(parameters))
            names = [column[0] for column in cursor.description or ()]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

        return self.reading(run)

    def reading(self, work: Callable[[duckdb.DuckDBPyConnection], T]) -> T:
        """Do some work on a read-only connection.

        Raises:
            WorkspaceBusy: a writer holds the file for too long.
            WorkspaceDamaged: DuckDB can't read it.
        """
        return self._patiently(lambda: self._once(work, read_only=True))

    def write(self, work: Callable[[duckdb.DuckDBPyConnection], T]) -> T:
        """Do some work in one transaction: all of it is kept, or nothing.

        Raises:
            WorkspaceBusy: another process holds the file for too long; nothing was written.
            WorkspaceError: the disk is full; nothing was written.
        """

        def run(con: duckdb.DuckDBPyConnection) -> T:
            con.execute("BEGIN")
            try:
                result = work(con)
            except BaseException:
                with suppress(duckdb.Error):  # after a fatal error there is no transaction left
                    con.execute("ROLLBACK")
                raise
            con.execute("COMMIT")
            return result

        return self._patiently(lambda: self._once(run, read_only=False))

    def insert(self, tables: Mapping[str, Rows]) -> None:
        """Insert rows into several tables in one transaction.

        Args:
            tables: rows by table name (in schema `store`), each row a dict of its columns.

        Raises:
            WorkspaceBusy, WorkspaceError: as `write`.
        """

        def work(con: duckdb.DuckDBPyConnection) -> None:
            for name, rows in tables.items():
                insert_rows(con, name, rows)

        self.write(work)

    def _migrate(self) -> None:
        folder = files("exegete.datastore") / "schema"
        steps = sorted((p for p in folder.iterdir() if re.match(r"\d+_", p.name)), key=lambda p: p.name)
        views = (folder / "views.sql").read_text(encoding="utf-8")

        def work(con: duckdb.DuckDBPyConnection) -> None:
            con.execute("CREATE TABLE IF NOT EXISTS schema_version (version INTEGER, views VARCHAR)")
            row = con.execute("SELECT version, views FROM schema_version").fetchone()
            version = row[0] if row else 0
            if version > len(steps):
                raise WorkspaceError(
                    f"{self.path} was written by a newer exegete (schema {version}, this one knows "
                    f"{len(steps)}): upgrade exegete"
                )
            if row == (len(steps), views):
                return
            for step in steps[version:]:
                con.execute(step.read_text(encoding="utf-8"))
            con.execute(views)
            con.execute("DELETE FROM schema_version")
            con.execute("INSERT INTO schema_version VALUES (?, ?)", [len(steps), views])

        if self.path.exists():
            try:
                row = self.read("SELECT version, views FROM schema_version")
            except duckdb.CatalogException:
                row = []
            if row and (row[0]["version"], row[0]["views"]) == (len(steps), views):
                return
        self.write(work)

    def _once(self, run: Callable[[duckdb.DuckDBPyConnection], T], *, read_only: bool) -> T:
        with self._connection(read_only=read_only) as con:
            try:
                return run(con)
            except duckdb.Error as error:
                # A failed checksum has no class of its own.
                if isinstance(error, _OF_THE_FILE) or "Corrupt database file" in str(error):
                    raise _unusable(self.path, error) from error
                raise

    @contextmanager
    def _connection(self, *, read_only: bool) -> Iterator[duckdb.DuckDBPyConnection]:
        attached = self._attached if read_only else None
        with ExitStack() as opening:
            try:
                if attached is not None:
                    con = opening.enter_context(attached.reading())
                else:
                    opening.enter_context(self._mutex)
                    con = opening.enter_context(closing(connect(self.path, read_only=read_only)))
            except duckdb.Error as error:
                # The path is part of the message, so that "lock" alone would say nothing.
                if isinstance(error, duckdb.ConnectionException) or _IN_USE.search(str(error)):
                    raise _Locked(str(error)) from error
                raise _unusable(self.path, error) from error
            opened = opening.pop_all()
        try:
            yield con
        finally:
            try:
                opened.close()
            except duckdb.Error as error:  # a failed checkpoint; committed rows are in the WAL
                raise _unusable(self.path, error) from error

    def _patiently(self, once: Callable[[], T]) -> T:
        retrying = Retrying(
            retry=retry_if_exception_type(_Locked),
            wait=wait_random_exponential(multiplier=0.02, max=0.5),
            stop=stop_after_delay(self._patience_s),
            reraise=True,
        )
        try:
            return retrying(once)
        except _Locked as error:
            raise WorkspaceBusy(
                f"{self.path} is held open by {_holder(str(error))}: close it (a duckdb shell, a notebook) "
                "and run the command again"
            ) from None


def insert_rows(con: duckdb.DuckDBPyConnection, name: str, rows: Rows) -> None:
    """Insert rows into a table of schema `store`, through Arrow."""
    if not rows:
        return
    columns = {
        key: [json.dumps(row[key]) if isinstance(row[key], dict) else row[key] for row in rows]
        for key in rows[0]
    }
    con.register("incoming", pa.table(columns))
    con.execute(f"INSERT INTO store.{name} BY NAME SELECT * FROM incoming")
    con.unregister("incoming")


def _holder(text: str) -> str:
    found = re.search(r"held in (.+?) \(PID (\d+)\)", text)
    if "different configuration" in text or "Unique file handle conflict" in text:
        return "another part of this process"
    return f"process {found[2]} ({Path(found[1]).name})" if found else "another process"


def _unusable(path: Path, error: Exception) -> WorkspaceError:
    """What is wrong with a file that DuckDB can't open, read or write, and what to do about it."""
    text = str(error).splitlines()[0]
    if _NO_ROOM.search(text):
        return WorkspaceError(
            f"{path} can't be written ({text}): make room on its disk and run the command again; everything "
            "already saved is safe"
        )
    if _NO_ACCESS.search(text):
        return WorkspaceError(
            f"{path} can't be opened ({text}): check its folder, its permissions and how many files are open"
        )
    return WorkspaceDamaged(
        f"{path} can't be read ({text}): `exegete doctor --rebuild` makes it anew from the evidence, the "
        "journal and what people decided, and asks no model anything"
    )
