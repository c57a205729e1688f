"""Confidence mapped to what turned out, once something has.

A run's raw confidence is the share of draws in which a label's score clears the threshold. Of some of its
labels it becomes known whether they are right:

    audit       people decided about the very label, on cards that were dealt at random: accepted is right,
                edited or rejected is wrong
    reviews     all their decisions, most of them about cards that they were sent for a reason
    controls    planted features in the run; code found whether the label says what was planted

From each a rising map is fitted (`exegete.scorers.calibration`), and kept with how well it does on labels
that it was not fitted on. The run's labels get their confidence from the first of these that has labels
enough: the random cards stand for all labels of the run, the others for the queue, and planted features for
nothing but themselves. Where there is none, labels keep the raw one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import duckdb
import numpy as np
from numpy.typing import NDArray

from exegete.datastore.hashing import digest64
from exegete.datastore.store import insert_rows
from exegete.scorers.calibration import (
    Calibration,
    brier_score,
    expected_calibration_error,
    fit,
    held_out,
    too_little,
)
from exegete.scorers.statistics import Array

Source = Literal["audit", "reviews", "controls"]

FOLDS = 10
"""Of labels of known truth, chosen by hash: each is mapped by a map fitted to the other nine tenths."""

_REVIEWED = """
        SELECT o.harvest, o.feature_index, o.polarity, o.confidence, r.decision = 'accept', r.made_at
        FROM store.outcomes o JOIN store.decided r
            ON r.harvest = o.harvest AND r.feature_index = o.feature_index AND r.polarity = o.polarity
            AND r.label_before = o.label
        WHERE o.run = $run AND o.confidence IS NOT NULL {which}
        QUALIFY row_number() OVER (
            PARTITION BY o.harvest, o.feature_index, o.polarity ORDER BY r.made_at DESC, r.decision
        ) = 1"""

_KNOWN: Mapping[Source, str] = {
    "audit": _REVIEWED.format(which="AND r.audit"),
    "reviews": _REVIEWED.format(which=""),
    "controls": """
        SELECT o.harvest, o.feature_index, o.polarity, o.confidence, c.is_right, o.made_at
        FROM store.outcomes o JOIN store.checked c
            ON c.run = o.run AND c.harvest = o.harvest AND c.feature_index = o.feature_index
            AND c.polarity = o.polarity
        WHERE o.run = $run AND o.confidence IS NOT NULL""",
}
"""Labels of a run, whether they are right and since when that is known, by how; the first goes before."""

_UPDATE = """
UPDATE store.q_values q SET confidence = m.rate
FROM store.outcomes o, (SELECT unnest($shares::DOUBLE[]) AS share, unnest($rates::DOUBLE[]) AS rate) m
WHERE q.run = $run AND o.run = $run AND q.scorer = o.scorer AND m.share = o.confidence
    AND q.feature_index = o.feature_index AND q.polarity = o.polarity
    AND o.harvest NOT IN (SELECT harvest FROM store.harvests WHERE kind = 'controls')
