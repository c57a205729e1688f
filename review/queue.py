"""What a person should look at, the look that is worth most first (`exegete.review.worth`).

Into the queue go the labels whose status is `review`, and at random places one card in ten of the random
slice (`exegete.review.audit`); for a reviewer with a name also cards that somebody else has decided, to be
decided a second time. A card that the reviewer skipped comes last.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import duckdb
import pyarrow as pa

from exegete.datastore.hashing import digest64
from exegete.datastore.query import query
from exegete.datastore.records import Status
from exegete.datastore.store import Store
from exegete.errors import UsageError
from exegete.explainers.hygiene import clean
from exegete.review.agreement import OPEN_DISAGREEMENTS
from exegete.review.audit import PLACE, SECOND, SLICE, slices
from exegete.review.keys import Key, key_of
from exegete.review.worth import WORTH, in_words

__all__ = ["Item", "Key", "Which", "queue", "stamp"]

Which = Literal["review", "audit", "flagged", "disagreements", "second", "all"]

LIMIT = 5000
"""Cards a queue holds at most: several days of a person's work."""
SQL_ROWS, SQL_SECONDS = 100_000, 30.0
"""What the query of a saved queue may return, and how long it may take."""


@dataclass(frozen=True, slots=True)
class Item:
    """A card to be looked at."""

    key: Key
    label: str | None
    status: Status
    score: float | None
    low: float | None
    high: float | None
    confidence: float | None
    reasons: tuple[str, ...]
    """Why it is in the queue, in words; the verdict's own sentence where there is no reason."""
    worth: float
    """Bits, weighed by how often the feature fires."""
    audit: bool
    """Of the random slice: kept with the decision, and not shown to whoever decides."""


@dataclass(frozen=True, slots=True)
class Filters:
    """What a queue is narrowed to; None leaves all."""

    search: str = ""
    """Part of a label, or a feature's index."""
    harvest: str | None = None
    """Name, or a part of it."""
    layer: int | None = None
    status: Status | None = None
    reason: str | None = None
    """Short name, as in the column `reasons`."""
    run: str | None = None


def queue(
    store: Store,
    *,
    which: str = "review",
    search: str = "",
    sql: str | None = None,
    harvest: str | None = None,
    reviewer: str | None = None,
    layer: int | None = None,
    status: Status | None = None,
    reason: str | None = None,
    run: str | None = None,
    limit: int = LIMIT,
) -> list[Item]:
    """Cards in the order in which they are worth a look.

    Args:
        store: the labels file.
        which: `review` (what waits, with the random slice), `audit` (the slice alone, what is not decided),
            `flagged`, `disagreements` (two reviewers decided differently and nobody since), `second` (decided
            by one other reviewer, and dealt again), or `all` (every labelled feature).
        search: part of a label, or a feature's index.
        sql: a saved queue: one SELECT over the public views that returns `feature_index`, and `polarity` and
            `harvest` if it likes. Its features are dealt in its order, whatever their status.
        harvest: name of a harvest, or a part of it.
        reviewer: who asks; None sees no second reviews, and has skipped nothing.
        layer, status, reason, run: as in the view `labels`.
        limit: cards at most.

    Raises:
        UsageError: there is no such queue, or the SELECT can't be used.
        WorkspaceBusy: a writer holds the labels file for too long.
    """
    filters = Filters(clean(search), harvest, layer, status, reason, run)
    if which not in _WHERE:
        raise UsageError(f"there is no queue {which!r}: choose among {', '.join(_WHERE)}")
    wanted = None if sql is None else _wanted(store, sql)

    def work(con: duckdb.DuckDBPyConnection) -> list[list[dict[str, Any]]]:
        _prepare(con, wanted, reviewer)
        _find(con, which, filters, wanted is not None)
        mixed = which == "review" and wanted is None and not filters.search
        if not mixed:
            return [_cards(con, "true", "place" if which == "audit" else _ORDER, limit)]
        return [
            _cards(con, "NOT audit AND NOT second", _ORDER, limit),
            _cards(con, "audit", "place", limit),
            _cards(con, "second", "second_place", limit),
        ]

    # The rest is done once the file is closed again: a job may be waiting for it.
    cards, *dealt = store.reading(work)
    for others in dealt:
        cards = _mixed(cards, others)
    return [_item(row) for row in cards[:limit]]


