"""A small job in a process of its own, made to be killed: run by test_kill.py.

It asks different things, writes what it got to a file and kills itself, as kill -9 does, at an edge, when it
is passed for the NTH time:

    send         right before the NTH request is sent
    reply        when the NTH reply has arrived and is not journalled
    write        when the NTH group of lines is half written to the disk
    journalled   when the NTH reply is journalled and about to be handed over
    part         when half of the NTH compressed segment is written
    rename       when the NTH compressed segment is whole and about to get its name
    remove       when it has its name and the plain one is about to go

Segments are small, so that there are some to compress.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

from exegete.llm import LLM, Account, Journal, Reply, Request, compressor, parse
from exegete.llm.journalled import Journalled, Recorded
from exegete.llm.openai import OpenAI
from exegete.llm.retry import Retrying
from exegete.llm.throttle import Throttled
from tests.llm.fakes import request

SEGMENT_BYTES = 3_000


def die() -> None:
    """End as if killed from outside: nothing is flushed, nothing is cleaned up."""
    os.kill(os.getpid(), signal.SIGKILL)


class Edge:
    """Kills the process at the nth passage; a negative n never."""

    def __init__(self, nth: int) -> None:
        self._left = nth

    @property
    def is_next(self) -> bool:
        return self._left == 1

    def passed(self) -> None:
        self._left -= 1
        if self._left == 0:
            die()


class Dying:
    """An LLM that dies before or after a call of another one."""

    def __init__(self, inner: LLM, before: Edge, after: Edge) -> None:
        self.inner = inner
        self._before = before
        self._after = after

    async def complete(self, request: Request) -> Reply:
        self._before.passed()
        reply = await self.inner.complete(request)
        self._after.passed()
        return reply

    async def close(self) -> None:
        await self.inner.close()


def die_while_writing(nth: int) -> None:
    """Make the nth write to the journal stop halfway."""
    real = os.write
    left = nth

    def write(file: int, data: bytes) -> int:
        nonlocal left
        left -= 1
        if left == 0:
            torn = bytes(data)[: max(1, len(data) * 2 // 3)]
            real(file, torn.removesuffix(b"\n")[:-1])  # not between two lines
            die()
        return real(file, data)

    os.write = write


def die_while_compressing(edge: str, nth: int) -> None:
    """Make the nth compression of a segment stop at an edge."""
    passage = Edge(nth)
    real_compress, real_replace, real_unlink = compressor.compress, os.replace, Path.unlink

    def compress(plain: Path, target: Path, go_on: Callable[[], bool]) -> bool:
        done = real_compress(plain, target, go_on)
        if edge == "part":
            if passage.is_next:
                os.truncate(target, target.stat().st_size // 2)
            passage.passed()
        return done

    def replace(source: Path, target: Path) -> None:
        if edge == "rename":
            passage.passed()
        real_replace(source, target)

    def unlink(path: Path, missing_ok: bool = False) -> None:
        if edge == "remove" and path.suffix == ".jsonl":
            passage.passed()
        real_unlink(path, missing_ok=missing_ok)

    compressor.compress, os.replace, Path.unlink = compress, replace, unlink


async def job(
    url: str, journal: Journal, calls: int, concurrency: int, edges: dict[str, Edge]
) -> dict[str, str]:
    """Ask for everything; texts by question."""
    name = f"openai:m@{url}/v1"
    provider = Dying(OpenAI(parse(name)), edges["send"], edges["reply"])
    account = Account(concurrency, first=concurrency)
    stack = Journalled(Throttled(Recorded(Retrying(provider), journal), account), journal)
    llm = Dying(stack, Edge(-1), edges["journalled"])
    questions = [f"question {number}" for number in range(calls)]
    replies = await asyncio.gather(*(llm.complete(request(question, model=name)) for question in questions))
    await llm.close()
    return {question: reply.text for question, reply in zip(questions, replies, strict=True)}


def main(
    url: str, folder: Path, results: Path, calls: int, concurrency: int, edge: str | None = None, nth: int = 1
) -> None:
    """Run the job, and die at an edge, if one is named."""
    edges = {name: Edge(-1) for name in ("send", "reply", "journalled")}
    if edge == "write":
        die_while_writing(nth)
    elif edge in ("part", "rename", "remove"):
        die_while_compressing(edge, nth)
    elif edge is not None:
        edges[edge] = Edge(nth)
    with Journal(folder, segment_bytes=SEGMENT_BYTES) as journal:
        got = asyncio.run(job(url, journal, calls, concurrency, edges))
    results.write_text(json.dumps(got))
