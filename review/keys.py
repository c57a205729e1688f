"""Which feature a card is about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from exegete.datastore.records import Polarity
from exegete.datastore.store import Store
from exegete.errors import UsageError


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """A labelled feature of a workspace."""

    harvest: str
    index: int
    polarity: Polarity

    def __str__(self) -> str:
        return f"{self.index}{'' if self.polarity == '+' else self.polarity}"


def key_of(row: dict[str, Any]) -> Key:
    """The key of a row of a view that has `harvest`, `feature_index` and `polarity`."""
    return Key(row["harvest"], row["feature_index"], row["polarity"])


def find(store: Store, index: int, polarity: Polarity, harvest: str | None = None) -> dict[str, Any]:
    """The row of the view `labels` of a feature that a person names.

    Args:
        store: the labels file.
        index: the feature.
        polarity: its side.
        harvest: its harvest, or a part of its name; needed only when several have the feature.

    Raises:
        UsageError: it has no result, or several harvests have one.
    """
    rows = store.read(
        "SELECT * FROM labels WHERE feature_index = ? AND polarity = ? AND contains(harvest, ?)",
        [index, polarity, harvest or ""],
    )
    if not rows:
        raise UsageError(f"feature {index}{polarity.strip('+')} has no result yet: label it first")
    if len(rows) > 1:
        raise UsageError(f"choose with --harvest among {', '.join(row['harvest'] for row in rows)}")
    return rows[0]
