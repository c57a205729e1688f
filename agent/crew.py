"""A job's work done by several processes.

Python runs on one core, and a job that waits little fills it with evidence, prompts and scores. These depend
on nothing but the evidence file, the seed and the replies, so other processes can do them (crew_member.py).
Calls to models, the journal, limits, budget and the labels file stay in the job's own process: each exists
once. A feature comes to the same whoever works on it.

The calls of two others keep the job's process busy. Those of a single one do not: beside it, it works too.

A process that ends by itself (killed for its memory, say) is replaced and its features begun anew: what they
had paid for is in the journal. `LOSSES` are replaced; the next one ends the job, to be resumed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from itertools import cycle
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

ALONE_WITH_ONE = (0, 1, 0)
"""Who takes cases by turns, where there is one other (0) beside the job's process (1), which has the calls of
both."""
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
        n: processes, this one among them.
        say: tells a person that a process was lost.

    Raises:
        ExegeteError: the processes can't begin.
    """
    if n <= 1:
        yield Cases(sides)
        return
    parts = sides.real
    level = logging.getLogger("exegete").getEffectiveLevel()
    own = Own(Cases(sides)) if n == 2 else None
    crew = Crew(Begin(workspace.root, parts.spec, parts.evidence.name, level), models, n - 1, own, say)
    try:
        await crew.begin()
        yield crew
    finally:
        await crew.close()


class Own:
    """The job's own process, as one of a crew."""

    def __init__(self, cases: Cases) -> None:
        """Prepare.

        Args:
            cases: what it does.
        """
        self._cases = cases

    async def begin(self, begin: Begin) -> None:
        """It has begun."""

    def prefetch(self, features: Sequence[FeatureId]) -> None:
        """Announce features; see `Work.prefetch`."""
        self._cases.prefetch(features)

    async def do(self, what: FeatureId | Null) -> CaseState | NullCase:
        """Do a case or a null; see `Work`."""
        work = self._cases.null(what) if isinstance(what, Null) else self._cases.case(what)
        # In a context of its own: what it says of itself there is not true of what others do here next.
        done: CaseState | NullCase = await asyncio.create_task(work)
        return done

    async def close(self) -> None:
        """It goes on."""


class Crew:
    """Has a job's work done by several processes; see `Work`."""

    def __init__(
        self, begin: Begin, models: Models, others: int, own: Own | None, say: Callable[[str], None]
    ) -> None:
        """Prepare.

        Args:
            begin: what the work is.
            models: asked for whoever needs them.
            others: processes beside this one.
            own: this one, if it is to take cases beside a single other one.
            say: tells a person that one was lost.
        """
        self._begin, self._models, self._say = begin, models, say
        self._hands: list[Hand | Own] = [Hand(models) for _ in range(others)]
        turns: Sequence[int] = range(others)
        if own is not None:
            self._hands.append(own)
            turns = ALONE_WITH_ONE
        self.ahead = AHEAD * len(self._hands)
        self._turns = cycle(turns)
        self._announced: dict[FeatureId, int] = {}
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
            self._announced[feature] = at = next(self._turns)
            by_hand[at].append(feature)
        for hand, some in zip(self._hands, by_hand, strict=True):
            hand.prefetch(some)

    async def case(self, feature: FeatureId) -> CaseState:
        """Have a feature run through the graph; see `Work.case`."""
        return cast(CaseState, await self._done(feature, self._announced.pop(feature, None)))

    async def null(self, null: Null) -> NullCase:
        """Have a null scored; see `Work.null`."""
        return cast(NullCase, await self._done(null, None))

    async def close(self) -> None:
        """End the processes."""
        await asyncio.gather(*(hand.close() for hand in self._hands))

    async def _done(self, what: FeatureId | Null, at: int | None) -> object:
        at = next(self._turns) if at is None else at
        while True:
            hand = self._hands[at]
            try:
                return await hand.do(what)
            except WorkerLost:
                if isinstance(hand, Own):
                    raise
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
