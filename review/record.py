"""What people do about labels, as events that are only ever added.

1. *Look again.* Within the transaction the feature's current label is read: a decision about a label that
   another person or a run has replaced in the meantime is refused (`Stale`).
2. *Write it down*, with the status, score and confidence that were seen. Times rise strictly, whatever the
   clock does: the order of events is the order of their times.
3. *Note it* beside the labels file (agent/events.py), within the same transaction, so that a damaged labels
   file loses no decision.

`undo` and `redo` are events too, about an earlier one; the views leave out what was undone.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

import duckdb

from exegete import __version__
from exegete.agent.confidence import map_confidence
from exegete.agent.events import note_rows
from exegete.agent.rows import label_id, now
from exegete.datastore.hashing import digest64
from exegete.datastore.records import FeatureId, Label
from exegete.datastore.store import Store, insert_rows
from exegete.datastore.workspace import Workspace
from exegete.errors import UsageError
from exegete.explainers.hygiene import clean, why_refused
from exegete.review.believed import DECISIONS, believed, rows_of
from exegete.review.history import stacks
from exegete.review.keys import Key, key_of

Kind = Literal["accept", "edit", "reject", "skip", "flag", "unflag", "comment"]
REASONS = ("too broad", "too narrow", "wrong", "output feature", "polysemantic", "unreadable", "dead")
"""Why a label is rejected, in the order of the keys 1 to 7; anything else goes into free words."""

LONGEST_REMARK = 2000
"""Characters of a comment, or of a reason in free words."""

REMAP_GROWTH = 10
"""From 20 decisions on, confidence is mapped anew once per tenth that they grew by: it writes every label."""


@dataclass(frozen=True, slots=True)
class Act:
    """One thing a reviewer does about a card."""

    key: Key
    kind: Kind
    reviewer: str
    label_seen: str | None
    """The label on the card, None where there was none; a decision is refused when it is not the current."""
    text: str | None = None
    """The edited label, or why it is rejected, in free words."""
    reason: str | None = None
    """Of a rejection: one of `REASONS`."""
    comment: str | None = None
    seconds: float | None = None
    """How long the card was looked at."""
    audit: bool = False
    """Whether the card is of the random slice (`exegete.review.audit`)."""
    blind_text: str | None = None
    """The label that the reviewer wrote before seeing the job's."""


@dataclass(frozen=True, slots=True)
class Done:
    """An event that was written."""

    event: str
    """Its id."""
    row: dict[str, Any]
    """The feature's row of the view `labels` as it is now."""


class Stale(UsageError):
    """The card has changed since it was shown: somebody else decided, or a run has written another label."""


def record(workspace: Workspace, act: Act) -> Done:
    """Write down what a reviewer did.

    Raises:
        Stale: a decision about a label that is not the current one.
        UsageError: the feature has no result, or what was written can't be used.
        WorkspaceBusy: a job or a shell holds the labels file for too long; nothing was written.
    """
    store = Store(workspace.labels)

    def work(con: duckdb.DuckDBPyConnection) -> Done:
        row = current(con, act.key)
        _refuse(act, row)
        return _add(con, store, _event(act, row))

    return store.write(work)


def undo(workspace: Workspace, reviewer: str) -> Done | None:
    """Take back the latest of a reviewer's acts that stands; None when there is none.

    Raises:
        Stale: somebody else has decided about the same feature since.
        WorkspaceBusy: as `record`.
    """
    return _take(workspace, reviewer, "undo")


def redo(workspace: Workspace, reviewer: str) -> Done | None:
    """Put back the latest act that a reviewer took back; None when there is none, or one was done since.

    Raises:
        Stale: the label it was about is not the current one, or somebody else has decided since.
        WorkspaceBusy: as `record`.
    """
    return _take(workspace, reviewer, "redo")


def current(con: duckdb.DuckDBPyConnection, key: Key) -> dict[str, Any]:
    """A feature's row of the view `labels`.

    Raises:
        UsageError: it has none.
    """
    found = believed(con, key.harvest, key.index).rows.get((key.index, key.polarity))
    if found is None:
        raise UsageError(f"feature {key} of {key.harvest} has no result yet: label it first")
    return found


def _refuse(act: Act, row: dict[str, Any]) -> None:
    """Refuse what can't be done to a card as it is now."""
    if act.kind in DECISIONS and act.label_seen != row["label"]:
        raise Stale(
            f"feature {act.key} has another label now, {row['label'] or 'none'!r}: look at it, decide again"
        )
    if act.kind == "accept" and row["label"] is None:
        raise UsageError(
            f"feature {act.key} is {row['status']} and has no label to accept: write one with edit"
        )
    if act.kind == "edit" and (refused := why_refused(clean(act.text or ""))):
        raise UsageError(f"the label can't be used ({refused}): say in a sentence what makes it fire")
    if act.kind == "comment" and not clean(act.comment or ""):
        raise UsageError("the comment says nothing: write what should be known")
    if act.reason is not None and (act.kind != "reject" or act.reason not in REASONS):
        raise UsageError(f"{act.reason!r} is no reason to reject: choose among {', '.join(REASONS)}")


