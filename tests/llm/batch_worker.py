"""A small job asked in batches, in a process of its own, made to be killed: run by test_batch_kill.py.

It asks different things at once, writes what it got to a file and kills itself, as kill -9 does it, at an
edge of the protocol:

    intending     half of the intent is written to the disk
    intent        the intent is on disk, nothing is sent
    uploaded      the provider has the file of requests, if it takes one, and no batch
    submitted     the provider has the batch, and its id is not on disk
    id            the id is on disk
    ended         the batch has ended, and nothing is ingested
    ingesting     some replies are in the journal
    torn          a group of replies is half written
    ingested      all replies are in the journal, and the log does not say so
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from exegete.llm import BatchLog, Journal, batch_ingest
from exegete.llm.batch_course import Course
from exegete.llm.batch_ingest import Ingest
from exegete.llm.batching import Batched
from exegete.llm.journalled import Journalled
from tests.llm.batches import PRICES, batch_api
from tests.llm.fakes import request
from tests.llm.worker import die, die_while_writing


def before(owner: Any, name: str, nth: int = 1) -> None:
    """Die instead of the nth call of an async method."""
    _around(owner, name, nth, after=False)


def behind(owner: Any, name: str, nth: int = 1) -> None:
    """Die when the nth call of an async method has returned."""
    _around(owner, name, nth, after=True)


def _around(owner: Any, name: str, nth: int, *, after: bool) -> None:
    real, calls = getattr(owner, name), 0

    async def wrapped(*args: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == nth and not after:
            die()
        value = await real(*args, **options)
        if calls == nth:
            die()
        return value

    setattr(owner, name, wrapped)


def tear_the_journal() -> None:
    """Die in the middle of writing the second group of replies."""
    real, calls = Ingest._store, 0

    async def store(self: Ingest, group: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            die_while_writing(1)
        await real(self, group)

    Ingest._store = store  # type: ignore[method-assign]


EDGES: dict[str, Callable[[Any], None]] = {
    "intending": lambda api: die_while_writing(1),
    "intent": lambda api: before(Course, "_order"),
    "uploaded": lambda api: behind(api, "upload"),
    "submitted": lambda api: behind(api, "create"),
    "id": lambda api: behind(BatchLog, "submitted"),
    "ended": lambda api: before(Ingest, "run"),
    "ingesting": lambda api: before(Ingest, "_store", 2),
    "torn": lambda api: tear_the_journal(),
    "ingested": lambda api: before(BatchLog, "ingested"),
}


async def job(api_name: str, url: str, folder: Path, calls: int, edge: str) -> dict[str, str]:
    """Ask for everything; texts by question."""
    with Journal(folder / "journal") as journal, BatchLog(folder / "batches") as log:
        api = batch_api(api_name, url)
        if edge:
            EDGES[edge](api)
        batched = Batched(
            api, log=log, journal=journal, prices=PRICES, linger_s=0.03, sleep=lambda _: asyncio.sleep(0.005)
        )
        llm = Journalled(batched, journal)
        questions = [f"question {number}" for number in range(calls)]
        asked = (llm.complete(request(question, model=str(api.name))) for question in questions)
        replies = await asyncio.gather(*asked)
        await llm.close()
    return {question: reply.text for question, reply in zip(questions, replies, strict=True)}


def main(api: str, url: str, folder: Path, calls: int, edge: str = "") -> None:
    """Run the job, and die at an edge, if one is named."""
    batch_ingest.GROUP = 4
    got = asyncio.run(job(api, url, folder, calls, edge))
    (folder / "results").write_text(json.dumps(got))
