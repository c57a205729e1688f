"""Text that tries to become markup, in every place of a labels file where text from outside can be."""

from __future__ import annotations

import duckdb

from exegete.datastore.store import Store
from exegete.datastore.workspace import Workspace

EVIL = (
    '</script><script>window.evil=1</script><img src=x onerror="window.evil=1"><b>&{{7*7}} '
    '<a href="javascript:window.evil=1">`code`</a> \u202e\x1b[31m'
)
_COLUMNS = {
    "outcomes": ("label", "why", "output_label"),
    "scores": ("why_none",),
    "calls": ("stage", "model", "served_by", "prices"),
    "experiments": ("kind", "why"),
    "decisions": ("step", "action", "why", "quantity"),
    "controls": ("kind",),
    "harvests": ("subject", "site", "corpus", "dictionary"),
    "reviews": ("decision",),
}


def poison(space: Workspace, text: str) -> None:
    """Put a text into every column of words."""

    def work(con: duckdb.DuckDBPyConnection) -> None:
        for table, columns in _COLUMNS.items():
            for column in columns:
                con.execute(f"UPDATE store.{table} SET {column} = ?", [text])
        con.execute(
            "UPDATE store.examples SET words = list_transform(words, lambda w: w || ?::VARCHAR)", [text]
        )
        con.execute("UPDATE store.outcomes SET reasons = [?]", [text])
        con.execute("UPDATE store.nulls SET kind = ? WHERE kind = 'lexical'", [text])

    Store(space.labels).write(work)
