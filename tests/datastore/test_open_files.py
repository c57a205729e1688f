"""Opening DuckDB files: in a format both majors read, with nothing fetched from elsewhere."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from exegete.datastore.database import STORAGE_VERSION, connect


def test_storage_version(tmp_path: Path) -> None:
    """Files are written for the oldest DuckDB that is supported, whichever writes them."""
    path = tmp_path / "x.duckdb"
    with connect(path, read_only=False) as con:
        con.execute("CREATE TABLE t AS SELECT 1 AS i")
        tags = con.execute("SELECT tags FROM duckdb_databases() WHERE database_name = 'x'").fetchone()
    assert tags is not None
    assert STORAGE_VERSION.rstrip("0").rstrip(".") in str(tags[0])


def test_settings(tmp_path: Path) -> None:
    """A connection keeps to its share of the machine, and installs and loads no extension by itself."""
    with connect(tmp_path / "x.duckdb", read_only=False) as con:
        found = dict(con.execute("SELECT name, value FROM duckdb_settings()").fetchall())
    assert int(found["threads"]) <= 4
    assert found["memory_limit"] in ("1.8 GiB", "1.9 GiB", "2.0 GB")
    assert found["autoinstall_known_extensions"] == "false"
    assert found["autoload_known_extensions"] == "false"


def test_read_only(tmp_path: Path) -> None:
    """A read-only connection neither writes nor makes a file."""
    path = tmp_path / "x.duckdb"
    with pytest.raises(duckdb.IOException):
        connect(path, read_only=True)
    assert not path.exists()
