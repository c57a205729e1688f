"""The labels file: migrations, whole transactions, and the public views."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import duckdb
import pytest

from exegete.datastore import store as store_module
from exegete.datastore.database import connect
from exegete.datastore.store import Store, insert_rows
from exegete.errors import WorkspaceDamaged, WorkspaceError
from tests.datastore.stores import call, keys
from tests.datastore.view_rows import label, score

STEPS = len(list((Path(store_module.__file__).parent / "schema").glob("[0-9]*.sql")))
"""This version's schema."""
VIEWS = {
    "labels",
    "features",
    "outcomes",
    "scores",
    "examples",
    "calls",
    "decisions",
    "experiments",
    "outputs",
    "reviews",
    "runs",
    "nulls",
    "calibrations",
    "controls",
}


def test_from_nothing(path: Path) -> None:
    """A new file has every public view, each of which answers, and the schema's version."""
    store = Store(path)
    found = store.read("SELECT view_name FROM duckdb_views() WHERE NOT internal AND schema_name = 'main'")
    assert {row["view_name"] for row in found} == VIEWS
    for view in VIEWS:
        assert store.read(f"SELECT * FROM {view}") == []
    assert store.read("SELECT version FROM schema_version") == [{"version": STEPS}]


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
    more = "ALTER TABLE store.calls ADD COLUMN extra INTEGER DEFAULT 7;"
    (fake / f"{STEPS + 1:03d}_more.sql").write_text(more)
    (fake / f"{STEPS + 2:03d}_yet_more.sql").write_text("UPDATE store.calls SET extra = extra * 2;")
    monkeypatch.setattr(store_module, "files", lambda _: fake.parent)
    for _ in range(2):
        store = Store(path)
        assert store.read("SELECT key, extra FROM store.calls") == [{"key": "a", "extra": 14}]
        assert store.read("SELECT version FROM schema_version") == [{"version": STEPS + 2}]


def test_scores_of_an_older_file_learn_whose_they_are(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Step 7 gives each score the feature of its label; one whose label is not there has none."""
    fake = tmp_path / "package" / "schema"
    fake.mkdir(parents=True)
    for own in (Path(store_module.__file__).parent / "schema").iterdir():
        if own.name < "007" or own.name == "views.sql":
            (fake / own.name).write_text(own.read_text())
    labels = [label(i, minute, text, "r") for i, minute, text in ((4, 1, "a"), (4, 2, "a"), (9, 1, "b"))]
    scores = [score(i, 1, text, "r", 0.5) for i, text in ((4, "a"), (9, "b"), (7, "lost"))]
    with monkeypatch.context() as patch:
        patch.setattr(store_module, "files", lambda _: fake.parent)
        Store(path).insert({"labels": labels, "scores": scores})
    found = Store(path).read("SELECT label_id, feature_index FROM store.scores ORDER BY label_id")
    assert [tuple(row.values()) for row in found] == [("4:a", 4), ("7:lost", None), ("9:b", 9)]


def test_a_failing_migration_leaves_the_file(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step that fails takes the ones before it back."""
    Store(path).insert({"calls": [call("a")]})
    fake = tmp_path / "package" / "schema"
    fake.mkdir(parents=True)
    for own in (Path(store_module.__file__).parent / "schema").iterdir():
        (fake / own.name).write_text(own.read_text())
    (fake / f"{STEPS + 1:03d}_more.sql").write_text("ALTER TABLE store.calls ADD COLUMN extra INTEGER;")
    (fake / f"{STEPS + 2:03d}_wrong.sql").write_text("SELECT nonsense;")
    with monkeypatch.context() as patch:
        patch.setattr(store_module, "files", lambda _: fake.parent)
        with pytest.raises(duckdb.Error):
            Store(path)
    assert keys(Store(path)) == ["a"]
    assert Store(path).read("SELECT version FROM schema_version") == [{"version": STEPS}]


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
