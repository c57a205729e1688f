"""A process that does part of a job's work: evidence, prompts, scores and the graph.

It is started by crew_hand.py and talks to nobody else. Every call to a model goes back to the job's process,
where the journal, the account's limits and the budget are. It writes no file, and ends when that one does.
"""

from __future__ import annotations

import asyncio
import copy
import logging
import pickle
import signal
import socket
import sys
import traceback
from contextlib import ExitStack
from contextvars import ContextVar
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from exegete.agent.cases import Cases
from exegete.agent.mixed import opened_sides
from exegete.agent.nulls import Null
from exegete.agent.parts import open_parts, opened_evidence
from exegete.agent.spec import JobSpec
from exegete.agent.state import CaseState
from exegete.agent.tags import Tags
from exegete.agent.tally import Tallied
from exegete.agent.wire import Wire, settle
from exegete.datastore.records import FeatureId
from exegete.datastore.workspace import Workspace
from exegete.errors import ExegeteError
from exegete.llm import LLM, Reply, Request, parse

log = logging.getLogger(__name__)

_task: ContextVar[int] = ContextVar("task")
"""The number of the task at work, by which the job's process knows it."""


@dataclass(frozen=True, slots=True)
class Begin:
    """The first message: what the work is."""

    root: Path
    """Of the workspace."""
    spec: JobSpec
    harvest: str
    level: int
    """Of the log: what lies below it is not worth sending."""


class Member:
    """The process's state: what it works with, and what it waits for."""

    def __init__(self) -> None:
        self.wire = Wire(self._on_message, self._on_end)
        self.ended = asyncio.Event()
        self._opened = ExitStack()
        self._cases: Cases | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._replies: dict[int, asyncio.Future[Reply]] = {}
        self._tags = Tags()
        self._number = 0

    async def complete(self, model: str, request: Request) -> Reply:
        """Have the job's process complete a request; its errors are raised here."""
        self._number += 1
        number = self._number
        reply: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._replies[number] = reply
        try:
            self.wire.send(("call", number, _task.get(), model, request.tagged(self._tags)))
            return await reply
        finally:
            del self._replies[number]

    def close(self) -> None:
        """Let go of the evidence."""
        self._opened.close()

    def _on_message(self, message: Any) -> None:
        kind, *rest = message
        if kind == "reply":
            self._on_reply(*rest)
        elif kind == "prefetch":
            self._prefetch(*rest)
        elif kind == "begin":
            self._begin(*rest)
        else:
            task = asyncio.create_task(self._work(*rest))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _on_end(self) -> None:
        self.ended.set()

    def _begin(self, begin: Begin) -> None:
        logger = logging.getLogger("exegete")
        logger.setLevel(begin.level)
        logger.addHandler(_Forwarding(self.wire))
        try:
            workspace = Workspace.open(begin.root)
            evidence = self._opened.enter_context(opened_evidence(workspace, begin.harvest))
            parts = open_parts(begin.spec, evidence, _Models(self))
            self._cases = Cases(self._opened.enter_context(opened_sides(parts)))
        except Exception as error:
            self.wire.send(("begun", sendable(error)))
            self.wire.close()
        else:
            self.wire.send(("begun", None))

    def _prefetch(self, features: list[FeatureId]) -> None:
        assert self._cases is not None, "the job's process waits until work has begun"
        try:
            self._cases.prefetch(features)
        except ExegeteError:  # told by the first case that reads the same rows, which has somebody to tell
            log.debug("evidence could not be read ahead", exc_info=True)

    async def _work(self, number: int, what: FeatureId | Null) -> None:
        assert self._cases is not None, "the job's process waits until work has begun"
        _task.set(number)
        found: object
        try:
            if isinstance(what, Null):
                found = await self._cases.null(what)
            else:
                found = without_mistakes(await self._cases.case(what))
        except Exception as error:
            if not isinstance(error, ExegeteError):
                log.exception("%s failed", _name(what))
            found = sendable(error)
        try:
            self.wire.send(("done", number, found))
        except Exception as error:  # of another package's scorer, say; nobody must wait for ever
            log.exception("what %s came to can't be sent", _name(what))
            self.wire.send(("done", number, sendable(error)))

    def _on_reply(self, number: int, reply: Reply | Exception) -> None:
        settle(self._replies.get(number), reply)


class _Models:
    """The job's models, as they are known here."""

    def __init__(self, member: Member) -> None:
        self._member = member

    def open(self, spec: str | None) -> tuple[LLM | None, str | None]:
        """A model by name and its canonical name; (None, None) for None."""
        if spec is None:
            return None, None
        name = str(parse(spec))
        return Tallied(_Forwarded(self._member, name)), name


class _Forwarded:
    """A model that the job's process asks."""

    def __init__(self, member: Member, name: str) -> None:
        self._member, self._name = member, name

    async def complete(self, request: Request) -> Reply:
        """Complete a request; see `LLM.complete`."""
        return await self._member.complete(self._name, request)

    async def close(self) -> None:
        """Nothing is held here."""


class _Forwarding(logging.Handler):
    """Sends what is logged, in whichever thread, to the job's process, which has the workspace's log."""

    def __init__(self, wire: Wire) -> None:
        super().__init__()
        self._wire, self._loop = wire, asyncio.get_running_loop()

    def emit(self, record: logging.LogRecord) -> None:
        """Send a record; of an exception its type and place, as a traceback can't be sent."""
        record = copy.copy(record)
        record.msg, record.args = record.getMessage(), None
        if record.exc_info and record.exc_info[1] is not None:
            error = record.exc_info[1]
            frames = traceback.extract_tb(error.__traceback__)
            places = [f"{Path(frame.filename).name}:{frame.lineno} in {frame.name}" for frame in frames]
            record.raised = [type(error).__name__, *places]
        record.exc_info = record.exc_text = record.stack_info = None
        self._loop.call_soon_threadsafe(self._send, record)

    def _send(self, record: logging.LogRecord) -> None:
        try:
            self._wire.send(("log", record))
        except Exception:  # a log is no reason for a feature to fail
            self.handleError(record)


def _name(what: FeatureId | Null) -> str:
    return f"a null of feature {what.feature}" if isinstance(what, Null) else f"feature {what}"


def without_mistakes(state: CaseState) -> CaseState:
    """A finished case without the excerpts that a reviser was shown: no row is made of them."""
    attempts = tuple(replace(one, misses=(), false_alarms=()) for one in state.get("attempts", ()))
    return {**state, "attempts": attempts} if attempts else state


def sendable(error: Exception) -> Exception:
    """An exception as it can be sent: itself, or one of the same words."""
    try:
        if isinstance(pickle.loads(pickle.dumps(error)), type(error)):  # noqa: S301 (made right here)
            return error
    except Exception:
        pass
    return RuntimeError(f"{type(error).__name__}: {error}")


async def serve(descriptor: int) -> None:
    """Work until the job's process is gone."""
    member = Member()
    sock = socket.socket(fileno=descriptor)
    await asyncio.get_running_loop().create_unix_connection(lambda: member.wire, sock=sock)
    try:
        await member.ended.wait()
    finally:
        member.close()


def main() -> None:
    """Ctrl-C and a stopped session go to every process of a job: the job's own decides what they mean."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    asyncio.run(serve(int(sys.argv[1])))
