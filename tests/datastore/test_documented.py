"""What the package says of the views is what docs/sql.md says."""

from __future__ import annotations

from pathlib import Path

import pytest

from exegete.datastore.documented import documented_views
from exegete.datastore.store import Store


def test_every_view_and_column(tmp_path: Path) -> None:
    """All public views are there, with their columns in order, and each has something to say."""
    store = Store(tmp_path / "labels.duckdb")
    views = {view.name: view for view in documented_views()}
    rows = store.read(
        "SELECT view_name AS name FROM duckdb_views() WHERE schema_name = 'main' AND NOT internal"
    )
    assert set(views) == {row["name"] for row in rows}
    for name, view in views.items():
        columns = store.read(f"DESCRIBE SELECT * FROM {name}")
        assert [(c.name, c.type) for c in view.columns] == [
            (c["column_name"], c["column_type"]) for c in columns
        ]
        assert view.text
        assert all(column.meaning for column in view.columns)


@pytest.mark.parametrize("sign", ["`", "| ", "\n"])
def test_no_markup_is_left(sign: str) -> None:
    """Texts are plain: no code marks, no borders of tables, one line."""
    for view in documented_views():
        assert sign not in view.text
        assert not [c for c in view.columns if sign in c.meaning]
