"""A job's work done by several processes.

Python runs on one core, and a job that waits little fills it with evidence, prompts and scores. These depend
on nothing but the evidence file, the seed and the replies, so other processes can do them (crew_member.py).
Calls to models, the journal, limits, budget and the labels file stay in the job's own process: each exists
once. A feature comes to the same whoever works on it.

A process that ends by itself (killed for its memory, say) is replaced and its features begun anew: what they
had paid for is in the journal. `LOSSES` are replaced; the next one ends the job, to be resumed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import cast

from exegete.agent.cases import AHEAD, Cases, Work
from exegete.agent.crew_hand import Hand
from exegete.agent.crew_member import Begin
from exegete.agent.mixed import Sides
from exegete.agent.models import Models
from exegete.agent.nulls import Null, NullCase
from exegete.agent.spec import JobSpec
from exegete.agent.state import CaseState
from exegete.agent.subject import wants_bench
from exegete.datastore.records import FeatureId
from exegete.datastore.workspace import Workspace
from exegete.errors import JobError, WorkerLost

LOSSES = 3
"""Processes that are replaced in a sitting; when one more ends by itself the job gives up."""


def check_processes(spec: JobSpec) -> None:
    """Make sure that a job's work can be shared among processes, if it is to be.

    Raises:
        JobError: it can't.
    """
    if spec.processes == 1:
        return
    if spec.batch:
        raise JobError("--processes does nothing for --batch, which waits for the provider: leave out one")
    if wants_bench(spec) or spec.effects:
        raise JobError(
            "--processes can't share a subject that texts are run on: leave it out, or else --falsify, "
            "--effects and the scorers that run texts"
        )


@asynccontextmanager
async def opened_work(
    workspace: Workspace, sides: Sides, models: Models, n: int, say: Callable[[str], None]
) -> AsyncIterator[Work]:
    """What does a job's work: this process, or several others.

    Args:
        workspace: where the job is.
        sides: its parts.
        models: its models, which the others ask through this process.
        n: processes; 1 and less: this one.
        say: tells a person that a process was lost.

    Raises:
        ExegeteError: the processes can't begin.
    """
    if n <= 1:
        yield Cases(sides)
        return
    parts = sides.real
    level = logging.getLogger("exegete").getEffectiveLevel()
    crew = Crew(Begin(workspace.root, parts.spec, parts.evidence.name, level), models, n, say)
    try:
        await crew.begin()
        yield crew
    finally:
        await crew.close()


class Crew:
    """Has a job's work done by other processes; see `Work`."""

    def __init__(self, begin: Begin, models: Models, n: int, say: Callable[[str], None]) -> None:
        """Prepare.

        Args:
            begin: what the work is.
            models: asked for whoever needs them.
            n: processes.
            say: tells a person that one was lost.
        """
        self.ahead = AHEAD * n
        self._begin, self._models, self._say = begin, models, say
        self._hands = [Hand(models) for _ in range(n)]
        self._announced: dict[FeatureId, int] = {}
        self._next = 0
        self._lost = 0
        self._replacing = asyncio.Lock()

    async def begin(self) -> None:
        """Start the processes.

        Raises:
            ExegeteError: one can't begin.
        """
        await asyncio.gather(*(hand.begin(self._begin) for hand in self._hands))

    def prefetch(self, features: Sequence[FeatureId]) -> None:
        """Announce features that will be worked on next, each to the process that will have it."""
        by_hand: list[list[FeatureId]] = [[] for _ in self._hands]
        for feature in features:
            self._announced[feature] = at = self._turn()
            by_hand[at].append(feature)
        for hand, some in zip(self._hands, by_hand, strict=True):
            hand.send(("prefetch", some))

    async def case(self, feature: FeatureId) -> CaseState:
        """Have a feature run through the graph; see `Work.case`."""
        return cast(CaseState, await self._done("case", feature, self._announced.pop(feature, None)))

    async def null(self, null: Null) -> NullCase:
        """Have a null scored; see `Work.null`."""
        return cast(NullCase, await self._done("null", null, None))

    async def close(self) -> None:
        """End the processes."""
        await asyncio.gather(*(hand.close() for hand in self._hands))

    def _turn(self) -> int:
        self._next = (self._next + 1) % len(self._hands)
        return self._next

    async def _done(self, kind: str, what: FeatureId | Null, at: int | None) -> object:
        at = self._turn() if at is None else at
        while True:
            hand = self._hands[at]
            try:
                return await hand.do(kind, what)
            except WorkerLost:
                await self._replace(at, hand)

    async def _replace(self, at: int, hand: Hand) -> None:
        """Put another process in the place of one that is gone, once for all whose work it had.

        Raises:
            WorkerLost: too many are gone.
        """
        async with self._replacing:
            if self._hands[at] is not hand:
                return
            await hand.close()
            self._lost += 1
            if self._lost > LOSSES:
                raise WorkerLost(
                    f"{hand.how_it_ended}, and {LOSSES} were before it: what is finished is kept; run the "
                    "same command with fewer --processes to go on"
                )
            self._say(f"{hand.how_it_ended}: another takes its place")
            new = self._hands[at] = Hand(self._models)
            with suppress(WorkerLost):  # whoever has something done by it finds out
                await new.begin(self._begin)
