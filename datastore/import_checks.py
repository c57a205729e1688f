"""What imported Parquet files must be; each fault is named with its first offender and what to do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import duckdb

from exegete.errors import FormatError

CONTEXT_COLUMNS = ("context_id", "document", "tokens")
ACTIVATION_COLUMNS = ("feature", "context_id", "position", "activation")

_REFUSED = (
    (
        "SELECT count(*) FROM c HAVING count(*) = 0",
        "contexts.parquet has no rows: there is nothing to label",
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
        "SELECT feature, context_id FROM a WHERE activation IS NULL OR NOT isfinite(activation) LIMIT 1",
        "activations.parquet has an activation that is missing, NaN or infinite "
        "(feature {0}, context {1}): leave a row out only where the feature was silent",
    ),
    (
        "SELECT feature, context_id FROM a WHERE activation <= 0 LIMIT 1",
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


def check_import(con: duckdb.DuckDBPyConnection, source: Path) -> None:
    """Refuse what would make wrong evidence; leaves views `c` and `a` over the two files.

    Raises:
        FormatError: a file or column is missing, or a value can't be what it should be.
    """
    check_columns(con, source / "contexts.parquet", CONTEXT_COLUMNS)
    check_columns(con, source / "activations.parquet", ACTIVATION_COLUMNS)
    con.execute(f"CREATE VIEW c AS SELECT * FROM {parquet(source / 'contexts.parquet')}")
    con.execute(f"CREATE VIEW a AS SELECT * FROM {parquet(source / 'activations.parquet')}")
    for question, sentence in _REFUSED:
        try:
            row = con.execute(question).fetchone()
        except duckdb.Error as error:
            raise FormatError(
                f"{source} can't be read as described ({str(error).splitlines()[0]})"
            ) from error
        if row is not None:
            raise FormatError(f"{source}: {sentence.format(*row)}")


def check_columns(con: duckdb.DuckDBPyConnection, path: Path, wanted: Sequence[str]) -> None:
    """Refuse a file that is missing, is not Parquet, or lacks a column.

    Raises:
        FormatError: what is missing.
    """
    if not path.is_file():
        raise FormatError(
            f"{path.parent} has no {path.name}: it needs contexts.parquet and activations.parquet"
        )
    try:
        found = [row[0] for row in con.execute(f"DESCRIBE SELECT * FROM {parquet(path)}").fetchall()]
    except duckdb.Error as error:
        raise FormatError(f"{path} is not a Parquet file ({str(error).splitlines()[0]})") from error
    missing = [name for name in wanted if name not in found]
    if missing:
        raise FormatError(
            f"{path} lacks the column {', '.join(missing)}: it has {', '.join(found)} and needs "
            f"{', '.join(wanted)}"
        )


def parquet(path: Path) -> str:
    """A Parquet file as a table expression."""
    return "read_parquet('" + str(path).replace("'", "''") + "')"
