"""Verdicts at another threshold than the job's, from the scores that are stored.

Nothing is asked and nothing is resampled: a verdict holds a score's interval against a bar, and the interval
and everything that reasons are read from are in the labels file. `exegete.scorers.verdict` is run once more
over them, so a threshold that a person sets means what the job's would have meant. What a run said stays as
it said it (view `outcomes`); the view `labels` follows the latest threshold that was set. Two things stay the
job's: confidence, which counts draws above the job's own threshold, and which label was chosen.

A verdict depends on its threshold through comparisons alone. Where none of what is compared lies between the
job's threshold and the new one, the verdict is the job's, and the label is not looked at. Of the rest, those
alike in every comparison are decided together (`exegete.agent.alike`), so that a million labels take seconds;
sentences, which hold a label's own numbers, are written for those alone that change.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import duckdb
import pyarrow as pa

from exegete import __version__, scorers
from exegete.agent.alike import COMMON, find_alike
from exegete.agent.events import note_rows
from exegete.agent.examiner import remarks
from exegete.agent.rows import now
from exegete.datastore.records import FeatureId, Label, Polarity, Score, Status
from exegete.datastore.store import Store, insert_rows
from exegete.errors import UsageError
from exegete.scorers.triangulation import ABLATION, STEERING
from exegete.scorers.verdict import decide


@dataclass(frozen=True, slots=True)
class Held:
    """A label held against another threshold."""

    harvest: str
    index: int
    polarity: Polarity
    before: Status
    """What the run said."""
    status: Status
    why: str
    reasons: tuple[str, ...]
    differs: bool
    """Whether status or reasons are others than the run's."""


@dataclass(frozen=True, slots=True)
class _Deciding:
    """How the labels of a run are held against a threshold."""

    threshold: float
    bars: Mapping[str, float]
    """Of the scorers beside the primary one."""
    order: Mapping[str, int]
    """In which order the job had them."""


def hold(con: duckdb.DuckDBPyConnection, run: str, threshold: float) -> list[Held]:
    """The labels of a run whose status or reasons another threshold changes, with what they would be.

    Args:
        con: a connection to the labels file.
        run: the run's name.
        threshold: value to clear, in the primary score's units.

    Raises:
        UsageError: there is no such run, or the threshold is none.
    """
    by = find_changed(con, run, threshold)
    return [_held(rows, by) for rows in _by_label(con, run, "changed")]


def find_changed(con: duckdb.DuckDBPyConnection, run: str, threshold: float) -> _Deciding:
    """Put the labels that `hold` returns into the temporary table `changed`, with the status they would get.

    Its columns are harvest, feature_index, polarity and status. One label of each group is decided.

    Raises:
        UsageError: as `hold`.
    """
    by, own = _deciding(con, run, threshold)
    find_alike(con, run, threshold, sorted((threshold, own)), by.bars)
    changed = {
        (one.harvest, one.index, one.polarity): one.status
        for one in (_held(rows, by) for rows in _by_label(con, run, "alike"))
        if one.differs
    }
    numbers = con.execute("SELECT harvest, feature_index, polarity, number FROM alike").fetchall()
    decided = {number: changed[of] for *key, number in numbers if (of := tuple(key)) in changed}
    columns = {
        "number": pa.array(list(decided), pa.int64()),
        "status": pa.array(list(decided.values()), pa.string()),
    }
    con.register("decided", pa.table(columns))
    con.execute(_CHANGED)
    return by


def set_threshold(store: Store, run: str, threshold: float, reviewer: str) -> None:
    """Set a run's threshold, and write the verdicts that it changes; what was set before stays on record.

    Raises:
        UsageError: as `hold`.
        WorkspaceBusy: another process holds the labels file for too long; nothing was written.
    """

    row = {
        "run": run,
        "threshold": threshold,
        "reviewer": reviewer,
        "version": __version__,
        "made_at": now(),
    }
    held = store.reading(lambda con: hold(con, run, threshold))  # what takes long shuts nobody out

    def work(con: duckdb.DuckDBPyConnection) -> None:
        insert_rows(con, "thresholds", [row])
        _write(con, run, held)
        note_rows(store, {"thresholds": [row]})

    store.write(work)


def hold_again(con: duckdb.DuckDBPyConnection, run: str) -> None:
    """Write a run's verdicts at the latest threshold that was set for it; nothing where none was.

    Args:
        con: a connection to the labels file, in a transaction.
        run: the run's name.
    """
    latest = con.execute(
        "SELECT threshold FROM store.thresholds WHERE run = ? ORDER BY made_at DESC LIMIT 1", [run]
    ).fetchall()
    if not latest:
        return
    _write(con, run, hold(con, run, latest[0][0]))


def hold_every_run(con: duckdb.DuckDBPyConnection) -> None:
    """Write the verdicts of all runs anew that a threshold was set for.

    Args:
        con: a connection to the labels file, in a transaction.
    """
    for (run,) in con.execute("SELECT DISTINCT run FROM store.thresholds ORDER BY run").fetchall():
        hold_again(con, run)


