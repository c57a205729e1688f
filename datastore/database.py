"""Opening DuckDB files the one way this project does it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import duckdb

STORAGE_VERSION = "v1.5.0"
"""Files are written so that every DuckDB from this one on can read them."""


def settings(read_only: bool) -> dict[str, Any]:
    """Configuration of a connection: modest, because torch shares the machine."""
    config: dict[str, Any] = {
        "threads": min(4, os.cpu_count() or 1),
        "memory_limit": "2GB",
        "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false",
    }
    if not read_only:
        config["storage_compatibility_version"] = STORAGE_VERSION
    return config


def connect(path: Path, *, read_only: bool) -> duckdb.DuckDBPyConnection:
    """Open a DuckDB file; see `settings`.

    Raises:
        duckdb.Error: as DuckDB does; callers turn it into a sentence about their file.
    """
    return duckdb.connect(str(path), read_only=read_only, config=settings(read_only))