def counts(store: Store, reviewer: str | None) -> dict[str, int]:
    """How many cards each queue holds, by its name; cards that were skipped are counted too.

    Raises:
        WorkspaceBusy: a writer holds the labels file for too long.
    """

    def work(con: duckdb.DuckDBPyConnection) -> dict[str, int]:
        _prepare(con, None, reviewer)
        known = {name: getattr(Filters(), name) for name in Filters.__slots__}
        cursor = con.execute(_COUNTED.format(wanted="0", join=""), known)
        names = [column[0] for column in cursor.description or ()]
        (row,) = cursor.fetchall()
        return dict(zip(names, row, strict=True))

    return store.reading(work)


def stamp(store: Store) -> tuple[int, int]:
    """What changes with the labels file: a queue is as it was while this is.

    A running job writes every second or two; who shows a queue may show an older one for some seconds.
    """
    found = [path.stat() for path in (store.path, store.path.with_suffix(".duckdb.wal")) if path.exists()]
    return max((s.st_mtime_ns for s in found), default=0), sum(s.st_size for s in found)


_AUDIT = "(l.place < s.share AND l.reviewer IS NULL AND l.label IS NOT NULL)"
_AGAIN = f"""(l.second_place < {SECOND} AND l.reviewer IS NOT NULL
    AND (l.harvest, l.feature_index, l.polarity) IN (SELECT * FROM decided_once))"""
_WHERE = {
    "review": f"l.status = 'review' OR {_AUDIT} OR {_AGAIN}",
    "audit": _AUDIT,
    "flagged": "(l.harvest, l.feature_index, l.polarity) IN (SELECT * FROM flagged)",
    "disagreements": f"(l.harvest, l.feature_index, l.polarity) IN ({OPEN_DISAGREEMENTS})",
    "second": _AGAIN,
    "all": "l.label IS NOT NULL",
}
"""Which cards each queue holds."""

_OF_PEOPLE = """
CREATE TEMP TABLE flagged AS
    SELECT harvest, feature_index, polarity FROM store.standing WHERE decision IN ('flag', 'unflag')
    GROUP BY ALL HAVING arg_max(decision, made_at) = 'flag';
CREATE TEMP TABLE skipped AS
    SELECT harvest, feature_index, polarity, label_before, max(made_at) AS made_at FROM store.standing
    WHERE decision = 'skip' AND reviewer = $reviewer GROUP BY ALL;
CREATE TEMP TABLE decided_once AS
    SELECT harvest, feature_index, polarity FROM store.decided
    GROUP BY ALL HAVING count(DISTINCT reviewer) = 1 AND min(reviewer) != $reviewer"""
"""What people did, as far as it moves cards; a comparison with no reviewer holds for nobody."""

_SHOWN = (
    *("feature_index", "polarity", "harvest", "label", "status", "score", "low", "high", "confidence"),
    *("reasons", "twins", "tests", "tests_held", "why"),
)

_PLACED = f"""(
    SELECT l.*, {{wanted}} AS wanted,
        {PLACE.format(salt="s.salt", name="place")},
        {PLACE.format(salt="s.second_salt", name="second_place")}
    FROM labels l JOIN slices s ON s.run = l.run {{join}}
    WHERE ($search = '' OR contains(lower(l.label), lower($search))
           OR CAST(l.feature_index AS VARCHAR) = $search)
      AND ($harvest IS NULL OR contains(l.harvest, $harvest)) AND ($layer IS NULL OR l.layer = $layer)
      AND ($status IS NULL OR l.status = $status) AND ($run IS NULL OR l.run = $run)
      AND ($reason IS NULL OR list_contains(l.reasons, $reason))
) l
JOIN slices s ON s.run = l.run"""
"""Labels with their runs' slices, narrowed by what was asked for."""

_COUNTED = f"""
SELECT {", ".join(f'count(*) FILTER ("{which}") AS "{which}"' for which in _WHERE)}
FROM (SELECT {", ".join(f'{where} AS "{which}"' for which, where in _WHERE.items())} FROM {_PLACED})"""

