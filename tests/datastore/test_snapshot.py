"""Snapshots: every view as it was, for plain DuckDB, and nothing of the machine it is from."""

from __future__ import annotations

import threading
from pathlib import Path

import duckdb
import pytest

from exegete.datastore.documented import documented_views
from exegete.datastore.frozen import frozen
from exegete.datastore.local_paths import without_path
from exegete.datastore.snapshot import Snapshot, take_snapshot
from exegete.datastore.store import Store
from exegete.datastore.workspace import Workspace
from exegete.errors import UsageError
from tests.datastore.labelled import LABELS, write_workspace

VIEWS = [view.name for view in documented_views()]


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return write_workspace(tmp_path_factory.mktemp("snapshot") / "w", evidence=False)


@pytest.fixture(scope="module", params=["file", "folder"])
def taken(
    request: pytest.FixtureRequest, space: Workspace, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Snapshot, duckdb.DuckDBPyConnection, Path]:
    """A snapshot of each kind, and a plain connection that has its tables by name."""
    out = tmp_path_factory.mktemp("out") / ("s.duckdb" if request.param == "file" else "s")
    made = take_snapshot(Store(space.labels), out, overwrite=False)
    if request.param == "file":
        return made, duckdb.connect(str(out), read_only=True), out
    con = duckdb.connect()
    for name in [*VIEWS, "about"]:
        con.execute(f"CREATE VIEW {name} AS SELECT * FROM '{out}/{name}.parquet'")
    return made, con, out


Taken = tuple[Snapshot, duckdb.DuckDBPyConnection, Path]
PATHS = {
    "runs": {"parameters"},
    "calls": {"model"},
    "labels": {"author", "scorer"},
    "outcomes": {"author", "scorer"},
    "scores": {"author", "scorer"},
    "examples": {"document"},
}
"""Columns in which a path is cut."""


@pytest.mark.parametrize("view", VIEWS)
def test_views_come_back(taken: Taken, space: Workspace, view: str) -> None:
    """Each table has its view's columns, types and rows; only named columns differ, by their paths."""
    made, con, _ = taken
    store = Store(space.labels)
    columns = [(c["column_name"], c["column_type"]) for c in store.read(f"DESCRIBE SELECT * FROM {view}")]
    found = con.execute(f"DESCRIBE {view}").fetchall()
    assert [(name, kind) for name, kind, *_ in found] == columns
    kept = ", ".join(name for name, _ in columns if name not in PATHS.get(view, set()))
    wanted = [tuple(row.values()) for row in store.read(f"SELECT {kept} FROM {view} ORDER BY ALL")]
    assert con.execute(f"SELECT {kept} FROM {view} ORDER BY ALL").fetchall() == wanted
    assert made.rows[view] == len(wanted)


