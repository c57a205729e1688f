"""A model asked in batches: a slow LLM, at half the price, with the same `complete`.

Requests are collected into waves: a wave is what waits when no further request has come for a few seconds, or
as much as one batch takes. Each wave is one batch (batch_course.py), any number of which are under way at
once. A caller waits for its reply for as long as that takes, a day at most.

    what a request meets                          what is done
    its key is in a batch that is under way       it waits for that, whoever ordered it and when
    missing, errored, expired                     into the next wave, `REQUEUES` times, then LLMUnavailable
    a parameter the model refuses                 into the next wave without it
    refused for what is in it                     LLMUnavailable at once, as any call
    a batch rejected whole                        the same, or LLMStop when no later one can succeed
    more than the provider queues at once         waits for another batch to end, or goes in smaller ones
    a batch that a person cancelled               LLMUnavailable: it is not ordered again behind their back

Whoever leaves, leaves the batch as it is; so does `close`. What was paid for is ingested when the model is
next asked for anything, by this process or a later one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any
from uuid import uuid4

from exegete.errors import LLMUnavailable
from exegete.llm.batch import Batches, NotTried
from exegete.llm.batch_course import Course, Order
from exegete.llm.batch_log import BatchLog
from exegete.llm.budget import Budget, Tariff
from exegete.llm.failure import CallFailed
from exegete.llm.journal import Journal
from exegete.llm.llm import Reply, Request
from exegete.llm.lost import noted_in
from exegete.llm.patience import Sleep
from exegete.llm.prices import Prices
from exegete.llm.purse import Purse
from exegete.llm.retry import can_help, verdict
from exegete.llm.want import Want
from exegete.llm.wave import Wave
from exegete.llm.wire import refuse_other_models, refuse_slots

log = logging.getLogger(__name__)

LINGER_S = 5.0
"""A wave is sent when no further request has come for so long."""
REQUEUES = 2
"""Further batches that a request without a reply goes into."""
_TOO_MANY = 429


class Batched:
    """An LLM that is asked in batches, and whose replies are in the journal before they are returned."""

    def __init__(
        self,
        batches: Batches,
        *,
        log: BatchLog,
        journal: Journal,
        prices: Prices,
        budget: Budget | None = None,
        linger_s: float = LINGER_S,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        """Wrap a provider's batch API; nothing is sent yet.

        Args:
            batches: one model behind it.
            log: where batches are noted before they are ordered; whoever opened it closes it.
            journal: where replies are kept; whoever opened it closes it.
            prices: what replies cost.
            budget: what may be spent; None: anything.
            linger_s: a wave is sent when no further request has come for so long.
            sleep: waits that many seconds; tests put their own here.

        Raises:
            UsageError: the model's batches are in another's charge already, or there is a budget in dollars
                and no price is known.
        """
        self._model = str(batches.name)
        self._batches = batches
        self._log = log
        self._journal = journal
        tariff = None if budget is None else Tariff(self._model, prices, budget, batch=True)
        self._purse = Purse(tariff)
        self._lost = noted_in(journal, prices)
        self._course = Course(batches, log, journal, prices, sleep)
        limits = batches.limits
        self._wave: Wave[Want] = Wave(self._send, linger_s, limits.requests, limits.size_bytes)
        self._wants: dict[str, Want] = {}
        self._holders: dict[str, str] = {}
        """By key, the batch a request is in, until it is told what has become of it."""
        self._ordering = asyncio.Lock()
        self._following: dict[str, asyncio.Task[None]] = {}
        self._begun = 0
        """Batches that the provider did not reject."""
        self._resumed = False
        log.claim(self._model)

    @property
    def ambiguous(self) -> int:
        """Requests that gave no reply and may have been billed all the same."""
        return self._purse.ambiguous

    async def complete(self, request: Request) -> Reply:
        """Answer one request, together with others.

        Raises:
            LLMUnavailable: no reply after all batches it may be in.
            LLMStop: no later batch can succeed either.
            UsageError: the server has no batch API.
            WorkspaceError: the log or the journal can't be written.
        """
        refuse_other_models(self._batches.name, request)
        refuse_slots(f"{self._batches.name} in batches", request)
        key = request.key
        want = self._wants.get(key)
        if want is None:
            want = self._wants[key] = Want(request, key)
            want.task = asyncio.create_task(self._obtain(want))
        assert want.task is not None
        want.callers += 1
        try:
            return await asyncio.shield(want.task)
        finally:
            want.callers -= 1
            if want.callers == 0 and not want.task.done():
                self._forget(want)  # nobody may join a want that is being given up
                want.task.cancel()

    async def close(self) -> None:
        """Stop waiting and close connections. Batches go on, for whoever opens the log next."""
        self._wave.close()
        wants = [want.task for want in self._wants.values() if want.task is not None]
        tasks: list[asyncio.Task[Any]] = [*self._following.values(), *wants]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        try:
            await self._course.mark_ingested()
        finally:
            self._log.release(self._model)
            await self._batches.close()

    async def _obtain(self, want: Want) -> Reply:
        """See to it that a request is answered."""
        tried = 0
        try:
            self._resume()
            while True:
                want.attempt = tried + 1
                try:
                    return await self._once(want)
                except NotTried:
                    continue
                except CallFailed as failed:
                    if self._batches.downgrades.learn(failed, want.parameters):
                        continue
                    tried += 1
                    if tried > REQUEUES or not can_help(failed):
                        raise verdict(failed, tried) from None
        finally:
            self._forget(want)

    async def _once(self, want: Want) -> Reply:
        """Wait for a request to be answered by one batch."""
        journalled = self._journal.get(want.key)
        if journalled is not None:  # ingested since the caller looked there
            return journalled
        want.parameters = self._batches.parameters(want.request)
        uuid = self._holders.get(want.key)
        if uuid is not None:
            self._follow(uuid)
            return await want.wait()
        await self._purse.reserve(want.request)
        want.sent = False
        try:
            want.line = self._batches.line(want.request)
            answer = want.wait()
            if not self._wave.add(want, len(want.line) + 1):
                raise LLMUnavailable(f"{self._model}: a request is longer than a whole batch may be")
            return await answer
        finally:
            if not want.sent:
                self._wave.discard(want)
                self._purse.release(want.key)

    def _forget(self, want: Want) -> None:
        """Take a want off the list, unless another one has taken its place."""
        if self._wants.get(want.key) is want:
            del self._wants[want.key]

    def _resume(self) -> None:
        """Take up the batches that earlier runs have left: their replies are paid for."""
        if not self._resumed:
            self._resumed = True
            for row in self._log.open_batches(self._model):
                self._purse.hold(row.uuid, self._log, self._journal)
                self._holders |= dict.fromkeys(self._log.keys(row.uuid), row.uuid)
                self._follow(row.uuid)

    def _send(self, wants: Sequence[Want]) -> None:
        """Send a wave as one batch."""
        orders = [Order(want.request, want.line, want.attempt) for want in wants]
        uuid = uuid4().hex
        for want in wants:
            want.sent, want.line = True, b""
            self._holders[want.key] = uuid
        self._start(uuid, self._buy(uuid, orders))

    def _follow(self, uuid: str) -> None:
        """See a batch through, unless that is being done."""
        if uuid not in self._following:
            self._start(uuid, self._see_through(uuid, self._begun))

    def _start(self, uuid: str, work: Coroutine[Any, Any, None]) -> None:
        """Work on a batch, beside everything else; on each by one task at a time."""
        task = self._following[uuid] = asyncio.create_task(work)
        task.add_done_callback(lambda _: self._following.pop(uuid))

    async def _buy(self, uuid: str, orders: Sequence[Order]) -> None:
        """Order one batch and see it through."""
        begun = self._begun
        try:
            # One after the other, so that a process that is killed leaves at most one without its id.
            async with self._ordering:
                await self._course.begin(uuid, orders)
        except Exception as error:
            nowhere = uuid not in {row.uuid for row in self._log.open_batches(self._model)}
            for order in orders:
                if isinstance(error, CallFailed) and error.ambiguous:
                    self._lost(order.request, error)
                self._tell(order.request.key, error, over=nowhere)
        else:
            await self._see_through(uuid, begun)

    async def _see_through(self, uuid: str, begun: int) -> None:
        """Take a batch to its end, and tell those who wait for it.

        Args:
            uuid: the batch.
            begun: how many batches had not been rejected when it was ordered.
        """
        keys = self._log.keys(uuid)
        try:
            finished = await self._course.finish(uuid, self._answered)
        except Exception as error:  # it stays open: who asks again follows it again
            log.error("a batch of %s can't be followed (%s)", self._model, type(error).__name__)
            reason = verdict(error, 1) if isinstance(error, CallFailed) else error
            for key in keys:
                self._tell(key, reason, over=False)
            return
        failures = finished.failures
        self._begun += finished.rejected is None
        if finished.rejected is not None and finished.rejected.status == _TOO_MANY:
            failures = await self._make_room(failures, begun)
        for key, failed in failures.items():
            self._tell(key, failed, over=True)

    async def _make_room(self, failures: Mapping[str, CallFailed], begun: int) -> Mapping[str, CallFailed]:
        """A batch was more than the provider queues at once: let another one end, or make smaller ones."""
        while self._begun == begun and (others := self._queued()):
            await asyncio.wait(others, return_when=asyncio.FIRST_COMPLETED)
        if self._begun == begun:  # no other one was in its way
            if len(failures) == 1:
                return failures
            self._wave.most = max(1, min(self._wave.most, len(failures) // 2))
            log.info("%s: batches of %d requests from now on", self._model, self._wave.most)
        waiting = NotTried(f"{self._model} queues no more at once", retryable=True)
        return dict.fromkeys(failures, waiting)

    def _queued(self) -> list[asyncio.Task[None]]:
        """What sees the batches through that the provider has."""
        queued = {row.uuid for row in self._log.open_batches(self._model) if row.id is not None}
        return [task for uuid, task in self._following.items() if uuid in queued]

    def _answered(self, key: str, reply: Reply) -> None:
        """A reply is in the journal."""
        self._tell(key, reply, over=True)

    def _tell(self, key: str, outcome: Reply | Exception, *, over: bool) -> None:
        """Settle what became of a request, and let those know who wait for it, if anybody does.

        Args:
            key: the request's.
            outcome: its reply, or why there is none.
            over: False when it may still be in a batch: then it must not go into another one.
        """
        self._purse.settle(key, outcome)
        if over:
            self._holders.pop(key, None)
        if key in self._wants:
            self._wants[key].tell(outcome)
