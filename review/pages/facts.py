"""Everything the labels file knows of one feature, read for its card in one transaction."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import duckdb

from exegete.datastore.evidence_rows import Key as IndexKey
from exegete.datastore.store import Store
from exegete.review.keys import Key
from exegete.review.pages.texts import Piece, differences

Row = dict[str, Any]

HISTORY = 12
"""Texts of a label's history on a card, the latest."""
_OF_FEATURE = "harvest = ? AND feature_index = ? AND polarity = ?"


@dataclass(frozen=True, slots=True)
class Version:
    """One text that was said about the feature."""

    text: str
    author: str
    round: int
    run: str
    at: datetime
    score: float | None
    """On the refine split, where it was tried."""
    is_current: bool
    pieces: tuple[Piece, ...]
    """Against the text before it; all "new" for the first."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What the labels file knows of a feature."""

    row: Row
    """Of the view `labels`."""
    parameters: Row | None
    """Of the run that labelled it, as frozen."""
    threshold: float | None
    """That a person set for the run since."""
    history: tuple[Version, ...]
    scores: tuple[Row, ...]
    """Of the current label on the report split, the primary one first."""
    experiments: tuple[Row, ...]
    """Of all rounds; those that failed first."""
    decisions: tuple[Row, ...]
    outputs: tuple[Row, ...]
    events: tuple[Row, ...]
    """What people did, the latest first."""
    costs: tuple[Row, ...]
    """By stage."""
    neighbours: tuple[Row, ...]
    """Labels of the nearest features, with their cosines, nearest first."""
    flagged: bool = False


def read_facts(store: Store, key: Key, nearest: Sequence[tuple[IndexKey, float]]) -> Facts | None:
    """Read a card's facts.

    Args:
        store: the labels file.
        key: the feature.
        nearest: its neighbours with their cosines.

    Returns:
        The facts; None where the feature has no result.

    Raises:
        WorkspaceBusy: a writer holds the file for too long.
    """

    def work(con: duckdb.DuckDBPyConnection) -> Facts | None:
        labels = _rows(con, _LABELS, _where(key))
        asked = [key.harvest, *{key.index, *(index for (index, _), _ in nearest)}]
        among = f"harvest = ? AND feature_index IN ({', '.join('?' * (len(asked) - 1))})"
        sql = f"SELECT DISTINCT feature_index, polarity FROM store.reviews WHERE {among}"
        by_people = {(row["feature_index"], row["polarity"]) for row in _rows(con, sql, asked)}
        # What nobody touched is as runs said: that takes half the time, and is most of what is looked at.
        touched = by_people or any(label["author"] == "person" for label in labels)
        known = _rows(con, f"SELECT * FROM {'labels' if touched else 'store.said'} WHERE {among}", asked)
        rows = {(row["feature_index"], row["polarity"]): row for row in known}
        of_key = (key.index, key.polarity)
        if of_key not in rows:
            return None
        events = _rows(con, _EVENTS, _where(key)) if of_key in by_people else []
        return _facts(con, key, rows[of_key], labels, events, _neighbours(rows, nearest))

    return store.reading(work)


def _facts(
    con: duckdb.DuckDBPyConnection,
    key: Key,
    row: Row,
    labels: Sequence[Row],
    events: Sequence[Row],
    neighbours: tuple[Row, ...],
) -> Facts:
    where = _where(key)
    ids = sorted({label["label_id"] for label in labels})
    scores = (
        _rows(con, "SELECT * FROM store.scores WHERE label_id IN (SELECT unnest(?))", [ids]) if ids else []
    )
    runs = _rows(con, _RUN, [row["run"]])
    by_text = {label["text"]: label["label_id"] for label in labels}
    return Facts(
        row,
        _json(runs[0]["parameters"]) if runs else None,
        runs[0]["threshold"] if runs else None,
        _history(labels, scores, events, row["label"]),
        _report_scores(scores, by_text.get(row["label"]), row),
        tuple(
            _rows(con, f"SELECT * FROM store.experiments WHERE {_OF_FEATURE} ORDER BY {_FAILED_FIRST}", where)
        ),
        tuple(
            _rows(con, f"SELECT * FROM store.decisions WHERE {_OF_FEATURE} ORDER BY made_at, number", where)
        ),
        tuple(_rows(con, f"SELECT * FROM store.outputs WHERE {_OF_FEATURE} ORDER BY kind", where)),
        tuple(events),
        tuple(_rows(con, _COSTS, [str(key), sorted({label["run"] for label in labels} | {row["run"]})])),
        neighbours,
        _is_flagged(events),
    )


