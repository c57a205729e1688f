"""What imported Parquet files must be; each fault is named with its first offender and what to do."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import duckdb

from exegete.errors import FormatError

_WHOLE = r"U?(TINYINT|SMALLINT|INTEGER|BIGINT|HUGEINT)"
CONTEXT_COLUMNS = {"context_id": _WHOLE, "document": "VARCHAR", "tokens": r"VARCHAR\[\]"}
ACTIVATION_COLUMNS = {
    "feature": _WHOLE,
    "context_id": _WHOLE,
    "position": _WHOLE,
    "activation": rf"FLOAT|DOUBLE|DECIMAL\(.*\)|{_WHOLE}",
}
FEATURE_COLUMNS = {"feature": _WHOLE}
"""Columns, and the DuckDB types that each may have."""

_REFUSED = (
    (
        "SELECT count(*) FROM c HAVING count(*) = 0",
        "contexts.parquet has no rows: there is nothing to label",
    ),
    (
        "SELECT document FROM c WHERE context_id IS NULL LIMIT 1",
        "contexts.parquet has a row without a context_id (document {0}): give every row one",
    ),
    (
        "SELECT context_id FROM c GROUP BY 1 HAVING count(*) > 1 LIMIT 1",
        "contexts.parquet has context_id {0} twice: ids must be unique",
    ),
    (
        "SELECT context_id FROM c WHERE document IS NULL OR tokens IS NULL OR len(tokens) = 0 "
        "OR list_contains(list_transform(tokens, lambda x: x IS NULL), true) LIMIT 1",
        "contexts.parquet has no document or no tokens in context {0}: give every context both",
    ),
    (
        "SELECT context_id, len(tokens) FROM c WHERE len(tokens) > 65535 LIMIT 1",
        "contexts.parquet has {1} tokens in context {0}: cut contexts to 65535 at most",
    ),
    (
        "SELECT feature, context_id FROM a WHERE feature IS NULL OR feature < 0 OR context_id IS NULL "
        "OR position IS NULL LIMIT 1",
        "activations.parquet has a row without a feature, context_id or position "
        "(feature {0}, context {1}): give every row all three",
    ),
    (
        "SELECT feature, context_id FROM a "
        "WHERE activation IS NULL OR NOT isfinite(activation::DOUBLE) LIMIT 1",
        "activations.parquet has an activation that is missing, NaN or infinite "
        "(feature {0}, context {1}): leave a row out only where the feature was silent",
    ),
    (
        "SELECT feature FROM a WHERE feature > 2147483647 LIMIT 1",
        "activations.parquet has feature {0}: number features up to 2147483647",
    ),
    (
        "SELECT feature, context_id FROM a WHERE TRY_CAST(activation AS FLOAT) IS NULL LIMIT 1",
        "activations.parquet has an activation beyond 32-bit floats (feature {0}, context {1}): scale them",
    ),
    (
        "SELECT feature, context_id FROM a WHERE activation::FLOAT <= 0 LIMIT 1",
        "activations.parquet has an activation at or below 0 (feature {0}, context {1}): "
        "it holds only what fires; leave silent positions out",
    ),
    (
        "SELECT context_id FROM a ANTI JOIN c USING (context_id) LIMIT 1",
        "activations.parquet names context {0}, which contexts.parquet does not have: add it",
    ),
    (
        "SELECT context_id, position, len(tokens) FROM a JOIN c USING (context_id) "
        "WHERE position < 0 OR position >= len(tokens) LIMIT 1",
        "activations.parquet has position {1} in context {0}, which has {2} tokens: count positions from 0",
    ),
    (
        "SELECT feature, context_id, position FROM a GROUP BY ALL HAVING count(*) > 1 LIMIT 1",
        "activations.parquet has feature {0} at context {1}, position {2} twice: keep one row",
    ),
)
"""Queries that find an offender, and what to say of it."""

_REFUSED_FEATURES = (
    (
        "SELECT feature FROM f WHERE feature IS NULL OR feature < 0 OR feature > 2147483647 LIMIT 1",
        "features.parquet has feature {0}: number features from 0 to 2147483647",
    ),
    (
        "SELECT feature FROM f GROUP BY 1 HAVING count(*) > 1 LIMIT 1",
        "features.parquet has feature {0} twice: keep one row",
    ),
)


def check_import(con: duckdb.DuckDBPyConnection, source: Path) -> None:
    """Refuse what would make wrong evidence; leaves views `c`, `a` and, if it is there, `f` over the files.

    Raises:
        FormatError: a file or column is missing, or a value can't be what it should be.
    """
    _view(con, "c", source / "contexts.parquet", CONTEXT_COLUMNS)
    _view(con, "a", source / "activations.parquet", ACTIVATION_COLUMNS)
    _refuse(con, source, _REFUSED)
    if (source / "features.parquet").exists():
        _view(con, "f", source / "features.parquet", FEATURE_COLUMNS)
        _refuse(con, source, _REFUSED_FEATURES)


def _view(con: duckdb.DuckDBPyConnection, name: str, path: Path, columns: Mapping[str, str]) -> None:
    check_columns(con, path, columns)
    con.execute(f"CREATE VIEW {name} AS SELECT * FROM {parquet(path)}")


def _refuse(con: duckdb.DuckDBPyConnection, source: Path, faults: Iterable[tuple[str, str]]) -> None:
    for question, sentence in faults:
        try:
            row = con.execute(question).fetchone()
        except duckdb.Error as error:
            raise FormatError(
                f"{source} can't be read as described ({str(error).splitlines()[0]})"
            ) from error
        if row is not None:
            raise FormatError(f"{source}: {sentence.format(*row)}")


def check_columns(con: duckdb.DuckDBPyConnection, path: Path, wanted: Mapping[str, str]) -> None:
    """Refuse a file that is missing, is not Parquet, or lacks a column or has it in another type.

    Args:
        con: any connection.
        path: the file.
        wanted: regular expressions of DuckDB types, by column.

    Raises:
        FormatError: what is missing or wrong.
    """
    if not path.is_file():
        raise FormatError(
            f"{path.parent} has no {path.name}: it needs contexts.parquet and activations.parquet"
        )
    try:
        rows = con.execute(f"DESCRIBE SELECT * FROM {parquet(path)}").fetchall()
    except duckdb.Error as error:
        raise FormatError(f"{path} is not a Parquet file ({str(error).splitlines()[0]})") from error
    found = {str(row[0]): str(row[1]) for row in rows}
    missing = [name for name in wanted if name not in found]
    if missing:
        raise FormatError(
            f"{path} lacks the column {', '.join(missing)}: it has {', '.join(found)} and needs "
            f"{', '.join(wanted)}"
        )
    for name, kind in wanted.items():
        if not re.fullmatch(kind, found[name]):
            raise FormatError(
                f"{path} has the column {name} of type {found[name]}: write it as docs/formats.md has it"
            )


def parquet(path: Path) -> str:
    """A Parquet file as a table expression."""
    return "read_parquet('" + str(path).replace("'", "''") + "')"