def _write(con: duckdb.DuckDBPyConnection, run: str, held: Sequence[Held]) -> None:
    """Put verdicts that differ from the run's in the place of those of an earlier threshold."""
    con.execute("DELETE FROM store.reverdicts WHERE run = ?", [run])
    rows = [
        {
            "run": run,
            "harvest": one.harvest,
            "feature_index": one.index,
            "polarity": one.polarity,
            "status": one.status,
            "why": one.why,
            "reasons": list(one.reasons),
        }
        for one in held
        if one.differs
    ]
    insert_rows(con, "reverdicts", rows)


_CHANGED = f"""
CREATE OR REPLACE TEMP TABLE changed AS
SELECT t.harvest, t.feature_index, t.polarity, d.status
FROM touched t
JOIN alike a ON {" AND ".join(f"a.{name} IS NOT DISTINCT FROM t.{name}" for name in COMMON)}
JOIN decided d ON d.number = a.number"""

_SCORED = """
SELECT o.harvest, o.feature_index, o.polarity, o.label, o.author, o.senses, o.status, o.reasons,
    s.scorer = o.scorer AS is_primary, s.scorer, s.value, s.low, s.high, s.chance, s.p_value,
    s.n_asked, s.n_read, s.why_none, s.details, h.subject, h.site, h.dictionary,
    o.ablation, o.ablation_p, o.steering, o.steering_p
FROM store.outcomes o SEMI JOIN {table} t USING (harvest, feature_index, polarity)
JOIN store.harvests h ON h.harvest = o.harvest AND h.kind IS DISTINCT FROM 'controls'
JOIN store.scores s ON s.run = o.run AND s.label_id = o.label_id AND s.split = 'report'
WHERE o.run = ?
ORDER BY o.harvest, o.feature_index, o.polarity, is_primary DESC"""

_AT_ONCE = 20_000


def _deciding(con: duckdb.DuckDBPyConnection, run: str, threshold: float) -> tuple[_Deciding, float]:
    """How a run's labels are held against a threshold, and the threshold that the job had."""
    if not -1.0 < threshold < 1.0:
        raise UsageError(f"a threshold of {threshold:g} can't be used: choose one between -1 and 1")
    found = con.execute("SELECT parameters FROM store.runs WHERE run = ? AND kind = 'job'", [run]).fetchall()
    if not found:
        raise UsageError(f"there is no run {run!r}: `exegete status` lists them")
    parameters = json.loads(found[0][0])
    names = parameters.get("scorers", [])
    bars = {name: bar for name in names[1:] if name != names[0] and (bar := _bar(name)) is not None}
    order = {name: at for at, name in enumerate(parameters.get("scorer_versions", ()))}
    return _Deciding(threshold, bars, order), float(parameters.get("threshold", threshold))


def _by_label(con: duckdb.DuckDBPyConnection, run: str, table: str) -> Iterator[list[dict[str, Any]]]:
    """Rows of the report scores of each label that a table names, the primary first."""
    cursor = con.execute(_SCORED.format(table=table), [run])
    names = [column[0] for column in cursor.description or ()]

    def rows() -> Iterator[dict[str, Any]]:
        while some := cursor.fetchmany(_AT_ONCE):
            for row in some:
                yield dict(zip(names, row, strict=True))

    for _, own in groupby(rows(), key=lambda row: (row["harvest"], row["feature_index"], row["polarity"])):
        found = list(own)
        if found[0]["is_primary"]:
            yield found


def _held(rows: list[dict[str, Any]], by: _Deciding) -> Held:
    first = rows[0]
    feature = FeatureId(
        first["subject"], first["site"], first["dictionary"], first["feature_index"], first["polarity"]
    )
    label = Label(feature, first["label"], first["author"], senses=tuple(first["senses"] or ()))
    before = tuple(first["reasons"] or ())
    beside = sorted(rows[1:], key=lambda row: (by.order.get(row["scorer"], len(by.order)), row["scorer"]))
    verdict = decide(
        feature,
        label,
        _score(first),
        by.threshold,
        beside=[*map(_score, beside), *_of_the_feature(first)],
        bars=by.bars,
        noted=remarks(label),
    )
    differs = verdict.status != first["status"] or set(verdict.reasons) != set(before)
    return Held(
        first["harvest"],
        feature.index,
        feature.polarity,
        first["status"],
        verdict.status,
        verdict.why,
        verdict.reasons,
        differs,
    )


def _score(row: Mapping[str, Any]) -> Score:
    details = row["details"]
    return Score(
        row["scorer"],
        "report",
        row["value"],
        row["low"],
        row["high"],
        row["chance"],
        row["p_value"],
        row["n_asked"],
        row["n_read"],
        row["why_none"],
        json.loads(details) if details else {},
    )


def _of_the_feature(row: Mapping[str, Any]) -> list[Score]:
    """What interventions on the model showed of the feature, whatever its label says."""
    found = ((ABLATION, row["ablation"], row["ablation_p"]), (STEERING, row["steering"], row["steering_p"]))
    return [
        Score(name, "report", value, None, None, None, p, 0, 0)
        for name, value, p in found
        if value is not None
    ]


def _bar(name: str) -> float | None:
    """A scorer's bar; None where this version has no such scorer."""
    return scorers.bar(name) if name in scorers.names() else None
