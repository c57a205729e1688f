"""What lies on the reviewers' desk: who has which card, half-written labels, queued work, saved queues.

None of it is a result, and all of it changes every few seconds, so it is not in the labels file, which a job
may hold: WORKSPACE/review.sqlite is written in transactions of a millisecond by as many processes as like
(SQLite's write-ahead log), and can be deleted at any time at the cost of drafts and queued work.

    leases      a card is one reviewer's for some minutes, and longer while it is looked at
    drafts      what was typed and not saved; a killed server loses none
    work        queued -> running -> done or failed; a running piece whose worker has died is taken over
    queues      names for SELECTs
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from exegete.datastore.workspace import Workspace
from exegete.errors import UsageError
from exegete.review.desk_file import DeskFile
from exegete.review.keys import Key

WorkKind = Literal["rescore", "rerun"]
WorkState = Literal["queued", "running", "done", "failed"]

LEASE_S = 300.0
"""How long a card is somebody's, unless it is asked for again."""
CLAIM_S = 60.0
"""How long a worker may say nothing of a piece of work before another takes it over."""
MOST_TRIES = 3
"""How often a piece of work is taken up whose workers died on it."""


@dataclass(frozen=True, slots=True)
class Work:
    """A piece of queued work about a feature."""

    id: int
    kind: WorkKind
    key: Key
    reviewer: str
    text: str
    """Of `rescore` the label, of `rerun` the hint."""
    run: str | None
    """The run whose parameters it is done with."""
    state: WorkState
    progress: str
    """How far it is, or why it failed, in words."""
    result: Mapping[str, Any] | None
    tries: int
    """How often a worker took it up."""


@dataclass(frozen=True, slots=True)
class OnDesk:
    """What lies on the desk for one card."""

    work: list[Work]
    """The newest first."""
    holder: str | None
    """Who else has it; None for nobody."""
    draft: str | None
    """What its reviewer had typed; None for nothing."""


