"""The log of batches: what was meant to be bought, on disk before it is ordered, and what has become of it.

Sealed lines in a folder of its own (lines.py), the first name in each says what it is:

    {"item": uuid, "key": …, "attempt": …, "most_input": …, "asked": {…}}     one request of a batch to be
    {"intent": uuid, "model": …, "requests": …, "after": …, "texts": {…}, …}  behind all of its items
    {"submitted": uuid, "id": provider's id, "file": …}
    {"seen": uuid, "state": …, "counts": {…}}                                 whenever that has changed
    {"ended": uuid, "state": …, "counts": {…}}
    {"ingested": uuid, "replies": …, "unanswered": …}                         every reply is in the journal
    {"dropped": uuid, "why": …}                                               it is not at the provider

An item holds what the journal keeps of its request (record.py), so that a reply can be journalled by a
process that was never asked for it. A batch is *open* from its intent until it is ingested or dropped.
Opening a log replays it; a live log is the same replay of what has been written, so both tell the same.
"""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from exegete.errors import UsageError
from exegete.llm.batch import BatchState
from exegete.llm.batch_rows import ITEM, BatchRow, replayed
from exegete.llm.lines import Position, intact
from exegete.llm.record import line_of
from exegete.llm.segments import SEGMENT_BYTES, Segments

_KEY = b'","key":"'
_UUID_CHARACTERS = 32
_KEY_CHARACTERS = 64


@dataclass(frozen=True, slots=True)
class Item:
    """One request of a batch, as the log keeps it."""

    key: str
    attempt: int
    """How many batches it has been in, this one included."""
    most_input: int
    """Input tokens it can have at most."""
    asked: Mapping[str, Any]
    """What the journal keeps of a request: `record.asked_of`."""