def _event(act: Act, row: dict[str, Any]) -> dict[str, Any]:
    """A row of `reviews`, but for its time and id."""
    text = _remark(act.text)
    edited = None
    if act.kind == "edit":
        feature = FeatureId(row["subject"], row["site"], row["dictionary"], act.key.index, act.key.polarity)
        edited = label_id(act.key.harvest, Label(feature, text or "", "person"))
    return _row(
        act.key,
        act.kind,
        act.reviewer,
        text=text if act.kind in ("edit", "reject") else None,
        label_before=row["label"] if act.kind in DECISIONS else act.label_seen,
        label_id=edited,
        reason=act.reason,
        comment=_remark(act.comment),
        seconds=act.seconds,
        audit=act.audit,
        blind_text=_remark(act.blind_text),
        run=row["run"],
        status_before=row["status"],
        score_before=row["score"],
        confidence_before=row["confidence"],
    )


def _take(workspace: Workspace, reviewer: str, what: Literal["undo", "redo"]) -> Done | None:
    """Write an undo or a redo of what is next."""
    store = Store(workspace.labels)

    def work(con: duckdb.DuckDBPyConnection) -> Done | None:
        undoable, redoable = stacks(_of_reviewer(con, reviewer))
        left = undoable if what == "undo" else redoable
        if not left:
            return None
        target = left[-1]
        if target["decision"] in DECISIONS:
            _refuse_to_take(con, what, dict(target))
        row = current(con, key_of(dict(target)))
        event = _row(
            key_of(dict(target)),
            what,
            reviewer,
            target=target["event"],
            label_before=row["label"],
            run=target["run"],
            status_before=row["status"],
            score_before=row["score"],
            confidence_before=row["confidence"],
        )
        return _add(con, store, event)

    return store.write(work)


def _refuse_to_take(con: duckdb.DuckDBPyConnection, what: str, target: dict[str, Any]) -> None:
    """Refuse to pull a decision out from under somebody else's, or to put it back beneath one."""
    key = key_of(target)
    others = con.execute(
        "SELECT reviewer FROM store.decided WHERE harvest = ? AND feature_index = ? AND polarity = ? "
        "AND made_at > ? AND reviewer != ? ORDER BY made_at DESC LIMIT 1",
        [key.harvest, key.index, key.polarity, target["made_at"], target["reviewer"]],
    ).fetchall()
    if others:
        raise Stale(f"{others[0][0]} has decided about feature {key} since: look at it and decide again")
    if what == "redo" and current(con, key)["label"] != target["label_before"]:
        raise Stale(f"feature {key} has another label now: look at it and decide again")


def _add(con: duckdb.DuckDBPyConnection, store: Store, row: dict[str, Any]) -> Done:
    """Insert and note an event, later than all others, and map confidence by it when that is due."""
    ((latest,),) = con.execute("SELECT max(made_at) FROM store.reviews").fetchall()
    row["made_at"] = made_at = _later(latest)
    key = key_of(row)
    parts = (key.harvest, key.index, key.polarity, row["decision"], row["reviewer"], made_at.isoformat())
    row["event"] = f"{digest64(*parts):016x}"
    insert_rows(con, "reviews", [row])
    if row["run"] is not None and row["decision"] in (*DECISIONS, "undo", "redo"):
        _map_if_due(con, row["run"])
    note_rows(store, {"reviews": [row]})
    return Done(row["event"], current(con, key))


def _map_if_due(con: duckdb.DuckDBPyConnection, run: str) -> None:
    ((n,),) = con.execute("SELECT count(*) FROM store.decided WHERE run = ?", [run]).fetchall()
    if n % max(1, n // REMAP_GROWTH) == 0:
        map_confidence(con, run)


def _later(latest: datetime | None) -> datetime:
    """Now, or a microsecond after the latest event where the clock has not passed it."""
    return now() if latest is None else max(now(), latest + timedelta(microseconds=1))


def _row(key: Key, decision: str, reviewer: str, **more: Any) -> dict[str, Any]:
    """A row of `reviews` with all its columns."""
    empty = ("text", "label_before", "label_id", "event", "target", "reason", "comment", "seconds", "run")
    seen = ("status_before", "score_before", "confidence_before", "audit", "blind_text", "made_at")
    if not reviewer.strip():
        raise UsageError("say who reviews: a name is kept with every decision")
    return {
        "harvest": key.harvest,
        "feature_index": key.index,
        "polarity": key.polarity,
        "decision": decision,
        "reviewer": reviewer,
        **dict.fromkeys((*empty, *seen)),
        "version": __version__,
        **more,
    }


def _remark(text: str | None) -> str | None:
    """Words of a person as they are kept; None for nothing."""
    cleaned = clean(text or "")
    if len(cleaned) > LONGEST_REMARK:
        raise UsageError(f"{len(cleaned):,} characters are too many: {LONGEST_REMARK:,} are kept")
    return cleaned or None


def _of_reviewer(con: duckdb.DuckDBPyConnection, reviewer: str) -> list[dict[str, Any]]:
    """A reviewer's events, oldest first."""
    return rows_of(
        con,
        "SELECT event, decision, target, run, harvest, feature_index, polarity, label_before, reviewer, "
        "made_at FROM store.reviews WHERE reviewer = ? ORDER BY made_at",
        [reviewer],
    )
