"""What all phases of a job's sitting share: many things at once, stopped by a person, the clock or an outage.

A phase hands in its items and the work on each; what stops one phase stops the sitting.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from exegete.agent.deadline import next_time, wait_until
from exegete.agent.spec import JobSpec
from exegete.errors import (
    BudgetSpent,
    ExegeteError,
    LLMStop,
    LLMUnavailable,
    NoReadableReply,
    WorkerLost,
    WorkspaceError,
)

log = logging.getLogger(__name__)

OUTAGE = 5
"""So many features in a row that no model could be reached for end the job, to be resumed later."""
_GO_ON = "what is finished is kept; see to the server and run the same command to go on"
_HALF_WAY = (
    "in batches all features advance together: those half way keep what is paid for, and finish with more"
)
_BATCHED = 5000
"""Items under way at once in batch mode at least: a wave holds what all of them ask next."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Failed:
    """Why something could not be done this time."""

    why: str


class Sitting:
    """One sitting of a job.

    Attributes:
        stopping: nothing further is to be started.
        interrupted: because a person said so.
        error: what ended the sitting, to be raised once everything is recorded.
    """

    def __init__(self, spec: JobSpec, say: Callable[[str], None]) -> None:
        """Begin.

        Args:
            spec: how much is done at once, in batches or not, and until when.
            say: tells a person, in words, why it stops.
        """
        self._spec, self._say = spec, say
        self.stopping = self.interrupted = False
        self.error: ExegeteError | None = None
        self._leaving = asyncio.Event()
        self._outage = 0

    def stop(self) -> None:
        """Start nothing further; what is under way is finished.

        What waits for a batch is left: it goes on at the provider, and may take a day.
        """
        self.stopping = self.interrupted = True
        if self._spec.batch:
            self._leave_batches("stopping")
        else:
            self._say("stopping: finishing what is under way (again to leave at once)")

    def answered(self) -> None:
        """A model could be reached: there is no outage."""
        self._outage = 0

    async def each(
        self,
        items: Iterator[T],
        n_items: int,
        work: Callable[[T], Awaitable[None]],
        beside: Coroutine[Any, Any, None],
    ) -> None:
        """Work on items, some at once, until all are done or the sitting is stopping.

        Args:
            items: taken one by one, when there is room.
            n_items: how many there are.
            work: what is done with each.
            beside: runs meanwhile; it ends only by failing, and then so does the sitting.
        """
        at_once = max(self._spec.concurrency, _BATCHED) if self._spec.batch else self._spec.concurrency
        recording = asyncio.create_task(beside)
        deadline = asyncio.create_task(self._until())
        leaving = asyncio.create_task(self._leaving.wait())
        workers = asyncio.gather(*(self._worker(items, work) for _ in range(min(at_once, n_items))))
        try:
            any_of: set[asyncio.Future[Any]] = {workers, recording, leaving}
            await asyncio.wait(any_of, return_when=asyncio.FIRST_COMPLETED)
            if not leaving.done():
                await (recording if recording.done() else workers)
        finally:
            tasks = (workers, recording, deadline, leaving)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def tried(self, name: str, call: Coroutine[Any, Any, T]) -> T | Failed | None:
        """What came of a call; None when it should be made again in another sitting.

        Raises:
            WorkspaceError: a file of the workspace can't be used.
            WorkerLost: the processes that make it keep ending.
        """
        try:
            return await call
        except LLMStop as error:
            self._give_up(error)
            return None
        except LLMUnavailable as error:
            self._outage += 1
            if self._outage >= OUTAGE:
                self._give_up(LLMUnavailable(f"{error}; {OUTAGE} features in a row got no reply: {_GO_ON}"))
            return None if self.stopping else Failed(str(error))
        except (WorkspaceError, WorkerLost):
            raise
        except NoReadableReply as error:
            self.answered()
            return Failed(str(error))
        except ExegeteError as error:
            return Failed(str(error))
        except Exception as error:
            log.exception("feature %s failed", name)
            return Failed(f"{type(error).__name__}: {error}")

    @contextlib.contextmanager
    def signals(self) -> Iterator[None]:
        """The first SIGINT or SIGTERM drains; the second leaves at once."""
        loop = asyncio.get_running_loop()

        def on_signal(number: int) -> None:
            if self.stopping:
                signal.signal(number, signal.SIG_DFL)
                signal.raise_signal(number)
            self.stop()

        numbers = (signal.SIGINT, signal.SIGTERM)
        added = []
        for number in numbers:
            with contextlib.suppress(ValueError, RuntimeError, NotImplementedError):  # not the main thread
                loop.add_signal_handler(number, on_signal, number)
                added.append(number)
        try:
            yield
        finally:
            for number in added:
                loop.remove_signal_handler(number)

    async def _worker(self, items: Iterator[T], work: Callable[[T], Awaitable[None]]) -> None:
        """Items from the shared queue, until it is empty or the sitting is stopping."""
        for item in items:
            await work(item)
            await asyncio.sleep(0)  # work without calls never yields by itself
            if self.stopping:
                return

    async def _until(self) -> None:
        """At the time of day that was asked for, start nothing further."""
        if self._spec.until is not None:
            await wait_until(next_time(self._spec.until, datetime.now()))
            self.stopping = True
            if self._spec.batch:
                self._leave_batches(f"it is {self._spec.until:%H:%M}")
            else:
                self._say(f"it is {self._spec.until:%H:%M}: finishing what is under way")

    def _leave_batches(self, why: str) -> None:
        self._say(f"{why}: batches go on at the provider; run the same command to fetch them")
        self._leaving.set()

    def _give_up(self, error: ExegeteError) -> None:
        # A budget's sentence is ours; another's can hold words of a server, and those of a prompt in them.
        log.info("the job stops: %s", error if isinstance(error, BudgetSpent) else type(error).__name__)
        if self._spec.batch and self.error is None and isinstance(error, BudgetSpent):
            self._say(_HALF_WAY)
        self.error = self.error or error
        self.stopping = True
