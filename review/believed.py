"""What is believed of a feature: its row of the view `labels`, put together here from the view's tables.

DuckDB takes longer to plan that view than to read what it needs of a feature, and where several features are
asked for at once it reads the whole of what it joins. Who shows one card, or writes one decision, asks the
tables and follows the view's rules; that both say the same is a test (tests/review/test_believed.py). Even of
a question to one table most of the time goes into planning it, least where it is for one feature and asks for
no order.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import duckdb

from exegete.datastore.evidence_rows import Key as IndexKey

Row = dict[str, Any]

DECISIONS = ("accept", "edit", "reject")

_RUNS_ALONE = (
    *("confidence", "q_value", "twins", "reasons", "senses", "independence"),
    *("tests", "tests_held", "generation", "generation_low", "generation_high"),
)
"""What a run says of its own text, and nobody of a person's."""
_SCORED = ("score", "low", "high", "chance", "p_value", "scorer")
_BESIDE = ("label", "status", "score")


@dataclass(frozen=True, slots=True)
class Believed:
    """What the labels file knows of one feature of a harvest, and how it calls some others."""

    rows: Mapping[IndexKey, Row]
    """Of the feature, by polarity, as in the view `labels`; without a result there is none."""
    labels: Mapping[IndexKey, list[Row]]
    """Its texts that were proposed, tried or written, of both sides."""
    scores: Sequence[Row]
    """Of those texts, on whatever split."""
    events: Mapping[IndexKey, list[Row]]
    """What people did, the latest first, with `stands` and `reviewed_at` as in the view `reviews`."""
    thresholds: Mapping[str, float]
    """By run, what a person set last; a run that has its own still has none."""
    others: Mapping[IndexKey, Row]
    """Label, status and score of the other features, as in the view `labels`."""


@dataclass(frozen=True, slots=True)
class Lasting:
    """What never changes once it is there, as it was read first: a question less for every other card."""

    harvests: dict[str, Row] = field(default_factory=dict)
    """Columns of the view `labels` that are the harvest's, by its name; planted ones are not among them."""
    parameters: dict[str, Row] = field(default_factory=dict)
    """Of runs, by name."""

    def harvest(self, con: duckdb.DuckDBPyConnection, name: str) -> Row | None:
        """A harvest's columns; None where it is not there, or planted."""
        if name not in self.harvests:
            for row in rows_of(con, _HARVEST, [name]):
                self.harvests[name] = row
        return self.harvests.get(name)

    def parameters_of(self, con: duckdb.DuckDBPyConnection, run: str) -> Row | None:
        """A run's parameters; None where there is no such run."""
        if run not in self.parameters:
            for row in rows_of(con, "SELECT parameters FROM store.runs WHERE run = ?", [run]):
                self.parameters[run] = dict(json.loads(row["parameters"]))
        return self.parameters.get(run)


def believed(
    con: duckdb.DuckDBPyConnection,
    harvest: str,
    index: int,
    others: Collection[int] = (),
    lasting: Lasting | None = None,
) -> Believed:
    """Read what is believed of a feature, of both polarities.

    Args:
        con: a connection to the labels file.
        harvest: name of its harvest.
        index: the feature.
        others: features of which label, status and score are to be known; some dozens at most.
        lasting: what was read before of what never changes; more is added.
    """
    among, known = (_AMONG, [harvest, sorted({index, *others})]) if others else (_ONE, [harvest, index])
    outcomes = _by_feature(con, f"SELECT * FROM store.outcomes WHERE {among}", known)
    events = {
        key: _events(rows)
        for key, rows in _by_feature(con, f"SELECT * FROM store.reviews WHERE {among}", known).items()
    }
    labels = _by_feature(con, f"SELECT * FROM store.labels WHERE {_ONE}", [harvest, index])
    set_since = rows_of(con, "SELECT run, threshold, made_at FROM store.thresholds", [])
    thresholds = {row["run"]: row["threshold"] for row in sorted(set_since, key=lambda row: row["made_at"])}
    scores = _scores(con, index, labels, events)
    of_harvest = (lasting or Lasting()).harvest(con, harvest)
    if of_harvest is None:
        return Believed({}, labels, scores, events, thresholds, {})
    q_values = _by_feature(con, "SELECT * FROM store.q_values WHERE feature_index = ?", [index])
    # Verdicts follow a threshold that somebody set, which is rare.
    again = f"SELECT * FROM store.reverdicts WHERE {among}"
    reverdicts = _by_feature(con, again, known) if thresholds else {}
    rows: dict[IndexKey, Row] = {}
    beside: dict[IndexKey, Row] = {}
    for key, found in outcomes.items():
        said = _said(found, q_values.get(key, ()), reverdicts.get(key, ()))
        if key[0] == index:
            said |= of_harvest
            said["report_looks"] += _looks_of_people(labels.get(key, ()), scores)
            rows[key] = _overruled(said, events.get(key, ()), scores)
        if key[0] in others:
            own = scores if key[0] == index else _scores(con, key[0], {}, {key: events.get(key, [])})
            beside[key] = {name: _overruled(said, events.get(key, ()), own)[name] for name in _BESIDE}
    return Believed(rows, labels, scores, events, thresholds, beside)


