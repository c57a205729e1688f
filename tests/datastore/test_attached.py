"""Reading the labels file over a DuckDB that stays up: as if it had been opened anew each time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from exegete.datastore.store import Store
from exegete.errors import WorkspaceBusy, WorkspaceDamaged
from tests.datastore.stores import call, keys

WRITE = """
import sys
from pathlib import Path
from exegete.datastore.store import Store
Store(Path(sys.argv[1]), 0.0).insert({"calls": [{"key": "b", "model": "m", "finish": "stop"}]})
"""


def test_nothing_is_held_between_reads(path: Path) -> None:
    """Another process writes at once, and the next read sees what it wrote; so does a write of one's own."""
    Store(path).insert({"calls": [call("a")]})
    often = Store(path, often=True)
    assert keys(often) == ["a"]
    subprocess.run([sys.executable, "-c", WRITE, str(path)], check=True, timeout=60)
    assert keys(often) == ["a", "b"]
    often.insert({"calls": [call("c")]})
    assert keys(often) == ["a", "b", "c"]
    often.close()
    assert keys(often) == ["a", "b", "c"], "what comes still is answered"


def test_temporary_tables_go_with_the_read(path: Path) -> None:
    """Also those of a read that failed, or that left rows behind; and no read can write."""
    often = Store(path, often=True)

    def fails(con: duckdb.DuckDBPyConnection) -> None:
        con.execute("CREATE TEMP TABLE own AS SELECT 1 AS one")
        con.execute("SELECT * FROM own, range(100000)")
        raise RuntimeError("halfway")

    for _ in range(2):
        with pytest.raises(RuntimeError, match="halfway"):
            often.reading(fails)
    with pytest.raises(duckdb.Error, match="read-only"):
        often.reading(
            lambda con: con.execute("INSERT INTO store.calls (key, model, finish) VALUES (1, 2, 3)")
        )
    assert keys(often) == []


def test_a_file_that_is_held_or_damaged(path: Path) -> None:
    """Says what a file opened for the purpose says, and is read once that is over."""
    often = Store(path, 0.1, often=True)
    with duckdb.connect(str(path)), pytest.raises(WorkspaceBusy, match="another part of this process"):
        keys(often)
    assert keys(often) == []
    whole = path.read_bytes()
    path.write_bytes(b"x" * len(whole))
    with pytest.raises(WorkspaceDamaged, match="doctor --rebuild"):
        keys(often)
    path.write_bytes(whole)
    assert keys(often) == []
