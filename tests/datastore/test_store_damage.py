"""A labels file that is damaged, on a full disk, or whose writer was killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import duckdb
import numpy as np
import pytest

from exegete.datastore.store import Store
from exegete.errors import WorkspaceDamaged, WorkspaceError
from tests.datastore.stores import call, keys


@pytest.mark.parametrize("left", [0, 10, 4096, 100_000])
def test_cut_short(path: Path, left: int) -> None:
    """A file cut short is named as damaged, with what to do, and left as it is."""
    Store(path).insert({"calls": [call(f"k{i}") for i in range(5000)]})
    path.write_bytes(path.read_bytes()[:left])
    with pytest.raises(WorkspaceDamaged, match=r"labels.duckdb can't be read .*doctor --rebuild"):
        Store(path).read("SELECT count(DISTINCT key) FROM calls")
    assert path.stat().st_size == left


def test_flipped_bytes(path: Path) -> None:
    """Overwritten bytes are damage, or were in a part that holds nothing; they never change an answer."""
    Store(path).insert({"calls": [call(f"k{i}", usd=i / 7) for i in range(5000)]})
    sql = "SELECT count(DISTINCT key) AS n, sum(usd) AS usd FROM calls"
    expected, raw, n_damaged = Store(path).read(sql), path.read_bytes(), 0
    for at in np.random.default_rng(0).integers(0, len(raw) - 64, 25).tolist():
        hurt = bytearray(raw)
        hurt[at : at + 64] = bytes(b ^ 0xFF for b in hurt[at : at + 64])
        path.write_bytes(hurt)
        try:
            assert Store(path).read(sql) == expected
        except WorkspaceDamaged:
            n_damaged += 1
    assert n_damaged > 3


def test_no_folder(tmp_path: Path) -> None:
    """A file that can't be made where it should be is told as such, not as damage."""
    with pytest.raises(WorkspaceError, match="check its folder") as caught:
        Store(tmp_path / "nowhere" / "labels.duckdb")
    assert not isinstance(caught.value, WorkspaceDamaged)


WRITER = """
import resource, sys
from pathlib import Path
from exegete.datastore.store import Store
from exegete.errors import WorkspaceError

path, room = Path(sys.argv[1]), int(sys.argv[2])
store = Store(path)
if room:
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + room, resource.RLIM_INFINITY))
for i in range(10_000):
    rows = [{"key": f"{i:05d}-{j:03d}" * 80, "model": "m", "finish": "stop"} for j in range(200)]
    try:
        store.insert({"calls": rows})
    except WorkspaceError as error:
        print("full", type(error).__name__, error, flush=True)
        break
    print(i, flush=True)
"""


def write_until_full(path: Path, room: int) -> tuple[int, str]:
    """How many inserts a child process was told had worked, and what it was told when the disk was full."""
    done = subprocess.run(
        [sys.executable, "-c", WRITER, str(path), str(room)], capture_output=True, text=True, check=True
    )
    *acknowledged, last = done.stdout.splitlines()
    return len(acknowledged), last


@pytest.mark.parametrize("room", [30_000, 500_000])
def test_full(path: Path, room: int) -> None:
    """When a file can grow no further, that is one sentence, and every acknowledged row is there after it."""
    Store(path)
    acknowledged, last = write_until_full(path, room)
    assert last.startswith("full WorkspaceError")
    assert "make room" in last
    store = Store(path)
    assert len(keys(store)) == 200 * acknowledged
    store.insert({"calls": [call("when there is room")]})
    assert len(keys(store)) == 200 * acknowledged + 1


def test_full_disk(tmp_path: Path) -> None:
    """The same on a small disk of its own."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("no permission to mount a small disk")
    try:
        path = disk / "labels.duckdb"
        acknowledged, last = write_until_full(path, 0)
        assert last.startswith("full WorkspaceError")
        assert "make room" in last
        assert len(keys(Store(path))) == 200 * acknowledged
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_killed(path: Path) -> None:
    """After kill -9 amid writing, every acknowledged row is there, and no half of a transaction."""
    Store(path)
    command, acknowledged = [sys.executable, "-c", WRITER, str(path), "0"], 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        for line in child.stdout:
            acknowledged = int(line) + 1
            if acknowledged == 12:
                child.send_signal(signal.SIGKILL)
    n = len(keys(Store(path)))
    assert n % 200 == 0
    assert acknowledged * 200 <= n <= acknowledged * 200 + 200


def test_a_path_that_says_lock(tmp_path: Path) -> None:
    """A damaged file in a folder named "locks" is damaged, not locked."""
    path = tmp_path / "locks of the disk" / "labels.duckdb"
    path.parent.mkdir()
    path.write_text("not a database" * 100)
    with pytest.raises(WorkspaceDamaged, match="doctor --rebuild"):
        Store(path)


def test_a_column_named_disk(path: Path) -> None:
    """A wrong statement about a disk is a wrong statement, not a full disk."""
    with pytest.raises(duckdb.BinderException):
        Store(path).read("SELECT disk FROM calls")
