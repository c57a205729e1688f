"""A workspace's public views, to hand to a colleague: one DuckDB file, or a folder of Parquet files.

Either stands on its own: any DuckDB opens it, and exegete is not needed. It has every public view as a
table under its name, with what docs/sql.md says of its columns, and a table `about`. It has neither the
journal (what was sent to models, and what they said) nor keys, and no folder names of the machine it was
made on: of every absolute path among a run's parameters and among names only the last part is left, and
`about` counts them. Texts of the corpus and of labels are left as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import duckdb

import exegete
from exegete.datastore.database import STORAGE_VERSION
from exegete.datastore.documented import View, documented_views
from exegete.datastore.frozen import frozen
from exegete.datastore.local_paths import IN_JSON, IN_NAME
from exegete.datastore.placed import mark, placed
from exegete.datastore.store import Store

_NAMES = frozenset({"author", "document", "model", "scorer", "served_by", "subject", "dictionary", "site"})
"""Text columns that name things; a path among them is of this machine. What else is text, or JSON, is what
somebody wrote, which may begin with a slash."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What was made."""

    rows: dict[str, int]
    """By view."""
    paths: int
    """Values of which only the last part of a path is left."""


def take_snapshot(store: Store, out: Path, *, overwrite: bool) -> Snapshot:
    """Write the public views to `out`, whole or not at all.

    Args:
        store: the labels file; a job that writes to it waits only while it is copied.
        out: a file that ends in .duckdb, or a folder for Parquet files.
        overwrite: whether a file, or an earlier snapshot's folder, may be replaced.

    Raises:
        UsageError: something is there already.
        WorkspaceBusy: a writer holds the labels file for too long.
        WorkspaceError: it can't be written.
    """
    with placed(out, overwrite=overwrite) as draft, frozen(store, out.parent) as con:
        views = documented_views()
        selects = {view.name: _without_paths(view) for view in views}
        paths = sum(_count_paths(con, view) for view in views)
        rows = {view.name: _count(con, view.name) for view in views}
        about = [
            ("exegete", exegete.__version__),
            ("harvests", ", ".join(sorted(_all(con, "SELECT DISTINCT harvest FROM features")))),
            ("runs", ", ".join(sorted(_all(con, "SELECT run FROM runs")))),
            ("latest label", "".join(_all(con, "SELECT CAST(max(labelled_at) AS VARCHAR) FROM labels"))),
            ("paths cut to their last part", str(paths)),
            ("left out", "the journal: what was sent to models, and their replies"),
            *((f"rows of {name}", str(n)) for name, n in rows.items()),
        ]
        con.execute("CREATE TABLE about_ (key VARCHAR, value VARCHAR)")
        con.executemany("INSERT INTO about_ VALUES (?, ?)", about)
        selects["about"] = "SELECT * FROM about_"
        if out.suffix == ".duckdb":
            _write_database(con, draft, selects, views)
        else:
            draft.mkdir()
            for name, select in selects.items():
                con.execute(f"COPY ({select}) TO {_quoted(draft / f'{name}.parquet')} (FORMAT parquet)")
            mark(draft, {"snapshot": "parquet", "exegete": exegete.__version__, "rows": rows})
    return Snapshot(rows, paths)


def _write_database(
    con: duckdb.DuckDBPyConnection, draft: Path, selects: dict[str, str], views: tuple[View, ...]
) -> None:
    con.execute(f"ATTACH {_quoted(draft)} AS snapshot (STORAGE_VERSION '{STORAGE_VERSION}')")
    # Hundreds of comments, each written to the disk by itself, would take longer than the rows.
    con.execute("BEGIN")
    for name, select in selects.items():
        con.execute(f"CREATE TABLE snapshot.{name} AS {select}")
    for view in views:
        con.execute(f"COMMENT ON TABLE snapshot.{view.name} IS {_quoted(view.text)}")
        for column in view.columns:
            con.execute(f"COMMENT ON COLUMN snapshot.{view.name}.{column.name} IS {_quoted(column.meaning)}")
    con.execute("COMMIT")
    con.execute("DETACH snapshot")


def _scrubbed(view: View) -> list[tuple[str, str, str]]:
    """(column, pattern of a path in it, what is put there) of the columns that may hold one."""
    found = []
    for column in view.columns:
        if (view.name, column.name) == ("runs", "parameters"):
            found.append((column.name, IN_JSON, r'"\1'))
        elif column.type == "VARCHAR" and column.name in _NAMES:
            found.append((column.name, IN_NAME, r"\1"))
    return found


def _without_paths(view: View) -> str:
    """A view's rows, in its own order of columns, with of every path its last part."""
    replaced = [
        f"CAST(regexp_replace(CAST({name} AS VARCHAR), {_quoted(pattern)}, {_quoted(put)}, 'g') "
        f"AS {'JSON' if pattern is IN_JSON else 'VARCHAR'}) AS {name}"
        for name, pattern, put in _scrubbed(view)
    ]
    change = f" REPLACE ({', '.join(replaced)})" if replaced else ""
    return f"SELECT *{change} FROM {view.name}"


def _count_paths(con: duckdb.DuckDBPyConnection, view: View) -> int:
    found = [
        f"count(*) FILTER (regexp_matches(CAST({name} AS VARCHAR), {_quoted(pattern)}))"
        for name, pattern, _ in _scrubbed(view)
    ]
    row = con.execute(f"SELECT {', '.join(found)} FROM {view.name}").fetchone() if found else None
    return sum(row or ())


def _count(con: duckdb.DuckDBPyConnection, name: str) -> int:
    row = con.execute(f"SELECT count(*) FROM {name}").fetchone()
    return int(row[0]) if row else 0


def _all(con: duckdb.DuckDBPyConnection, sql: str) -> list[str]:
    return [row[0] for row in con.execute(sql).fetchall() if row[0] is not None]


def _quoted(text: object) -> str:
    return "'" + str(text).replace("'", "''") + "'"
