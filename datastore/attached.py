"""A DuckDB that stays up between reads of a file which is opened for each.

Starting DuckDB takes several times as long as most questions that a page asks of the labels file, and opening
the file hardly any time. So whoever asks often keeps a DuckDB without a file, and attaches the file for as
long as a read takes: while none goes on, nothing is open, and a writer is not shut out.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import duckdb

from exegete.datastore.database import settings

_NAME = "file"
"""What the file is called in there; no view or schema of it has this name."""


class Attached:
    """One DuckDB, to which one file at a time is attached for reading. Not for several threads at once."""

    def __init__(self) -> None:
        """Start nothing yet."""
        self._engine: duckdb.DuckDBPyConnection | None = None

    def open(self, path: Path) -> duckdb.DuckDBPyConnection:
        """A connection to a file, as if it had been opened by itself: temporary tables go with it.

        Whoever asked closes it, and then calls `detach`.

        Raises:
            duckdb.Error: the file can't be opened, as DuckDB says it.
        """
        if self._engine is None:
            self._engine = duckdb.connect(":memory:", config=settings(read_only=True))
        con = self._engine.cursor()
        try:
            quoted = str(path).replace("'", "''")
            con.execute(f"ATTACH '{quoted}' AS {_NAME} (READ_ONLY)")
            con.execute(f"USE {_NAME}")
        except duckdb.Error:
            con.close()
            self.detach()
            raise
        return con

    def detach(self) -> None:
        """Close the file."""
        if self._engine is not None:
            try:
                self._engine.execute(f"DETACH DATABASE IF EXISTS {_NAME}")
            except duckdb.Error:  # a fatal error has made it unusable, and the next one is started anew
                self.close()

    def close(self) -> None:
        """Let go of everything."""
        engine, self._engine = self._engine, None
        if engine is not None:
            with suppress(duckdb.Error):
                engine.close()
