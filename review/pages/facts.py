"""Everything the labels file knows of one feature, read for its card in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import duckdb

from exegete.datastore.evidence_rows import Key as IndexKey
from exegete.datastore.store import Store
from exegete.review.believed import Believed, Lasting, Row, believed, rows_of
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
    lasting: Lasting,
    begin: Callable[[Row, Row | None], None] = lambda row, parameters: None,
) -> Facts | None:
    """Read a card's facts.

    Args:
        store: the labels file.
        key: the feature.
        nearest: its neighbours with their cosines.
        lasting: of cards that were read before.
        begin: told the feature's row and its run's parameters as soon as they are known; what comes of that
            can be worked out while the rest is read.

    Returns:
        The facts; None where the feature has no result.

    Raises:
        WorkspaceBusy: a writer holds the file for too long.
    """

    def work(con: duckdb.DuckDBPyConnection) -> Facts | None:
        known = believed(con, key.harvest, key.index, {index for (index, _), _ in nearest}, lasting)
        of_key = (key.index, key.polarity)
        if of_key not in known.rows:
            return None
        row = known.rows[of_key]
        parameters = lasting.parameters_of(con, row["run"])
        begin(row, parameters)
        return _facts(con, key, row, parameters, known, _neighbours(known.others, nearest))

    return store.reading(work)


def _facts(
    con: duckdb.DuckDBPyConnection,
    key: Key,
    row: Row,
    parameters: Row | None,
    known: Believed,
    neighbours: tuple[Row, ...],
) -> Facts:
    of_key = (key.index, key.polarity)
    labels = [label for label in known.labels.get(of_key, ()) if label["side"] != "output"]
    labels.sort(key=lambda label: (label["made_at"], label["round"]))
    events = known.events.get(of_key, ())
    by_text = {label["text"]: label["label_id"] for label in labels}
    experiments, decisions, outputs = (
        rows_of(con, f"SELECT * FROM store.{table} WHERE {_OF_FEATURE}", [key.harvest, *of_key])
        for table in ("experiments", "decisions", "outputs")
    )
    experiments.sort(key=_failed_first)
    decisions.sort(key=lambda decision: (decision["made_at"], decision["number"]))
    outputs.sort(key=lambda output: output["kind"])
    runs = {label["run"] for label in labels} | {row["run"]}
    calls = [call for call in rows_of(con, _CALLS, [str(key)]) if call["run"] in runs]
    return Facts(
        row,
        parameters,
        known.thresholds.get(row["run"]),
        _history(labels, known.scores, events, row["label"]),
        _report_scores(known.scores, by_text.get(row["label"]), row),
        tuple(experiments),
        tuple(decisions),
        tuple(outputs),
        tuple(events),
        tuple(_costs(calls)),
        neighbours,
        _is_flagged(events),
    )


_CALLS = "SELECT run, stage, input_tokens, output_tokens, usd, made_at FROM store.calls WHERE feature = ?"


def _failed_first(experiment: Row) -> tuple[Any, ...]:
    """Where an experiment stands: what failed first, what was not run last; the latest rounds first."""
    verdict = experiment["verdict"]
    return (verdict != "failed", verdict == "not run", -experiment["round"], experiment["number"])


def _costs(calls: Sequence[Row]) -> list[Row]:
    """Calls by stage, the stage that began first, first."""
    by_stage: dict[str, list[Row]] = {}
    for call in sorted(calls, key=lambda call: (call["made_at"] is None, call["made_at"])):
        by_stage.setdefault("other" if call["stage"] is None else call["stage"], []).append(call)
    return [
        {
            "stage": stage,
            "calls": len(own),
            **{name: _sum(call[name] for call in own) for name in ("input_tokens", "output_tokens", "usd")},
            "unpriced": sum(call["usd"] is None for call in own),
        }
        for stage, own in by_stage.items()
    ]


def _sum(values: Iterable[float | None]) -> float | None:
    """The sum of what is known; None where nothing is."""
    known = [value for value in values if value is not None]
    return sum(known) if known else None


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