"""


@dataclass(frozen=True, slots=True)
class Known:
    """Labels of which it is known whether they are right."""

    confidence: Array
    """(n,) raw, 0 to 1."""
    right: NDArray[np.bool_]
    """(n,)."""
    folds: NDArray[np.intp]
    """(n,) 0 to `FOLDS` - 1."""
    known_at: datetime
    """When the last of them became known."""


def map_confidence(con: duckdb.DuckDBPyConnection, run: str) -> None:
    """Fit a run's maps anew and write its labels' confidence into the rows of its q-values.

    Without any label of known truth nothing is written. Where there are too few, that is kept in words
    (`details`, "why_none"), and confidence stays as it is.

    Args:
        con: a connection to the labels file, in a transaction; the run's q-values are written.
        run: the run's name.
    """
    con.execute("DELETE FROM store.calibrations WHERE run = ?", [run])
    known = {source: known_labels(con, run, source) for source in _KNOWN}
    maps = {source: fit(k.confidence, k.right) for source, k in known.items() if k is not None}
    used = next((source for source, map_ in maps.items() if map_ is not None), None)
    for source, labels in known.items():
        if labels is not None:
            row = _row(labels, maps[source], used=source == used)
            insert_rows(con, "calibrations", [{"run": run, "source": source, **row}])
    _write(con, run, None if used is None else maps[used])


def map_every_run(con: duckdb.DuckDBPyConnection) -> None:
    """Map the confidence of all runs anew, by whatever is known of each.

    Args:
        con: a connection to the labels file, in a transaction.
    """
    for (run,) in con.execute("SELECT DISTINCT run FROM store.outcomes ORDER BY run").fetchall():
        map_confidence(con, run)


def keep_checked(
    con: duckdb.DuckDBPyConnection, run: str, harvest: str, right: Mapping[tuple[int, str], bool]
) -> None:
    """Keep which labels of a run's planted features are right, and map its confidence by them.

    Args:
        con: a connection to the labels file, in a transaction.
        run: the run's name.
        harvest: the harvest of the planted features.
        right: by feature index and polarity, whether the run's label says what was planted.
    """
    con.execute("DELETE FROM store.checked WHERE run = ? AND harvest = ?", [run, harvest])
    rows = [
        {"run": run, "harvest": harvest, "feature_index": index, "polarity": polarity, "is_right": is_right}
        for (index, polarity), is_right in sorted(right.items())
    ]
    insert_rows(con, "checked", rows)
    map_confidence(con, run)


def known_labels(con: duckdb.DuckDBPyConnection, run: str, source: Source) -> Known | None:
    """Labels known to be right or wrong by one source, in the order of a hash; None when there are none."""
    rows = con.execute(_KNOWN[source], {"run": run}).fetchall()
    if not rows:
        return None
    rows.sort(key=lambda row: (digest64(*row[:3]), row[:3]))
    return Known(
        confidence=np.array([row[3] for row in rows], dtype=np.float64),
        right=np.array([row[4] for row in rows], dtype=np.bool_),
        folds=np.arange(len(rows)) % FOLDS,
        known_at=max(row[5] for row in rows),
    )


def _row(known: Known, map_: Calibration | None, *, used: bool) -> dict[str, Any]:
    """A row of `calibrations`: the map, and how confident and how right the labels were, before and after."""
    raw, right = known.confidence, known.right
    details: dict[str, Any] = {
        "used": used,
        "why_none": too_little(raw, right),
        "n_right": int(right.sum()),
        "ece_raw": expected_calibration_error(raw, right),
        "brier_raw": brier_score(raw, right),
    }
    error = None
    if map_ is not None:
        fair, fitted = held_out(raw, right, known.folds), map_.map(raw)
        error = expected_calibration_error(fair, right)
        details |= {
            "folds": FOLDS,
            "ece_in_sample": expected_calibration_error(fitted, right),
            "brier_held_out": brier_score(fair, right),
            "brier_in_sample": brier_score(fitted, right),
        }
    return {
        "shares": [] if map_ is None else list(map_.shares),
        "rates": [] if map_ is None else list(map_.rates),
        "n": len(raw),
        "ece": error,
        "details": details,
        "made_at": known.known_at,
    }


def _write(con: duckdb.DuckDBPyConnection, run: str, map_: Calibration | None) -> None:
    """Mapped confidence into the rows of a run's primary scorer, all at once; none without a map.

    Raw confidences are shares of some thousand draws, so a million labels have few different ones.
    """
    con.execute("UPDATE store.q_values SET confidence = NULL WHERE run = ? AND confidence IS NOT NULL", [run])
    if map_ is None:
        return
    raw = con.execute(
        "SELECT DISTINCT confidence FROM store.outcomes WHERE run = ? AND confidence IS NOT NULL", [run]
    ).fetchall()
    shares = np.array([row[0] for row in raw], dtype=np.float64)
    given = {"run": run, "shares": shares.tolist(), "rates": map_.map(shares).tolist()}
    con.execute(_UPDATE, given)
