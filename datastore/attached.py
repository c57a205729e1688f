"""A DuckDB that stays up between reads of a file which is opened for each.

Starting DuckDB takes several times as long as most questions that a page asks of the labels file, and opening
the file hardly any time. So whoever asks often keeps a DuckDB without a file, and attaches the file for as
long as a read takes: while none goes on, nothing is open, and a writer is not shut out. Reads of several
threads that overlap share the open file: a card does not wait for a queue that is being built.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import duckdb

from exegete.datastore.database import settings

_NAME = "file"
"""What the file is called in there; no view or schema of it has this name."""


class Attached:
    """One DuckDB, to which one file is attached for reading while somebody reads it."""

    def __init__(self, path: Path, turn: threading.Lock) -> None:
        """Start nothing yet.

        Args:
            path: the file.
            turn: who has the file open in this process; readers have it together.
        """
        self._path, self._turn = path, turn
        self._engine: duckdb.DuckDBPyConnection | None = None
        self._readers = 0
        self._closed = False
        self._mutex = threading.Lock()

    @contextmanager
    def reading(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection to the file, as if it had been opened by itself: temporary tables go with it.

        Raises:
            duckdb.Error: the file can't be opened, as DuckDB says it, or the connection not be closed.
        """
        con = self._join()
        try:
            yield con
        finally:
            try:
                con.close()
            finally:
                self._leave()

    def close(self) -> None:
        """Let go of everything, now or when the last reader is done."""
        with self._mutex:
            self._closed = True
            if not self._readers:
                self._stop()

    def _join(self) -> duckdb.DuckDBPyConnection:
        with self._mutex:
            if not self._readers:
                self._turn.acquire()
            self._readers += 1
            con = None
            try:
                if self._engine is None:
                    self._engine = duckdb.connect(":memory:", config=settings(read_only=True))
                con = self._engine.cursor()
                if self._readers == 1:
                    quoted = str(self._path).replace("'", "''")
                    con.execute(f"ATTACH '{quoted}' AS {_NAME} (READ_ONLY)")
                con.execute(f"USE {_NAME}")
            except BaseException:
                if con is not None:
                    con.close()
                self._part()
                raise
            return con

    def _leave(self) -> None:
        with self._mutex:
            self._part()

    def _part(self) -> None:
        """One reader less; after the last one the file is closed."""
        self._readers -= 1
        if self._readers:
            return
        try:
            if self._closed:
                self._stop()
            elif self._engine is not None:
                self._engine.execute(f"DETACH DATABASE IF EXISTS {_NAME}")
        except duckdb.Error:  # a fatal error has made it unusable, and the next one is started anew
            self._stop()
        finally:
            self._turn.release()

    def _stop(self) -> None:
        engine, self._engine = self._engine, None
        if engine is not None:
            with suppress(duckdb.Error):
                engine.close()