def test_no_paths_of_this_machine(taken: Taken) -> None:
    """Names and parameters have the last part of a path, `about` says how many were cut, and texts stay."""
    made, con, out = taken
    files = out.iterdir() if out.is_dir() else [out]
    text = "".join(str(con.execute(f"SELECT * FROM {name}").fetchall()) for name in [*VIEWS, "about"])
    assert not {"ada", "home", "Users"} & set(text.replace("\\", "/").split("/"))
    assert not any(b"/home/ada" in path.read_bytes() for path in files)
    (parameters,) = con.execute("SELECT parameters FROM runs").fetchall()[0]
    assert '"llm": "hf:small"' in parameters
    assert '"job": "night.toml"' in parameters
    assert '"sentence_model": "minilm"' in parameters
    assert '"url": "http://localhost:8000/v1/x"' in parameters
    assert con.execute("SELECT model FROM calls").fetchall() == [("hf:small",)]
    said = dict(con.execute("SELECT * FROM about").fetchall())
    assert int(said["paths cut to their last part"]) == made.paths > 0
    assert said["rows of labels"] == str(len(LABELS))
    # What a corpus or a model wrote is not a name, and may begin with a slash.
    assert con.execute("SELECT DISTINCT text FROM examples").fetchall() == [("/etc «a»",)]
    assert "/usr/bin is a path" in con.execute("SELECT details FROM outputs").fetchall()[0][0]
    assert "/etc/hosts" in con.execute("SELECT metadata FROM features").fetchall()[0][0]


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("hf:/home/ada/models/small@1f2e", "hf:small@1f2e"),
        ("highlight@1/hf:/home/ada/my models/small@0123", "highlight@1/hf:small@0123"),
        ("/a/b", "b"),
        ("~/x/y.txt", "y.txt"),
        (r"C:\Users\ada\m", "m"),
        ("scripted:/tmp/replies.jsonl", "scripted:replies.jsonl"),
        ("openai:gpt@http://localhost:8000/v1", "openai:gpt@http://localhost:8000/v1"),
        ("Org/Tiny@1", "Org/Tiny@1"),
        ("layers.0", "layers.0"),
        ("highlight@1/openai:gpt@0123", "highlight@1/openai:gpt@0123"),
    ],
)
def test_what_is_a_path(name: str, found: str) -> None:
    """Absolute paths, behind a name or by themselves, are cut; names with slashes and addresses are not."""
    assert without_path(name) == found


def test_columns_say_what_they_are(space: Workspace, tmp_path: Path) -> None:
    """In a DuckDB file every documented column has its description as a comment."""
    out = tmp_path / "s.duckdb"
    take_snapshot(Store(space.labels), out, overwrite=False)
    with duckdb.connect(str(out), read_only=True) as con:
        found = con.execute(
            "SELECT table_name, column_name, comment FROM duckdb_columns() WHERE NOT internal"
        ).fetchall()
    wanted = {(v.name, c.name, c.meaning) for v in documented_views() for c in v.columns}
    assert {row for row in found if row[0] != "about"} == wanted


def test_what_is_there_stays(space: Workspace, tmp_path: Path) -> None:
    """Nothing is replaced unasked; asked, a file and an earlier folder are, and nothing is left behind."""
    store = Store(space.labels)
    for out in (tmp_path / "s.duckdb", tmp_path / "s"):
        take_snapshot(store, out, overwrite=False)
        with pytest.raises(UsageError, match="is there already"):
            take_snapshot(store, out, overwrite=False)
        take_snapshot(store, out, overwrite=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["s", "s.duckdb"]


def test_a_job_writes_meanwhile(tmp_path: Path) -> None:
    """While a copy is worked on, the labels file takes new rows; the copy is of the moment it was made."""
    space = write_workspace(tmp_path / "w", evidence=False)
    store = Store(space.labels)
    with frozen(store, tmp_path) as con:
        writing = threading.Thread(
            target=store.insert, args=({"calls": [{"key": "new", "model": "m", "finish": "stop"}]},)
        )
        writing.start()
        writing.join(timeout=30)
        assert not writing.is_alive()
        assert con.execute("SELECT count(*) FROM calls").fetchone() == (1,)
    assert store.read("SELECT count(*) AS n FROM calls") == [{"n": 2}]
    assert [p.name for p in tmp_path.iterdir()] == ["w"]


def test_rows_that_are_only_in_the_log(tmp_path: Path) -> None:
    """What a killed process had committed, and is in the log beside the file alone, is in the copy."""
    space = write_workspace(tmp_path / "w", evidence=False)
    store = Store(space.labels)
    before = space.labels.read_bytes()
    with duckdb.connect(str(space.labels)) as con:
        con.execute("SET wal_autocheckpoint = '1GB'")
        con.execute("INSERT INTO store.calls (key, model, finish) VALUES ('logged', 'm', 'stop')")
        log = space.labels.with_name("labels.duckdb.wal")
        kept = log.read_bytes()
    space.labels.write_bytes(before)
    log.write_bytes(kept)
    with frozen(store, tmp_path) as con:
        assert con.execute("SELECT count(*) FROM calls").fetchone() == (2,)