class Desk:
    """One workspace's desk. Every method is a transaction of its own."""

    def __init__(self, workspace: Workspace, clock: Callable[[], float] = time.time) -> None:
        """Open or make it.

        Args:
            workspace: whose.
            clock: seconds since 1970, the same for all processes.

        Raises:
            WorkspaceError: it can't be written, or is no SQLite file.
        """
        self._file, self._clock = DeskFile(workspace.root / "review.sqlite"), clock

    def lease(self, key: Key, reviewer: str, seconds: float = LEASE_S) -> str | None:
        """Take a card for a while, or keep it for longer.

        Returns:
            Who has it; None when it is yours now.
        """
        now = self._clock()
        with self._file.writing() as con:
            taken = con.execute(
                f"SELECT reviewer FROM leases WHERE {_OF} AND until > ? AND reviewer != ?",
                [*_parts(key), now, reviewer],
            ).fetchone()
            if taken:
                return str(taken[0])
            con.execute("DELETE FROM leases WHERE until <= ?", [now])
            con.execute(
                "INSERT OR REPLACE INTO leases VALUES (?, ?, ?, ?, ?)",
                [*_parts(key), reviewer, now + seconds],
            )
        return None

    def release(self, key: Key, reviewer: str) -> None:
        """Let go of a card, if one has it."""
        with self._file.writing() as con:
            con.execute(f"DELETE FROM leases WHERE {_OF} AND reviewer = ?", [*_parts(key), reviewer])

    def leased(self, reviewer: str) -> set[Key]:
        """Cards that others have."""
        with self._file.open() as con:
            found = con.execute(
                "SELECT harvest, feature, polarity FROM leases WHERE until > ? AND reviewer != ?",
                [self._clock(), reviewer],
            ).fetchall()
        return {Key(*row) for row in found}

    def save_draft(self, key: Key, reviewer: str, text: str) -> None:
        """Keep what is typed on a card and not saved yet."""
        with self._file.writing() as con:
            con.execute(
                "INSERT OR REPLACE INTO drafts VALUES (?, ?, ?, ?, ?, ?)",
                [*_parts(key), reviewer, text, self._clock()],
            )

    def draft(self, key: Key, reviewer: str) -> str | None:
        """What a reviewer had typed on a card; None for nothing."""
        with self._file.open() as con:
            return _draft(con, key, reviewer)

    def drop_draft(self, key: Key, reviewer: str) -> None:
        """Forget it."""
        with self._file.writing() as con:
            con.execute(f"DELETE FROM drafts WHERE {_OF} AND reviewer = ?", [*_parts(key), reviewer])

    def add_work(self, kind: WorkKind, key: Key, reviewer: str, text: str, run: str | None = None) -> int:
        """Queue a piece of work; the same one, while it waits or runs, is queued once.

        Returns:
            Its id.
        """
        with self._file.writing() as con:
            same = con.execute(
                f"SELECT id FROM work WHERE {_OF} AND kind = ? AND text = ? AND run IS ? "
                "AND state IN ('queued', 'running')",
                [*_parts(key), kind, text, run],
            ).fetchone()
            if same:
                return int(same[0])
            added = con.execute(
                "INSERT INTO work (kind, harvest, feature, polarity, reviewer, text, run, state, progress, "
                "tries, queued) VALUES (?, ?, ?, ?, ?, ?, ?, 'queued', 'waits for its turn', 0, ?)",
                [kind, *_parts(key), reviewer, text, run, self._clock()],
            )
            return int(added.lastrowid or 0)

    def next_work(self, worker: str) -> Work | None:
        """Take up the oldest piece that nobody does; None when there is none.

        One whose worker has said nothing for `CLAIM_S` seconds counts as nobody's; after `MOST_TRIES` dead
        workers it has failed.
        """
        now = self._clock()
        with self._file.writing() as con:
            con.execute(
                "UPDATE work SET state = 'failed', progress = ? "
                "WHERE state = 'running' AND heard < ? AND tries >= ?",
                [f"its process ended {MOST_TRIES} times without finishing it", now - CLAIM_S, MOST_TRIES],
            )
            row = con.execute(
                "SELECT id FROM work WHERE state = 'queued' OR (state = 'running' AND heard < ?) "
                "ORDER BY heard IS NOT NULL AND state = 'queued', heard, id LIMIT 1",
                [now - CLAIM_S],
            ).fetchone()
            if row is None:
                return None
            con.execute(
                "UPDATE work SET state = 'running', progress = 'has begun', worker = ?, heard = ?, "
                "tries = tries + 1 WHERE id = ?",
                [worker, now, row[0]],
            )
            return _work(con.execute(f"SELECT {_WORK} FROM work WHERE id = ?", [row[0]]).fetchone())

    def say(self, id: int, worker: str, progress: str | None = None) -> bool:
        """Say that a piece of work goes on, and how far it is.

        Returns:
            Whether it is still the worker's; False when another has taken it over.
        """
        with self._file.writing() as con:
            said = con.execute(
                "UPDATE work SET heard = ?, progress = coalesce(?, progress) "
                "WHERE id = ? AND worker = ? AND state = 'running'",
                [self._clock(), progress, id, worker],
            )
            return said.rowcount == 1

    def put_back(self, id: int, worker: str, why: str) -> None:
        """Let a piece of work wait again, behind the others: what it needs is in use."""
        with self._file.writing() as con:
            con.execute(
                "UPDATE work SET state = 'queued', progress = ?, heard = ?, tries = tries - 1 "
                "WHERE id = ? AND worker = ? AND state = 'running'",
                [why, self._clock(), id, worker],
            )

    def finish_work(
        self, id: int, worker: str, state: Literal["done", "failed"], progress: str, result: Any = None
    ) -> bool:
        """Say how a piece of work ended.

        Args:
            id: which.
            worker: who did it.
            state: how.
            progress: in words.
            result: what came of it, as JSON has it.

        Returns:
            Whether it was still the worker's.
        """
        with self._file.writing() as con:
            ended = con.execute(
                "UPDATE work SET state = ?, progress = ?, result = ?, heard = ? "
                "WHERE id = ? AND worker = ? AND state = 'running'",
                [state, progress, None if result is None else json.dumps(result), self._clock(), id, worker],
            )
            return ended.rowcount == 1

    def work(self) -> list[Work]:
        """Pieces of work, the newest first."""
        with self._file.open() as con:
            found = con.execute(f"SELECT {_WORK} FROM work ORDER BY id DESC LIMIT {_SHOWN}").fetchall()
        return [_work(row) for row in found]

    def of_card(self, key: Key, reviewer: str) -> OnDesk:
        """What lies there for one card; to open the file takes longer than to read all of it."""
        with self._file.open() as con:
            work = con.execute(
                f"SELECT {_WORK} FROM work WHERE {_OF} ORDER BY id DESC LIMIT {_SHOWN_OF_CARD}", _parts(key)
            ).fetchall()
            holder = con.execute(
                f"SELECT reviewer FROM leases WHERE {_OF} AND until > ? AND reviewer != ?",
                [*_parts(key), self._clock(), reviewer],
            ).fetchone()
            draft = _draft(con, key, reviewer)
        return OnDesk([_work(row) for row in work], holder[0] if holder else None, draft)

    def save_queue(self, name: str, sql: str, reviewer: str) -> None:
        """Give a SELECT a name; an earlier one of that name makes way.

        Raises:
            UsageError: the name or the SELECT is empty.
        """
        if not name.strip() or not sql.strip():
            raise UsageError("a saved queue has a name and a SELECT: give both")
        with self._file.writing() as con:
            con.execute("INSERT OR REPLACE INTO queues VALUES (?, ?, ?)", [name.strip(), sql, reviewer])

    def drop_queue(self, name: str) -> None:
        """Forget a saved queue."""
        with self._file.writing() as con:
            con.execute("DELETE FROM queues WHERE name = ?", [name])

    def queues(self) -> dict[str, str]:
        """Saved queues: SELECTs by name."""
        with self._file.open() as con:
            return dict(con.execute("SELECT name, sql FROM queues ORDER BY name").fetchall())


_OF = "harvest = ? AND feature = ? AND polarity = ?"
_WORK = "id, kind, harvest, feature, polarity, reviewer, text, run, state, progress, result, tries"


_SHOWN, _SHOWN_OF_CARD = 100, 5
"""Pieces of work that are shown, of all cards and of one."""


def _draft(con: sqlite3.Connection, key: Key, reviewer: str) -> str | None:
    found = con.execute(f"SELECT text FROM drafts WHERE {_OF} AND reviewer = ?", [*_parts(key), reviewer])
    row = found.fetchone()
    return row[0] if row else None


def _parts(key: Key) -> list[Any]:
    return [key.harvest, key.index, key.polarity]


def _work(row: tuple[Any, ...]) -> Work:
    id, kind, harvest, index, polarity, reviewer, text, run, state, progress, result, tries = row
    read = None if result is None else json.loads(result)
    return Work(id, kind, Key(harvest, index, polarity), reviewer, text, run, state, progress, read, tries)