def rows_of(con: duckdb.DuckDBPyConnection, sql: str, known: Sequence[Any]) -> list[Row]:
    """Rows of a query, as dicts."""
    cursor = con.execute(sql, list(known))
    names = [column[0] for column in cursor.description or ()]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


_HARVEST = """
SELECT subject, site, layer, dictionary FROM store.harvests
WHERE harvest = ? AND kind IS DISTINCT FROM 'controls'
"""


_ONE = "harvest = ? AND feature_index = ?"
# A list in the statement would be a hint to the scan, which then reads every column of every row.
_AMONG = "harvest = ? AND feature_index IN (SELECT unnest(?::INTEGER[]))"


def _by_feature(
    con: duckdb.DuckDBPyConnection, sql: str, known: Sequence[Any]
) -> defaultdict[IndexKey, list[Row]]:
    found: defaultdict[IndexKey, list[Row]] = defaultdict(list)
    for row in rows_of(con, sql, known):
        found[row["feature_index"], row["polarity"]].append(row)
    return found


def _scores(
    con: duckdb.DuckDBPyConnection,
    index: int,
    labels: Mapping[IndexKey, Sequence[Row]],
    events: Mapping[IndexKey, Sequence[Row]],
) -> list[Row]:
    """Scores of a feature's texts, and of those that people wrote."""
    ids = {row["label_id"] for rows in labels.values() for row in rows}
    ids |= {
        event["label_id"]
        for (of, _), own in events.items()
        for event in own
        if of == index and event["decision"] == "edit"
    }
    if not ids:
        return []
    # What an earlier version noted, and a rebuild took from there, does not say whose it is.
    sql = (
        "SELECT * FROM store.scores WHERE (feature_index = ? OR feature_index IS NULL) "
        "AND list_contains(?::VARCHAR[], label_id)"
    )
    return rows_of(con, sql, [index, sorted(ids - {None})])


def _events(rows: Sequence[Row]) -> list[Row]:
    """Events of one feature, the latest first; what was undone last does not stand."""
    rows = sorted(rows, key=lambda row: row["made_at"])
    last = {row["target"]: row["decision"] for row in rows if row["target"] is not None}
    return [
        row
        | {
            "stands": row["decision"] in DECISIONS and last.get(row["event"]) != "undo",
            "reviewed_at": row["made_at"],
        }
        for row in reversed(rows)
    ]


def _said(outcomes: Sequence[Row], q_values: Sequence[Row], reverdicts: Sequence[Row]) -> Row:
    """What runs say of a feature: the latest that did not fail, at the threshold that was set since."""
    o = max(outcomes, key=lambda row: (row["status"] != "failed", row["made_at"], row["run"]))
    of_run = [q for q in q_values if q["run"] == o["run"] and q["scorer"] == o["scorer"]]
    q = next(iter(of_run), {"q_value": None, "twins": None, "confidence": None})
    again = next((v for v in reverdicts if v["run"] == o["run"]), {})
    said = {name: value for name, value in o.items() if name not in ("label_id", "made_at")}
    return said | {
        **{name: again[name] for name in ("status", "why", "reasons") if again},
        "confidence": o["confidence"] if q["confidence"] is None else q["confidence"],
        "q_value": q["q_value"],
        "twins": q["twins"],
        "lift": None if None in (o["score"], o["chance"]) else o["score"] - o["chance"],
        "report_looks": sum(row["scorer"] is not None for row in outcomes),
        "reviewer": None,
        "labelled_at": o["made_at"],
    }


def _overruled(said: Row, events: Sequence[Row], scores: Sequence[Row]) -> Row:
    """The same with what people decided, as far as it is about the label that is current."""
    decided = [event for event in events if event["stands"]]
    if not decided:
        return said
    last = decided[0]
    written = next((event for event in decided if event["decision"] == "edit"), None)
    rejects = last["decision"] == "reject"
    if written and (last is written or last["label_before"] == written["text"]):
        if rejects and last["made_at"] < said["labelled_at"]:
            return said  # a person's text, once rejected, makes way for the next run's
        own = {"label": written["text"], "author": "person", "reviewer": last["reviewer"]}
        status = {"status": "rejected" if rejects else "accepted"}
        return said | dict.fromkeys(_RUNS_ALONE) | _score(scores, written["label_id"]) | own | status
    if last["label_before"] != said["label"]:
        return said
    return said | {"status": "rejected" if rejects else "accepted", "reviewer": last["reviewer"]}


def _score(scores: Sequence[Row], label_id: str | None) -> Row:
    """The latest primary score of a person's text on the report split."""
    primary = [
        row
        for row in scores
        if row["label_id"] == label_id and row["split"] == "report" and row["scorer"].startswith("simulation")
    ]
    if not primary:
        return dict.fromkeys((*_SCORED, "lift"))
    row = max(primary, key=lambda row: row["made_at"])
    lift = None if None in (row["value"], row["chance"]) else row["value"] - row["chance"]
    return {name: row["value" if name == "score" else name] for name in _SCORED} | {"lift": lift}


def _looks_of_people(labels: Sequence[Row], scores: Sequence[Row]) -> int:
    """Texts that were scored on the report split beside a run."""
    scored = {(row["run"], row["label_id"]) for row in scores if row["split"] == "report"}
    people = [label for label in labels if label["author"] == "person"]
    return len({label["label_id"] for label in people if (label["run"], label["label_id"]) in scored})
