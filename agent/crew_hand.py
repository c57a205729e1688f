"""One of the processes that do a job's work (crew_member.py), as the job's own sees it."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from exegete.agent.crew_member import Begin, sendable
from exegete.agent.models import Models
from exegete.agent.nulls import Null
from exegete.agent.wire import Wire, settle
from exegete.datastore.records import FeatureId
from exegete.errors import WorkerLost
from exegete.llm import Request

_PROGRAM = "from exegete.agent.crew_member import main; main()"
_GONE = (
    "a process that was to work on features ended before it could begin: run the same command with fewer "
    "--processes"
)
"""What is said where none has begun; later ones are replaced."""
PATIENCE_S = 5.0
"""For a process to end when it is told to."""


class Hand:
    """A process, started, asked and ended."""

    def __init__(self, models: Models) -> None:
        """Prepare.

        Args:
            models: asked for it.
        """
        self._models = models
        self._wire = Wire(self._on_message, self._on_end)
        self._process: subprocess.Popen[bytes] | None = None
        self._begun: asyncio.Future[None] | None = None
        self._number = 0
        self._doing: dict[int, tuple[asyncio.Future[object], contextvars.Context]] = {}
        self._calls: set[asyncio.Task[None]] = set()
        self._gone = False

    async def begin(self, begin: Begin) -> None:
        """Start the process, and wait until it is ready.

        Raises:
            ExegeteError: it can't begin.
            WorkerLost: it ended.
        """
        loop = asyncio.get_running_loop()
        self._begun = loop.create_future()
        here, there = socket.socketpair()
        with there:
            descriptor = there.fileno()
            # -P: not from the folder we stand in, where a file could have the name of a module.
            command = [sys.executable, "-P", "-c", _PROGRAM, str(descriptor)]
            self._process = subprocess.Popen(  # noqa: ASYNC220 (it takes a millisecond)
                command, pass_fds=(descriptor,), stdin=subprocess.DEVNULL
            )
        await loop.create_unix_connection(lambda: self._wire, sock=here)
        self._wire.send(("begin", begin))
        await self._begun

    def prefetch(self, features: Sequence[FeatureId]) -> None:
        """Announce features; see `Work.prefetch`."""
        self._wire.send(("prefetch", features))

    async def do(self, what: FeatureId | Null) -> object:
        """Have something done; its errors are raised here.

        Raises:
            WorkerLost: the process has ended.
        """
        if self._gone:
            raise WorkerLost(_GONE)
        self._number += 1
        number = self._number
        done: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        self._doing[number] = done, contextvars.copy_context()
        try:
            self._wire.send(("do", number, what))
            return await done
        finally:
            del self._doing[number]

    async def close(self) -> None:
        """End the process; calls it has under way are cancelled."""
        self._wire.close()
        for call in self._calls:
            call.cancel()
        await asyncio.gather(*self._calls, return_exceptions=True)
        if self._process is not None:
            await asyncio.to_thread(self._ended)

    def _ended(self) -> None:
        """Wait for the process, and no longer than one should."""
        assert self._process is not None
        try:
            self._process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    @property
    def how_it_ended(self) -> str:
        """In words, once it is closed."""
        code = None if self._process is None else self._process.returncode
        if code is not None and code < 0:
            return f"a process that worked on features was ended by {signal.Signals(-code).name}"
        return "a process that worked on features has ended by itself"

    def _on_message(self, message: Any) -> None:
        kind, *rest = message
        if kind == "call":
            self._on_call(*rest)
        elif kind == "done":
            self._on_done(*rest)
        elif kind == "log":
            (record,) = rest
            logging.getLogger(record.name).handle(record)
        else:
            self._on_begun(*rest)

    def _on_end(self) -> None:
        self._gone = True
        for waiting in (self._begun, *(done for done, _ in self._doing.values())):
            settle(waiting, WorkerLost(_GONE))
        for call in self._calls:
            call.cancel()

    def _on_begun(self, error: Exception | None) -> None:
        settle(self._begun, error)

    def _on_done(self, number: int, found: object) -> None:
        done, _ = self._doing.get(number, (None, None))
        settle(done, found)

    def _on_call(self, number: int, task: int, model: str, request: Request) -> None:
        _, context = self._doing.get(task, (None, None))
        # In a context like that of what the call is for, so that its span is a child of that one's.
        own = None if context is None else context.copy()
        call = asyncio.create_task(self._answer(number, model, request), context=own)
        self._calls.add(call)
        call.add_done_callback(self._calls.discard)

    async def _answer(self, number: int, model: str, request: Request) -> None:
        try:
            answer: object = await self._models.of(model).complete(request)
        except Exception as error:
            answer = sendable(error)
        self._wire.send(("reply", number, answer))
