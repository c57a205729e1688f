"""Everything the labels file knows of one feature, read for its card in one transaction."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import duckdb

from exegete.datastore.evidence_rows import Key as IndexKey
from exegete.datastore.store import Store
from exegete.review.believed import Row, believed, rows_of
from exegete.review.keys import Key
from exegete.review.pages.texts import Piece, differences

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


def read_facts(
    store: Store,
    key: Key,
    nearest: Sequence[tuple[IndexKey, float]],
    begin: Callable[[Row, Row | None], None] = lambda row, parameters: None,
) -> Facts | None:
    """Read a card's facts.

    Args:
        store: the labels file.
        key: the feature.
        nearest: its neighbours with their cosines.
        begin: told the feature's row and its run's parameters as soon as they are known; what comes of that
            can be worked out while the rest is read.

    Returns:
        The facts; None where the feature has no result.

    Raises:
        WorkspaceBusy: a writer holds the file for too long.
    """

    def work(con: duckdb.DuckDBPyConnection) -> Facts | None:
        indices = [key.index, *(index for (index, _), _ in nearest)]
        known = believed(con, key.harvest, indices)
        of_key = (key.index, key.polarity)
        if of_key not in known.rows:
            return None
        row = known.rows[of_key]
        runs = rows_of(con, "SELECT parameters FROM store.runs WHERE run = ?", [row["run"]])
        parameters = _json(runs[0]["parameters"]) if runs else None
        begin(row, parameters)
        labels = [row for row in known.labels.get(of_key, ()) if row["side"] != "output"]
        labels.sort(key=lambda row: (row["made_at"], row["round"]))
        events = known.events.get(of_key, ())
        near = _neighbours(known.rows, nearest)
        threshold = known.thresholds.get(row["run"])
        return _facts(con, key, row, parameters, threshold, labels, events, near)

    return store.reading(work)


def _facts(
    con: duckdb.DuckDBPyConnection,
    key: Key,
    row: Row,
    parameters: Row | None,
    threshold: float | None,
    labels: Sequence[Row],
    events: Sequence[Row],
    neighbours: tuple[Row, ...],
) -> Facts:
    where = _where(key)
    scores = _scores(con, {label["label_id"] for label in labels})
    by_text = {label["text"]: label["label_id"] for label in labels}
    return Facts(
        row,
        parameters,
        threshold,
        _history(labels, scores, events, row["label"]),
        _report_scores(scores, by_text.get(row["label"]), row),
        tuple(
            rows_of(
                con, f"SELECT * FROM store.experiments WHERE {_OF_FEATURE} ORDER BY {_FAILED_FIRST}", where
            )
        ),
        tuple(
            rows_of(con, f"SELECT * FROM store.decisions WHERE {_OF_FEATURE} ORDER BY made_at, number", where)
        ),
        tuple(rows_of(con, f"SELECT * FROM store.outputs WHERE {_OF_FEATURE} ORDER BY kind", where)),
        tuple(events),
        tuple(rows_of(con, _COSTS, [str(key), sorted({label["run"] for label in labels} | {row["run"]})])),
        neighbours,
        _is_flagged(events),
    )


def _scores(con: duckdb.DuckDBPyConnection, label_ids: Set[str]) -> list[Row]:
    """Scores of labels, on whatever split."""
    if not label_ids:
        return []
    sql = "SELECT * FROM store.scores WHERE label_id IN (SELECT unnest(?::VARCHAR[]))"
    return rows_of(con, sql, [sorted(label_ids)])


_FAILED_FIRST = "verdict != 'failed', verdict = 'not run', round DESC, number"
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
