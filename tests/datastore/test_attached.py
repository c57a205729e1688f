"""Reading the labels file over a DuckDB that stays up: as if it had been opened anew each time."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
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


def test_reads_of_several_threads_share_the_file(path: Path) -> None:
    """One does not wait for another; a write waits for all of them, and they see nothing of it."""
    often = Store(path, often=True)
    all_here, another = threading.Barrier(3, timeout=30), Store(path)

    def slow(con: duckdb.DuckDBPyConnection) -> int:
        con.execute("CREATE TEMP TABLE own AS SELECT 1 AS one")
        all_here.wait()
        writing.submit(another.insert, {"calls": [call("a")]})
        all_here.wait()
        return len(con.execute("SELECT * FROM store.calls, own").fetchall())

    with ThreadPoolExecutor(1) as writing, ThreadPoolExecutor(3) as reading:
        assert [one.result() for one in [reading.submit(often.reading, slow) for _ in range(3)]] == [0, 0, 0]
    assert keys(often) == ["a", "a", "a"]
    subprocess.run([sys.executable, "-c", WRITE, str(path)], check=True, timeout=60)


def test_a_store_that_is_closed_while_it_is_read(path: Path) -> None:
    """Lets the read end, and holds nothing after it."""
    often = Store(path, often=True)

    def work(con: duckdb.DuckDBPyConnection) -> list[tuple[int]]:
        often.close()
        return con.execute("SELECT 1").fetchall()

    assert often.reading(work) == [(1,)]
    subprocess.run([sys.executable, "-c", WRITE, str(path)], check=True, timeout=60)
    assert keys(often) == ["b"]
