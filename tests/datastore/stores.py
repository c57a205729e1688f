"""Labels files, and rows for them."""

from __future__ import annotations

from typing import Any

from exegete.datastore.store import Store


def call(key: str, **more: Any) -> dict[str, Any]:
    """A row of `calls`."""
    return {"key": key, "model": "m", "finish": "stop", **more}


def keys(store: Store) -> list[str]:
    """Keys of all calls, sorted."""
    return [row["key"] for row in store.read("SELECT key FROM calls ORDER BY key")]