_LABELS = f"""
SELECT label_id, text, author, round, run, side, made_at FROM store.labels
WHERE {_OF_FEATURE} AND side IS DISTINCT FROM 'output' ORDER BY made_at, round
"""
_EVENTS = f"""
SELECT decision, text, label_before, reviewer, reason, comment, seconds, stands, event, target, blind_text,
    reviewed_at
FROM reviews WHERE {_OF_FEATURE} ORDER BY reviewed_at DESC
"""
_FAILED_FIRST = "verdict != 'failed', verdict = 'not run', round DESC, number"
_RUN = """
SELECT parameters,
    (SELECT arg_max(threshold, made_at) FROM store.thresholds t WHERE t.run = r.run) AS threshold
FROM store.runs r WHERE run = ?
"""
_COSTS = """
SELECT coalesce(stage, 'other') AS stage, count(*) AS calls, sum(input_tokens) AS input_tokens,
    sum(output_tokens) AS output_tokens, sum(usd) AS usd, count(*) FILTER (usd IS NULL) AS unpriced
FROM store.calls WHERE feature = ? AND run IN (SELECT unnest(?)) GROUP BY ALL ORDER BY min(made_at)
"""


def _where(key: Key) -> list[Any]:
    return [key.harvest, key.index, key.polarity]


def _json(value: Any) -> Row:
    return dict(json.loads(value)) if isinstance(value, str) else dict(value)


def _history(
    labels: Sequence[Row], scores: Sequence[Row], events: Sequence[Row], current: str | None
) -> tuple[Version, ...]:
    """All texts in the order in which they were written, each against the one before; reviewers' too."""
    refine = {(s["label_id"], s["run"]): s["value"] for s in scores if s["split"] == "refine"}
    told = [
        (label["made_at"], label["round"], label["text"], label["author"], label["run"],
         refine.get((label["label_id"], label["run"])))
        for label in labels
    ]  # fmt: skip
    told += [
        (event["reviewed_at"], 0, event["text"], event["reviewer"], "", None)
        for event in events
        if event["decision"] == "edit" and event["text"]
    ]
    told.sort(key=lambda one: (one[0], one[1]))
    versions: list[Version] = []
    before = ""
    for at, round_, text, author, run, score in told[-HISTORY:]:
        pieces = tuple(differences(before, text)) if before else (Piece("same", text),)
        versions.append(Version(text, author, round_, run, at, score, text == current, pieces))
        before = text
    return tuple(versions)


def _report_scores(scores: Sequence[Row], label_id: str | None, row: Row) -> tuple[Row, ...]:
    """The latest score of every scorer on the report split, the primary one first."""
    own = [s for s in scores if s["label_id"] == label_id and s["split"] == "report"]
    latest = {s["scorer"]: s for s in sorted(own, key=lambda s: s["made_at"])}
    return tuple(sorted(latest.values(), key=lambda s: (s["scorer"] != row["scorer"], s["scorer"])))


def _is_flagged(events: Sequence[Row]) -> bool:
    """Whether the latest flag or unflag that was not undone is a flag."""
    undone: dict[str, bool] = {}
    for event in reversed(events):
        if event["target"]:
            undone[event["target"]] = event["decision"] == "undo"
    flags = [e for e in events if e["decision"] in ("flag", "unflag") and not undone.get(e["event"] or "")]
    return bool(flags) and flags[0]["decision"] == "flag"


def _neighbours(rows: Mapping[IndexKey, Row], nearest: Sequence[tuple[IndexKey, float]]) -> tuple[Row, ...]:
    """Labels of the nearest features; those without one too."""
    empty = {"label": None, "status": "not labelled", "score": None}
    return tuple(
        {"feature_index": index, "polarity": polarity, "cosine": cosine}
        | {name: rows.get((index, polarity), empty)[name] for name in empty}
        for (index, polarity), cosine in nearest
    )


def _rows(con: duckdb.DuckDBPyConnection, sql: str, known: Sequence[Any]) -> list[Row]:
    cursor = con.execute(sql, list(known))
    names = [column[0] for column in cursor.description or ()]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
