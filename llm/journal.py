"""The journal: every paid reply, on disk before anyone sees it.

Only replies answer requests (record.py says in which form they are stored): those cut, refused or filtered
too, for they were paid for; failures never. Equal requests are paid for once, now and in every later run. Of
a call that may have been paid for in vain a note is kept.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

from exegete.errors import WorkspaceError
from exegete.llm.bell import Bell
from exegete.llm.compact import parsed
from exegete.llm.lines import Position, intact
from exegete.llm.llm import Reply, Request
from exegete.llm.record import (
    RECORD,
    TEXT,
    entries,
    line_of,
    lost_of,
    record_of,
    records,
    reply_in,
    shared_texts,
    without_keys,
)
from exegete.llm.segments import SEGMENT_BYTES, Segments

log = logging.getLogger(__name__)

_DIGEST_CHARACTERS = 64
_KEPT_BYTES = 16
"""Of each key in memory; the whole key is compared when a record is read."""
_BEING_WRITTEN = -1
"""Stands for the position of a text that is on its way to the disk: others need not write it again."""


class Journal:
    """The journal of one workspace, open in one process; any number of models may share it."""

    def __init__(
        self, folder: Path, *, keep_messages: bool = False, segment_bytes: int = SEGMENT_BYTES
    ) -> None:
        """Open or create a journal.

        Args:
            folder: created if need be.
            keep_messages: store the messages of requests in full.
            segment_bytes: size past which a new file is begun.

        Raises:
            WorkspaceBusy: another process has it open; says which.
            WorkspaceError: it can't be read or written.
        """
        self.folder = folder
        self.calls: dict[str, Call] = {}
        """Calls under way, by key: whoever else asks the same waits for the same reply."""
        self.keep_messages = keep_messages
        self._index: dict[bytes, int] = {}
        self._texts: dict[bytes, int] = {}
        self._bell = Bell()
        self._segments = Segments(folder, self._visit, segment_bytes=segment_bytes)

    @property
    def dropped(self) -> int:
        """Torn last lines cut off on opening (0 or 1)."""
        return self._segments.dropped

    @property
    def damaged(self) -> int:
        """Damaged lines found on opening and skipped."""
        return self._segments.damaged

    def __len__(self) -> int:
        """How many replies it holds."""
        return len(self._index)

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def get(self, key: str) -> Reply | None:
        """The reply to a request, by the request's key, marked as journalled; None if there is none."""
        record = self.record(key)
        return None if record is None else reply_in(record)

    def record(self, key: str) -> dict[str, Any] | None:
        """The record of a reply (record.py), by the request's key; None if there is none."""
        record = self._look_up(self._index, key)
        return None if record is None or record["key"] != key else record

    def __contains__(self, key: object) -> bool:
        """Is there a reply to the request with this key?"""
        return isinstance(key, str) and _short(key) in self._index

    def text(self, digest: str) -> str | None:
        """The system text or schema (as JSON) of a digest in a record; None if it is not there."""
        record = self._look_up(self._texts, digest)
        return None if record is None else str(record["body"])

    def check(self) -> None:
        """Raise WorkspaceError if the last write failed: a reply could not be kept, so none may be bought."""
        if self._segments.failure is not None:
            raise self._segments.failure

    async def put(self, request: Request, reply: Reply) -> Reply:
        """Store a reply; see `store`.

        Returns:
            The reply as it was stored. It is what the caller has to see, now as in later runs.
        """
        record = record_of(request, reply, self.keep_messages)
        stored = await self.store(record, shared_texts(request))
        if stored is record:
            return reply
        return replace(reply, text=stored["reply"]["text"], served_by=stored["reply"]["served_by"])

    async def store(self, record: Mapping[str, Any], texts: Mapping[str, str]) -> Mapping[str, Any]:
        """Store a record (by record.py) and the texts it shares, by digest; on return they are safe on disk.

        Cancelling the wait does not stop the writing.

        Returns:
            The record as it was stored: keys that the server echoed are taken out of what it said.

        Raises:
            WorkspaceError: it could not be stored (disk full, for example).
        """
        record = without_keys(record)
        new = {digest: body for digest, body in texts.items() if _short(digest) not in self._texts}
        self._texts |= {_short(digest): _BEING_WRITTEN for digest in new}
        lines = [line_of({"text": digest, "body": body}) for digest, body in new.items()]
        loop = asyncio.get_running_loop()
        wait = loop.create_future()

        def then(outcome: list[Position] | WorkspaceError) -> None:
            self._indexed(record["key"], list(new), outcome)
            self._bell.end(wait, outcome if isinstance(outcome, WorkspaceError) else None)

        self._segments.write([*lines, line_of(record)], then)
        loop.call_soon(self._segments.flush)  # with the other replies that have come by then
        await wait
        return record

    def records(self, start: str = "") -> Iterator[dict[str, Any]]:
        """All records since a position: see `records`."""
        return records(self.folder, start)

    def lost(self, request: Request, why: str, most_usd: float | None) -> None:
        """Note a call that was sent and gave no reply; nobody waits for the disk, and `close` does.

        Args:
            request: what was asked.
            why: what happened; keys are taken out of it.
            most_usd: the most it can have cost; None when that is not known.
        """
        self._segments.append([line_of(lost_of(request, why, most_usd))])

    def entries(self, start: str = "") -> Iterator[dict[str, Any]]:
        """All records and lost calls since a position: see `entries`."""
        return entries(self.folder, start)

    def close(self) -> None:
        """Finish writing and let others in."""
        self._segments.close()

    def _look_up(self, index: dict[bytes, int], digest: str) -> dict[str, Any] | None:
        """The line an index has for a digest, or None. A line damaged since it was indexed is forgotten."""
        where = index.get(_short(digest), _BEING_WRITTEN)
        if where == _BEING_WRITTEN:
            return None
        line = self._segments.read(_unpacked(where))
        if intact(line):
            return dict(parsed(line))
        log.warning("a line of the journal %s was damaged while it was open: it is not used", self.folder)
        del index[_short(digest)]
        return None

    def _visit(self, position: Position, line: bytes) -> None:
        """Index one line. Its beginning is enough: the checksum already vouched for the rest."""
        for start, index in ((RECORD, self._index), (TEXT, self._texts)):
            if line.startswith(start):
                key = line[len(start) : len(start) + _DIGEST_CHARACTERS].decode("ascii")
                index.setdefault(_short(key), _packed(position))  # the first is the one that was seen

    def _indexed(self, key: str, texts: list[str], outcome: list[Position] | WorkspaceError) -> None:
        """Index what was just written; by whoever wrote it, so that no cancelled caller can prevent it."""
        if isinstance(outcome, WorkspaceError):
            for digest in texts:
                self._texts.pop(_short(digest), None)
            return
        *where, record = outcome
        for digest, position in zip(texts, where, strict=True):
            self._texts[_short(digest)] = _packed(position)
        self._index.setdefault(_short(key), _packed(record))


class Call:
    """A call under way and how many callers wait for it."""

    def __init__(self, task: asyncio.Task[Reply]) -> None:
        self.task = task
        self.waiting = 0


def _short(digest: str) -> bytes:
    """What of a digest is kept in memory."""
    return bytes.fromhex(digest)[:_KEPT_BYTES]


def _packed(position: Position) -> int:
    """A position in one small integer: an index of a million of them should stay small."""
    return position.segment << 40 | position.offset


def _unpacked(packed: int) -> Position:
    """The other way round."""
    return Position(packed >> 40, packed & (1 << 40) - 1)
