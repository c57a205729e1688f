"""Labels as one file for other programs: Parquet, JSON lines or CSV.

All three have the rows of the view `labels` with all its columns, in one order, so the same labels make the
same bytes. DuckDB writes them as a stream: memory does not grow with their number.

In CSV no text is one that a spreadsheet would take for a formula (spreadsheet.py), and lists are JSON.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import duckdb

from exegete.datastore.export_choice import ORDER, Choice
from exegete.datastore.frozen import frozen
from exegete.datastore.placed import placed
from exegete.datastore.spreadsheet import harmless_sql
from exegete.datastore.store import Store

TableForm = Literal["parquet", "jsonl", "csv"]

_COPY: dict[str, str] = {
    "parquet": "FORMAT parquet, COMPRESSION zstd",
    "jsonl": "FORMAT json",
    "csv": "FORMAT csv, HEADER",
}


def export_table(store: Store, choice: Choice, form: TableForm, out: Path, *, overwrite: bool) -> int:
    """Write chosen labels to one file, whole or not at all.

    Args:
        store: the labels file.
        choice: which labels.
        form: of the file.
        out: the file.
        overwrite: whether a file that is there may be replaced.

    Returns:
        Rows written.

    Raises:
        UsageError: there is a file already.
        WorkspaceBusy: a writer holds the labels file for too long.
        WorkspaceError: the file can't be written.
    """
    where, parameters = choice.where()
    with placed(out, overwrite=overwrite) as draft, frozen(store, out.parent) as con:
        columns = _columns_for_csv(con, "labels") if form == "csv" else "*"
        target = str(draft).replace("'", "''")
        counted = con.execute(
            f"COPY (SELECT {columns} FROM labels {where} {ORDER}) TO '{target}' ({_COPY[form]})", parameters
        ).fetchone()
    return int(counted[0]) if counted else 0


def _columns_for_csv(con: duckdb.DuckDBPyConnection, table: str) -> str:
    """A SELECT list with every text harmless to spreadsheets, and every list as JSON."""
    parts = []
    for name, kind, *_ in con.execute(f"DESCRIBE SELECT * FROM {table}").fetchall():
        text = f"CAST(to_json({name}) AS VARCHAR)" if kind.endswith("[]") else name
        if kind == "VARCHAR":
            text = harmless_sql(name)
        parts.append(f"{text} AS {name}")
    return ", ".join(parts)
