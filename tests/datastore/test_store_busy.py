"""A labels file that others have open: processes, threads, and other parts of this one."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from exegete.datastore.database import connect
from exegete.datastore.store import Store
from exegete.errors import WorkspaceBusy
from tests.datastore.stores import call, keys

HOLDER = """
import sys, duckdb
con = duckdb.connect(sys.argv[1], read_only=sys.argv[2] == "reader")
con.execute("SELECT 1")
print("held", flush=True)
sys.stdin.readline()
"""


class Holder:
    """Another process that has the file open until it is let go."""

    def __init__(self, path: Path, kind: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(path), kind], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"held\n"

    def let_go(self) -> None:
        if self.process.poll() is None:
            self.process.communicate(b"\n", timeout=30)


@pytest.mark.parametrize(
    ("kind", "reading"), [("writer", True), ("writer", False), ("reader", False)], ids=str
)
def test_busy(path: Path, kind: str, reading: bool) -> None:
    """A file that another process holds is waited for, and then the process is named; nothing is written."""
    store = Store(path, patience_s=0.3)
    holder = Holder(path, kind)
    try:
        with pytest.raises(WorkspaceBusy, match=rf"held open by process {holder.process.pid} \(python"):
            store.read("SELECT 1") if reading else store.insert({"calls": [call("x")]})
    finally:
        holder.let_go()
    assert keys(store) == []


def test_let_go_in_time(path: Path) -> None:
    """A file that is let go within our patience is written as if nothing had been."""
    store = Store(path, patience_s=30)
    holder = Holder(path, "writer")
    timer = threading.Timer(0.4, holder.let_go)
    timer.start()
    try:
        store.insert({"calls": [call("x")]})
    finally:
        timer.join()
        holder.let_go()
    assert keys(store) == ["x"]


def test_readers_share(path: Path) -> None:
    """Another process that reads shuts out no reader."""
    store = Store(path, patience_s=0.2)
    store.insert({"calls": [call("x")]})
    holder = Holder(path, "reader")
    try:
        assert keys(store) == ["x"]
        assert keys(Store(path, patience_s=0.2)) == ["x"]
    finally:
        holder.let_go()


def test_held_by_this_process(path: Path) -> None:
    """A connection that this process left open is busyness, and no damage."""
    store = Store(path, patience_s=0.1)
    with connect(path, read_only=True), pytest.raises(WorkspaceBusy, match="part of this process"):
        store.insert({"calls": [call("x")]})
    assert keys(store) == []


def test_threads_and_stores_take_turns(path: Path) -> None:
    """Stores of one file in several threads, reading and writing, lose nothing and are never told off."""
    Store(path)
    errors = list[BaseException]()

    def work(name: int) -> None:
        try:
            store = Store(path)
            for i in range(4):
                store.insert({"calls": [call(f"{name}-{i}")]})
                assert f"{name}-{i}" in keys(Store(path))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(name,)) for name in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(keys(Store(path))) == 12