_FOUND = f"""
CREATE TEMP TABLE cards AS
SELECT {", ".join(f"l.{name}" for name in _SHOWN)}, {WORTH} AS worth, l.place, l.second_place, l.wanted,
    k.made_at AS skipped, {_AUDIT} AS audit, {_AGAIN} AS second
FROM {_PLACED}
LEFT JOIN skipped k
    ON k.harvest = l.harvest AND k.feature_index = l.feature_index AND k.polarity = l.polarity
    AND k.label_before IS NOT DISTINCT FROM l.label
WHERE {{where}}"""

_WANTED = """JOIN wanted w ON w.feature_index = l.feature_index
    AND coalesce(w.polarity, l.polarity) = l.polarity AND coalesce(w.harvest, l.harvest) = l.harvest"""

_ORDER = "wanted, skipped NULLS FIRST, worth DESC, harvest, feature_index, polarity"


def _prepare(con: duckdb.DuckDBPyConnection, wanted: pa.Table | None, reviewer: str | None) -> None:
    """What the query joins, for this connection alone."""
    found = slices(con)
    columns = {
        "run": pa.array([one.run for one in found], pa.string()),
        "share": pa.array([one.share for one in found], pa.float64()),
        "salt": pa.array([one.salt for one in found], pa.uint64()),
        "second_salt": pa.array([one.second_salt for one in found], pa.uint64()),
    }
    con.register("slices", pa.table(columns))
    if wanted is not None:
        con.register("wanted", wanted)
    for statement in _OF_PEOPLE.split(";"):
        con.execute(statement, {"reviewer": reviewer} if "$reviewer" in statement else {})


def _find(con: duckdb.DuckDBPyConnection, which: str, filters: Filters, wanted: bool) -> None:
    """Put the cards of a queue into a table of this connection, once: the view takes most of the time."""
    statement = _FOUND.format(
        wanted="w.number" if wanted else "0",
        join=_WANTED if wanted else "",
        where="true" if wanted and which == "review" else _WHERE[which],
    )
    con.execute(statement, {name: getattr(filters, name) for name in Filters.__slots__})


def _cards(con: duckdb.DuckDBPyConnection, where: str, order: str, limit: int) -> list[dict[str, Any]]:
    """Rows of that table."""
    cursor = con.execute(f"SELECT * FROM cards WHERE {where} ORDER BY {order} LIMIT {int(limit)}")
    names = [column[0] for column in cursor.description or ()]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def _mixed(cards: Sequence[dict[str, Any]], dealt: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Cards with others dealt among them, one in ten, each at a place that is a digest of its feature."""
    block, at = round(1 / SLICE), 0
    mixed: list[dict[str, Any]] = []
    for other in dealt:
        some = list(cards[at : at + block - 1])
        at += block - 1
        key = key_of(other)
        some.insert(digest64(key.harvest, key.index, key.polarity, "place") % (len(some) + 1), other)
        mixed += some
    return [*mixed, *cards[at:]]


def _wanted(store: Store, sql: str) -> pa.Table:
    """The features that a saved queue's query returns, in its order."""
    found = query(store.path, sql, SQL_ROWS, SQL_SECONDS)
    if "feature_index" not in found.names:
        raise UsageError("a queue's query returns feature_index (and polarity, harvest): select that column")
    n = len(found.rows)
    columns = {
        name: [row[found.names.index(name)] for row in found.rows] if name in found.names else [None] * n
        for name in ("feature_index", "polarity", "harvest")
    }
    try:
        return pa.table(
            {
                "number": pa.array(range(n), pa.int64()),
                "feature_index": pa.array(columns["feature_index"], pa.int64()),
                "polarity": pa.array(columns["polarity"], pa.string()),
                "harvest": pa.array(columns["harvest"], pa.string()),
            }
        )
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise UsageError(
            f"a queue's query returns feature_index as a number, polarity and harvest as text: {error}"
        ) from None


def _item(row: dict[str, Any]) -> Item:
    return Item(
        key=key_of(row),
        label=row["label"],
        status=row["status"],
        score=row["score"],
        low=row["low"],
        high=row["high"],
        confidence=row["confidence"],
        reasons=in_words(row),
        worth=row["worth"] or 0.0,
        audit=row["audit"],
    )