class BatchLog:
    """The log of one workspace, open in one process; shared by all models of a job."""

    def __init__(self, folder: Path, *, segment_bytes: int = SEGMENT_BYTES) -> None:
        """Open or create a log.

        Args:
            folder: created if need be.
            segment_bytes: size past which a new file is begun.

        Raises:
            WorkspaceBusy: another process has it open; says which.
            WorkspaceError: it can't be read or written.
        """
        self.folder = folder
        self._rows: dict[str, BatchRow] = {}
        self._items: dict[str, dict[str, Position]] = defaultdict(dict)
        self._intents: dict[str, Position] = {}
        self._claimed: set[str] = set()
        self._segments = Segments(folder, self._visit, segment_bytes=segment_bytes)
        for uuid in [uuid for uuid in self._items if uuid not in self._rows]:
            del self._items[uuid]  # the process ended in the middle of an intent: nothing was sent

    def __enter__(self) -> BatchLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def claim(self, model: str) -> None:
        """Take charge of a model's batches; `release` gives it back.

        Raises:
            UsageError: another part of this process has: it would ingest every batch a second time.
        """
        if model in self._claimed:
            raise UsageError(f"{model} is already open with the batches in {self.folder}: share that one")
        self._claimed.add(model)

    def release(self, model: str) -> None:
        """Give a model's batches back."""
        self._claimed.discard(model)

    def open_batches(self, model: str) -> list[BatchRow]:
        """A model's open batches, oldest first."""
        return [row for row in list(self._rows.values()) if row.open and row.model == model]

    def batch(self, uuid: str) -> BatchRow:
        """A batch."""
        return self._rows[uuid]

    def keys(self, uuid: str) -> list[str]:
        """Keys of the requests of an open batch."""
        return list(self._items.get(uuid, ()))

    def ids(self) -> frozenset[str]:
        """Provider's ids of all batches there have ever been."""
        return frozenset(row.id for row in list(self._rows.values()) if row.id is not None)

    def item(self, uuid: str, key: str) -> Item | None:
        """A request of an open batch; None when its line is damaged."""
        record = self._read(self._items[uuid][key])
        if record is None:
            return None
        return Item(key, record["attempt"], record["most_input"], record["asked"])

    def texts(self, uuid: str) -> Mapping[str, str]:
        """The texts that the requests of an open batch share, by digest."""
        record = self._read(self._intents[uuid])
        return {} if record is None else record["texts"]

    async def intend(
        self, row: BatchRow, items: Sequence[Item], texts: Mapping[str, str], digest: str
    ) -> None:
        """Commit to what is about to be bought.

        Args:
            row: a new batch.
            items: its requests.
            texts: what they share, by digest.
            digest: sha256 of what will be sent.

        Raises:
            WorkspaceError: it could not be written, as all methods here.
        """
        await self._write(
            *(
                {
                    "item": row.uuid,
                    "key": item.key,
                    "attempt": item.attempt,
                    "most_input": item.most_input,
                    "asked": item.asked,
                }
                for item in items
            ),
            {
                "intent": row.uuid,
                "model": row.model,
                "endpoint": row.endpoint,
                "requests": row.requests,
                "after": row.after,
                "digest": digest,
                "texts": texts,
                "at": row.intended_at.isoformat(timespec="milliseconds"),
            },
        )

    async def submitted(self, uuid: str, batch: str, file: str | None) -> None:
        """The provider has it, under this id."""
        await self._write({"submitted": uuid, "id": batch, "file": file, "at": _now()})

    async def seen(self, uuid: str, state: BatchState) -> None:
        """What the provider says of it; written if that is news."""
        row = self._rows[uuid]
        if (row.state, row.counts) != (state.state, state.counts) or (state.ended and row.ended_at is None):
            event = "ended" if state.ended else "seen"
            await self._write({event: uuid, "state": state.state, "counts": dict(state.counts), "at": _now()})

    async def ingested(self, uuid: str, replies: int, unanswered: int) -> None:
        """All of its replies are in the journal; what is unanswered can be asked again."""
        await self._write({"ingested": uuid, "replies": replies, "unanswered": unanswered, "at": _now()})

    async def dropped(self, uuid: str, why: str) -> None:
        """The provider does not have it, and it will not be submitted under this uuid."""
        await self._write({"dropped": uuid, "why": why, "at": _now()})

    def close(self) -> None:
        """Finish writing and let others in."""
        self._segments.close()

    async def _write(self, *records: Mapping[str, Any]) -> None:
        """Write lines, together or not at all, and take notice of them once they are on disk."""
        bodies = [line_of(record) for record in records]
        future = self._segments.append(bodies)
        # In the writer's thread: a caller that is cancelled must not leave us ignorant of what is on disk.
        future.add_done_callback(lambda done: self._written(bodies, done))
        await asyncio.wrap_future(future)

    def _written(self, bodies: Sequence[bytes], done: Future[list[Position]]) -> None:
        """Replay what was written."""
        if done.exception() is None:
            for position, body in zip(done.result(), bodies, strict=True):
                self._visit(position, body)

    def _visit(self, position: Position, line: bytes) -> None:
        """Replay one line."""
        if line.startswith(ITEM):
            at = len(ITEM)
            uuid = line[at : at + _UUID_CHARACTERS].decode("ascii")
            at += _UUID_CHARACTERS + len(_KEY)
            self._items[uuid][line[at : at + _KEY_CHARACTERS].decode("ascii")] = position
            return
        event = json.loads(line)
        row = replayed(self._rows, event)
        if row is None:
            return
        if "intent" in event:
            self._intents[row.uuid] = position
        if not row.open:
            self._items.pop(row.uuid, None)
            self._intents.pop(row.uuid, None)

    def _read(self, position: Position) -> dict[str, Any] | None:
        """A line as JSON; None when it was damaged meanwhile."""
        line = self._segments.read(position)
        return dict(json.loads(line)) if intact(line) else None


def _now() -> str:
    """UTC, with its zone."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
