"""The journal: every paid reply, on disk before anyone sees it.

Only replies are stored (record.py says in which form): those cut, refused or filtered too, for they were paid
for; failures never. Equal requests are paid for once, now and in every later run.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

from exegete.llm.lines import Position, intact
from exegete.llm.llm import LLM, Reply, Request
from exegete.llm.record import RECORD, TEXT, line_of, record_of, records, shared_texts
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
        self._keep_messages = keep_messages
        self._index: dict[bytes, int] = {}
        self._texts: dict[bytes, int] = {}
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
        record = self._look_up(self._index, key)
        if record is None or record["key"] != key:
            return None
        return Reply(**record["reply"], journalled=True)

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

    async def put(self, request: Request, reply: Reply) -> None:
        """Store a reply; when this returns it is safe on disk. Cancelling the wait does not stop the writing.

        Raises:
            WorkspaceError: it could not be stored (disk full, for example).
        """
        texts = {d: body for d, body in shared_texts(request).items() if _short(d) not in self._texts}
        self._texts |= {_short(digest): _BEING_WRITTEN for digest in texts}
        lines = [line_of({"text": digest, "body": body}) for digest, body in texts.items()]
        future = self._segments.append([*lines, line_of(record_of(request, reply, self._keep_messages))])
        future.add_done_callback(lambda done: self._indexed(request.key, list(texts), done))
        await asyncio.wrap_future(future)

    def records(self, start: str = "") -> Iterator[dict[str, Any]]:
        """All records since a position: see `records`."""
        return records(self.folder, start)

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
            return dict(json.loads(line))
        log.warning("a line of the journal %s was damaged while it was open: it is not used", self.folder)
        del index[_short(digest)]
        return None

    def _visit(self, position: Position, line: bytes) -> None:
        """Index one line. Its beginning is enough: the checksum already vouched for the rest."""
        for start, index in ((RECORD, self._index), (TEXT, self._texts)):
            if line.startswith(start):
                key = line[len(start) : len(start) + _DIGEST_CHARACTERS].decode("ascii")
                index.setdefault(_short(key), _packed(position))  # the first is the one that was seen

    def _indexed(self, key: str, texts: list[str], done: Future[list[Position]]) -> None:
        """Index what was just written; in the writer's thread, so that no cancelled caller can prevent it."""
        if done.exception() is not None:
            for digest in texts:
                self._texts.pop(_short(digest), None)
            return
        *where, record = done.result()
        for digest, position in zip(texts, where, strict=True):
            self._texts[_short(digest)] = _packed(position)
        self._index.setdefault(_short(key), _packed(record))


class Call:
    """A call under way and how many callers wait for it."""

    def __init__(self, task: asyncio.Task[Reply]) -> None:
        self.task = task
        self.waiting = 0


class Recorded:
    """An LLM whose replies are in the journal before they are returned.

    It belongs inside of whatever limits calls: a call then keeps its place until its reply is safe, so that a
    slow disk slows down the buying, and no more replies can be lost at once than calls are allowed at once.
    """

    def __init__(self, inner: LLM, journal: Journal) -> None:
        """Wrap an LLM; whoever opened the journal closes it."""
        self.inner = inner
        self.journal = journal

    async def complete(self, request: Request) -> Reply:
        """Make a call and store its reply.

        Raises:
            WorkspaceError: the reply could not be stored, or an earlier one could not and no call was made.
            LLMError: as `inner` does.
        """
        self.journal.check()
        reply = await self.inner.complete(request)
        await self.journal.put(request, reply)
        return reply

    async def close(self) -> None:
        """Close what is wrapped."""
        await self.inner.close()


class Journalled:
    """An LLM whose replies are journalled, and which is never asked the same thing twice."""

    def __init__(self, inner: LLM, journal: Journal) -> None:
        """Wrap an LLM.

        Args:
            inner: asked for what the journal does not hold; its replies are stored here, unless a `Recorded`
                in it already did.
            journal: may be shared with other models. Whoever opened it closes it.
        """
        self.inner = inner
        self.journal = journal

    async def complete(self, request: Request) -> Reply:
        """Answer from the journal, from a call already under way, or by a new call.

        A caller that is cancelled leaves the call to those who share it; the last one to leave cancels it.

        Raises:
            WorkspaceError: the reply could not be stored, or an earlier one could not.
            LLMError: as `inner` does, for all who share the call.
        """
        key = request.key
        journalled = self.journal.get(key)
        if journalled is not None:
            return journalled
        calls = self.journal.calls
        call = calls.get(key)
        shared = call is not None
        if call is None:
            call = calls[key] = Call(asyncio.create_task(self._pay(request)))
            call.task.add_done_callback(lambda task: self._done(key, task))
        call.waiting += 1
        try:
            reply = await asyncio.shield(call.task)
        finally:
            call.waiting -= 1
            if call.waiting == 0 and not call.task.done():
                self._forget(key, call.task)  # nobody may join a call that is being cancelled
                call.task.cancel()
        return replace(reply, journalled=True) if shared else reply

    async def close(self) -> None:
        """Close what is wrapped. The journal stays open for others."""
        await self.inner.close()

    async def _pay(self, request: Request) -> Reply:
        """Make the call and see to it that its reply is stored."""
        self.journal.check()
        reply = await self.inner.complete(request)
        if request.key not in self.journal:
            await self.journal.put(request, reply)
        return reply

    def _done(self, key: str, task: asyncio.Task[Reply]) -> None:
        """A call has ended."""
        self._forget(key, task)
        if not task.cancelled():
            task.exception()  # looked at, so that asyncio does not complain when every caller has left

    def _forget(self, key: str, task: asyncio.Task[Reply]) -> None:
        """Take a call off the list, unless another one has taken its place."""
        call = self.journal.calls.get(key)
        if call is not None and call.task is task:
            del self.journal.calls[key]


def _short(digest: str) -> bytes:
    """What of a digest is kept in memory."""
    return bytes.fromhex(digest)[:_KEPT_BYTES]


def _packed(position: Position) -> int:
    """A position in one small integer: an index of a million of them should stay small."""
    return position.segment << 40 | position.offset


def _unpacked(packed: int) -> Position:
    """The other way round."""
    return Position(packed >> 40, packed & (1 << 40) - 1)
