"""The labels file: migrations, whole transactions, and the public views."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest

from exegete.datastore import store as store_module
from exegete.datastore.database import connect
from exegete.datastore.store import Store, insert_rows
from exegete.errors import WorkspaceBusy, WorkspaceDamaged, WorkspaceError

VIEWS = {"labels", "features", "outcomes", "scores", "examples", "calls", "reviews", "runs"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "labels.duckdb"


def call(key: str, **more: Any) -> dict[str, Any]:
    return {"key": key, "model": "m", "finish": "stop", **more}


def keys(store: Store) -> list[str]:
    return [row["key"] for row in store.read("SELECT key FROM calls ORDER BY key")]


def test_from_nothing(path: Path) -> None:
    """A new file has every public view, each of which answers, and the schema's version."""
    store = Store(path)
    found = store.read("SELECT view_name FROM duckdb_views() WHERE NOT internal AND schema_name = 'main'")
    assert {row["view_name"] for row in found} == VIEWS
    for view in VIEWS:
        assert store.read(f"SELECT * FROM {view}") == []
    assert store.read("SELECT version FROM schema_version") == [{"version": 1}]


def test_opening_again_writes_nothing(path: Path) -> None:
    """A file of this version is opened without a write: a reader need not wait for a writer's turn."""
    Store(path).insert({"calls": [call("a")]})
    before = path.read_bytes()
    assert keys(Store(path)) == ["a"]
    assert path.read_bytes() == before


def test_views_are_made_anew(path: Path) -> None:
    """A file whose views are of another version gets this version's, and keeps its rows."""
    Store(path).insert({"calls": [call("a")]})
    with connect(path, read_only=False) as con:
        con.execute("CREATE OR REPLACE VIEW calls AS SELECT 1 AS old")
        con.execute("UPDATE schema_version SET views = 'of an older version'")
    assert keys(Store(path)) == ["a"]


def test_migrations_run_once_each_in_order(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Steps that a file has not seen are applied in order, the ones it has are not; rows stay."""
    Store(path).insert({"calls": [call("a")]})
    folder = Path(store_module.__file__).parent / "schema"
    fake = tmp_path / "package" / "schema"
    fake.mkdir(parents=True)
    for own in folder.iterdir():
        (fake / own.name).write_text(own.read_text())
    (fake / "002_more.sql").write_text("ALTER TABLE store.calls ADD COLUMN extra INTEGER DEFAULT 7;")
    (fake / "003_yet_more.sql").write_text("UPDATE store.calls SET extra = extra * 2;")
    monkeypatch.setattr(store_module, "files", lambda _: fake.parent)
    for _ in range(2):
        store = Store(path)
        assert store.read("SELECT key, extra FROM store.calls") == [{"key": "a", "extra": 14}]
        assert store.read("SELECT version FROM schema_version") == [{"version": 3}]


def test_a_failing_migration_leaves_the_file(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step that fails takes the ones before it back."""
    Store(path).insert({"calls": [call("a")]})
    fake = tmp_path / "package" / "schema"
    fake.mkdir(parents=True)
    for own in (Path(store_module.__file__).parent / "schema").iterdir():
        (fake / own.name).write_text(own.read_text())
    (fake / "002_more.sql").write_text("ALTER TABLE store.calls ADD COLUMN extra INTEGER;")
    (fake / "003_wrong.sql").write_text("SELECT nonsense;")
    with monkeypatch.context() as patch:
        patch.setattr(store_module, "files", lambda _: fake.parent)
        with pytest.raises(duckdb.Error):
            Store(path)
    assert keys(Store(path)) == ["a"]
    assert Store(path).read("SELECT version FROM schema_version") == [{"version": 1}]


def test_a_newer_schema_is_refused(path: Path) -> None:
    """A file of a later version is not touched."""
    Store(path)
    with connect(path, read_only=False) as con:
        con.execute("UPDATE schema_version SET version = 99")
    with pytest.raises(WorkspaceError, match=r"newer exegete \(schema 99") as caught:
        Store(path)
    assert not isinstance(caught.value, WorkspaceDamaged)


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, duckdb.ConstraintException])
def test_all_or_nothing(path: Path, error: type[BaseException]) -> None:
    """What raises in a transaction leaves no row of it, and is raised as it is."""
    store = Store(path)
    store.insert({"calls": [call("before")]})

    def work(con: duckdb.DuckDBPyConnection) -> None:
        insert_rows(con, "calls", [call("x")])
        raise error

    with pytest.raises(error):
        store.write(work)
    assert keys(store) == ["before"]


def test_one_bad_table_spoils_all(path: Path) -> None:
    """Rows of several tables go in together, or not at all."""
    store = Store(path)
    with pytest.raises(duckdb.ConstraintException):
        store.insert({"calls": [call("x")], "q_values": [{"run": "r", "q_value": None}]})
    assert keys(store) == []


def test_what_goes_in_comes_out(path: Path) -> None:
    """Values of every kind come back as they were: missing ones missing, dicts as JSON, lists, times."""
    store = Store(path)
    at = datetime(2031, 2, 3, 4, 5, 6, 789)
    score = {
        "run": "r", "label_id": "l", "scorer": "s", "split": "report", "value": None, "p_value": 0.5,
        "n_asked": 3, "n_read": 0, "details": {"auroc": None, "x": 1.5}, "made_at": at,
    }  # fmt: skip
    example = {
        "harvest": "h", "feature_index": 1, "polarity": "-", "rank": 0, "stratum": "top", "peak": 1.5,
        "weight": 2.0, "document": "d", "context_id": 2**62, "start": 4, "text": "a\x00'; \u202e",
        "words": ["a", ""], "activations": [0.0, 1.5],
    }  # fmt: skip
    store.insert({"scores": [score, score | {"value": 1.0}], "examples": [example], "calls": []})
    rows = store.read("SELECT value, low, p_value, n_read, details->>'x' AS x, made_at FROM store.scores")
    assert rows[0] == {"value": None, "low": None, "p_value": 0.5, "n_read": 0, "x": "1.5", "made_at": at}
    assert rows[1]["value"] == 1.0
    assert store.read("SELECT * FROM store.examples") == [example]


def test_parameters(path: Path) -> None:
    """Values given beside a statement are values, whatever they look like."""
    assert Store(path).read("SELECT ? AS a, ? AS b", ["'; DROP TABLE x", 2]) == [
        {"a": "'; DROP TABLE x", "b": 2}
    ]


# Other processes.

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


def test_a_path_that_says_lock(tmp_path: Path) -> None:
    """A damaged file in a folder named "locks" is damaged, not locked."""
    path = tmp_path / "locks of the disk" / "labels.duckdb"
    path.parent.mkdir()
    path.write_text("not a database" * 100)
    with pytest.raises(WorkspaceDamaged, match="move it aside"):
        Store(path)


def test_a_column_named_disk(path: Path) -> None:
    """A wrong statement about a disk is a wrong statement, not a full disk."""
    with pytest.raises(duckdb.BinderException):
        Store(path).read("SELECT disk FROM calls")


# Damage and full disks.


@pytest.mark.parametrize("left", [0, 10, 4096, 100_000])
def test_cut_short(path: Path, left: int) -> None:
    """A file cut short is named as damaged, with what to do, and left as it is."""
    Store(path).insert({"calls": [call(f"k{i}") for i in range(5000)]})
    path.write_bytes(path.read_bytes()[:left])
    with pytest.raises(WorkspaceDamaged, match=r"labels.duckdb can't be read .*move it aside"):
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
