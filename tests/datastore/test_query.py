"""Read-only SQL: what is answered, what is cut, and what is refused in one sentence."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from exegete.datastore.query import query
from exegete.datastore.store import Store
from exegete.errors import UsageError, WorkspaceDamaged

LONG = "SELECT count(*) FROM range(10000000) a, range(10000000) b WHERE a.range % 7 = b.range % 5"


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("query") / "labels.duckdb"
    calls = [{"key": f"k{i}", "model": "m", "finish": "stop", "input_tokens": i} for i in range(50)]
    Store(path).insert({"calls": calls})
    return path


@pytest.mark.parametrize(
    ("statement", "rows"),
    [
        ("SELECT key, input_tokens FROM calls WHERE input_tokens = 7", [("k7", 7)]),
        ("SELECT sum(input_tokens) FROM calls;", [(1225,)]),
        ("FROM calls SELECT count(*)", [(50,)]),
        ("WITH x AS (SELECT 1 AS a) SELECT a FROM x -- a comment", [(1,)]),
        ("SELECT NULL", [(None,)]),
        ("SELECT name FROM (SHOW TABLES) WHERE name = 'calls'", [("calls",)]),
        ("SELECT key FROM calls WHERE false", []),
    ],
)
def test_answers(path: Path, statement: str, rows: list[tuple[object, ...]]) -> None:
    """A SELECT in any of its forms is answered with names and rows."""
    answer = query(path, statement, 10, 10)
    assert list(answer.rows) == rows
    assert not answer.cut


@pytest.mark.parametrize("statement", ["DESCRIBE labels", "EXPLAIN SELECT 1", "SUMMARIZE calls"])
def test_questions_about_the_file(path: Path, statement: str) -> None:
    """So are questions about the views themselves."""
    assert query(path, statement, 100, 10).rows


@pytest.mark.parametrize(
    ("limit", "n", "cut"), [(1, 1, True), (49, 49, True), (50, 50, False), (51, 50, False)]
)
def test_cut(path: Path, limit: int, n: int, cut: bool) -> None:
    """At most `limit` rows come back, and it is said whether there were more."""
    answer = query(path, "SELECT key FROM calls", limit, 10)
    assert (len(answer.rows), answer.cut) == (n, cut)


def test_an_endless_answer_is_cut(path: Path) -> None:
    """Rows are fetched as they come: a thousand billion of them cost no more than the limit."""
    answer = query(path, "SELECT * FROM range(1000000000000)", 3, 20)
    assert (answer.rows, answer.cut) == (((0,), (1,), (2,)), True)


def test_time_runs_out(path: Path) -> None:
    """A heavy query is interrupted in time, in one sentence; the file answers the next one."""
    start = time.monotonic()
    with pytest.raises(UsageError, match=r"took longer than 0\.3 s: narrow it"):
        query(path, LONG, 10, 0.3)
    assert time.monotonic() - start < 20
    assert query(path, "SELECT 1", 10, 10).rows == ((1,),)


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO store.calls (key, model, finish) VALUES ('a', 'm', 'stop')",
        "UPDATE store.calls SET model = 'x'",
        "DELETE FROM store.calls",
        "DROP TABLE store.calls",
        "TRUNCATE store.calls",
        "CREATE TABLE x (i INTEGER)",
        "CREATE TEMP TABLE x (i INTEGER)",
        "CREATE OR REPLACE VIEW labels AS SELECT 1",
        "CREATE MACRO f(x) AS x",
        "WITH gone AS (DELETE FROM store.calls RETURNING key) SELECT * FROM gone",
        "EXPLAIN ANALYZE DELETE FROM store.calls",
        "COPY calls TO 'out.csv'",
        "COPY (SELECT 1) TO '/dev/stdout'",
        "EXPORT DATABASE 'out'",
        "IMPORT DATABASE 'out'",
        "ATTACH 'other.duckdb' AS other",
        "ATTACH ':memory:' AS other",
        "DETACH labels",
        "USE store",
        "SELECT * FROM read_csv('/etc/hostname')",
        "SELECT * FROM read_text('/etc/hostname')",
        "SELECT * FROM '/etc/hostname'",
        "SELECT * FROM glob('/*')",
        "SELECT * FROM 'https://example.com/x.csv'",
        "SELECT * FROM sniff_csv('/etc/hostname')",
        "SET threads = 1",
        "SET enable_external_access = true",
        "SET VARIABLE x = 1",
        "RESET lock_configuration",
        "PRAGMA enable_external_access = true",
        "INSTALL httpfs",
        "LOAD httpfs",
        "BEGIN",
        "CHECKPOINT",
        "VACUUM",
        "PREPARE x AS SELECT 1",
        "CALL pragma_version()",
    ],
)
def test_refused(path: Path, statement: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever writes, touches files or settings is refused in one sentence, and has done nothing."""
    monkeypatch.chdir(tmp_path)
    before = path.read_bytes()
    with pytest.raises(UsageError) as caught:
        query(path, statement, 10, 10)
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("statement", ["", "  ", "-- nothing", ";"])
def test_no_statement(path: Path, statement: str) -> None:
    """Nothing is not a statement."""
    with pytest.raises(UsageError, match="one SQL statement and not 0"):
        query(path, statement, 10, 10)


def test_several_statements(path: Path) -> None:
    """Two statements are refused before the first is run."""
    before = path.read_bytes()
    with pytest.raises(UsageError, match="one SQL statement and not 2"):
        query(path, "SELECT 1; DELETE FROM store.calls", 10, 10)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("SELEC 1", "syntax error"),
        ("SELECT nope FROM calls", "nope"),
        ("SELECT disk FROM calls", "disk"),
        ("SELECT * FROM nowhere", "nowhere"),
        ("SELECT 'a'::INTEGER", "convert"),
        ("SELECT error('first\nsecond')", "first"),
        ("SELECT * FROM statements", "statements does not exist"),
        ("SELECT * FROM store_module", "does not exist"),
    ],
)
def test_wrong(path: Path, statement: str, said: str) -> None:
    """Wrong SQL is a usage error of one line that says what is wrong and where the columns are listed.

    `statements` is a variable of the code that runs the query, which no query can read.
    """
    with pytest.raises(UsageError) as caught:
        query(path, statement, 10, 10)
    text = str(caught.value)
    assert said in text
    assert text.endswith("docs/sql.md lists views and columns")
    assert "\n" not in text


def test_damage_is_not_the_querys_fault(path: Path, tmp_path: Path) -> None:
    """A damaged file is named as such, and not as a wrong query."""
    raw = bytearray(path.read_bytes())
    raw[12288:] = bytes(b ^ 0xFF for b in raw[12288:])
    hurt = tmp_path / "labels.duckdb"
    hurt.write_bytes(raw)
    with pytest.raises(WorkspaceDamaged):
        query(hurt, "SELECT * FROM calls", 10, 10)
