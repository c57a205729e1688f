"""The SQLite file on the reviewers' desk: its tables, and transactions on it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from exegete.errors import WorkspaceBusy, WorkspaceDamaged, WorkspaceError

PATIENCE_S = 5.0
"""How long a write waits for another one."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS leases (
    harvest TEXT, feature INTEGER, polarity TEXT, reviewer TEXT NOT NULL, until REAL NOT NULL,
    PRIMARY KEY (harvest, feature, polarity)
);
CREATE TABLE IF NOT EXISTS drafts (
    harvest TEXT, feature INTEGER, polarity TEXT, reviewer TEXT, text TEXT NOT NULL, saved REAL NOT NULL,
    PRIMARY KEY (harvest, feature, polarity, reviewer)
);
CREATE TABLE IF NOT EXISTS work (
    id INTEGER PRIMARY KEY, kind TEXT NOT NULL, harvest TEXT NOT NULL, feature INTEGER NOT NULL,
    polarity TEXT NOT NULL, reviewer TEXT NOT NULL, text TEXT NOT NULL, run TEXT, state TEXT NOT NULL,
    progress TEXT NOT NULL, result TEXT, tries INTEGER NOT NULL, worker TEXT, heard REAL, queued REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS queues (name TEXT PRIMARY KEY, sql TEXT NOT NULL, reviewer TEXT NOT NULL);
"""


class DeskFile:
    """Short transactions on the file; a connection is opened for each, so that any thread may ask."""

    def __init__(self, path: Path) -> None:
        """Open or make it.

        Raises:
            WorkspaceError: it can't be written, or is no SQLite file.
        """
        self._path = path
        with self.open() as con:
            con.execute("PRAGMA journal_mode = WAL")
            con.executescript(_SCHEMA)

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction that has the right to write from its start.

        Raises:
            WorkspaceBusy: others write for too long.
        """
        with self.open() as con:
            con.execute("BEGIN IMMEDIATE")
            try:
                yield con
            except BaseException:
                con.execute("ROLLBACK")
                raise
            con.execute("COMMIT")

    @contextmanager
    def open(self) -> Iterator[sqlite3.Connection]:
        """A connection, for reading.

        Raises:
            WorkspaceError: the file can't be used.
        """
        try:
            con = sqlite3.connect(self._path, timeout=PATIENCE_S, isolation_level=None)
            try:
                con.execute("PRAGMA synchronous = NORMAL")
                yield con
            finally:
                con.close()
        except sqlite3.OperationalError as error:
            if "locked" in str(error):
                raise WorkspaceBusy(
                    f"{self._path} is written to by others for too long: try again"
                ) from error
            raise WorkspaceError(
                f"{self._path} can't be used ({error}): check its disk and folder"
            ) from error
        except sqlite3.DatabaseError as error:
            raise WorkspaceDamaged(
                f"{self._path} can't be read ({error}): delete it; it holds drafts and queued work alone"
            ) from error
