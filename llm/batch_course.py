"""The course of one batch, from the intent to buy it until all of its replies are in the journal.

    1. intent       what is about to be bought is committed to the log
    2. order        the provider is told, and may have it from here on
    3. id           the provider's id is committed
    4. wait         it is polled until it has ended, for as long as it takes
    5. ingest       its replies are journalled, then told of
    6. mark         that this was done is committed

A process that is killed leaves an open batch in the log, and `finish` goes on from wherever it was: without
an id it is looked for (batch_search.py), and everything from 4 on can be done twice.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from exegete.errors import LLMStop, UsageError
from exegete.llm.batch import GONE, Batches, BatchState, NotTried, Result
from exegete.llm.batch_ingest import Ingest
from exegete.llm.batch_log import BatchLog, Item
from exegete.llm.batch_rows import BatchRow
from exegete.llm.batch_search import LOOKS, Search
from exegete.llm.failure import CallFailed
from exegete.llm.journal import Journal
from exegete.llm.llm import Reply, Request
from exegete.llm.patience import Sleep, again, wait_s
from exegete.llm.prices import Prices
from exegete.llm.record import asked_of, shared_texts
from exegete.llm.retry import ATTEMPTS, can_help
from exegete.llm.size import most_tokens

log = logging.getLogger(__name__)

_NO_SUCH_API = frozenset({404, 405, 501})
KEPT_FOR = timedelta(days=30)
"""No provider keeps results for longer than this."""


@dataclass(frozen=True, slots=True)
class Order:
    """One request that is to be bought."""

    request: Request
    line: bytes
    """As it is sent."""
    attempt: int
    """How many batches it will have been in."""


@dataclass(frozen=True, slots=True)
class Finished:
    """A batch there is nothing more to be done about."""

    failures: Mapping[str, CallFailed]
    """Why each request without a reply has none, by key."""
    rejected: CallFailed | None = None
    """Why the provider did not begin it at all."""


class Course:
    """Takes the batches of one model through their course."""

    def __init__(
        self, batches: Batches, batch_log: BatchLog, journal: Journal, prices: Prices, sleep: Sleep
    ) -> None:
        """Use these; nothing is opened or closed here."""
        self._batches = batches
        self._log = batch_log
        self._journal = journal
        self._prices = prices
        self._sleep = sleep
        self._search = Search(batches, batch_log, sleep)

    async def begin(self, uuid: str, orders: Sequence[Order]) -> None:
        """Order a batch; on return the provider has it, or may have it, and `finish` will know.

        Args:
            uuid: new; 32 hexadecimal digits.
            orders: what goes into it.

        Raises:
            CallFailed: the provider does not have it; if that is `ambiguous`, as far as can be known.
            UsageError: the server has no batch API.
            WorkspaceError: the log could not be written.
        """
        lines = [order.line for order in orders]
        row = BatchRow(
            uuid=uuid,
            model=str(self._batches.name),
            endpoint=self._batches.endpoint,
            requests=len(orders),
            intended_at=datetime.now(UTC),
            after=await self._newest(),
        )
        items = [self._item(order) for order in orders]
        texts = {digest: body for o in orders for digest, body in shared_texts(o.request).items()}
        await self._log.intend(row, items, texts, hashlib.sha256(b"\n".join(lines)).hexdigest())
        try:
            state, file = await self._order(row, lines)
        except CallFailed:
            await self._log.dropped(row.uuid, "it was refused, or could not be sent")
            raise
        if state is not None:
            await self._log.submitted(row.uuid, state.id, file)
            log.info("%s: batch %s of %d requests is submitted", row.model, state.id, row.requests)

    async def finish(self, uuid: str, tell: Callable[[str, Reply], None]) -> Finished:
        """See an open batch through.

        Args:
            uuid: the batch.
            tell: told the key and the reply of each request that has one, once it is journalled.

        Raises:
            CallFailed, LLMStop: the provider refuses to tell of it: it stays open.
            WorkspaceError: a reply could not be stored, or the log not be written: it stays open.
        """
        row = self._log.batch(uuid)
        if row.id is None:
            found = await self._search.find(row)
            if found is None:
                never = NotTried(f"{row.model}: a batch never arrived", retryable=True)
                failures = dict.fromkeys(self._log.keys(uuid), never)
                log.info("a batch of %d requests was never submitted", row.requests)
                await self._log.dropped(uuid, "the provider does not have it")
                return Finished(failures)
            log.info("batch %s, whose id was lost, is found again", found.id)
            await self._log.submitted(uuid, found.id, None)
        return await self._take_in(self._log.batch(uuid), await self._ended(self._log.batch(uuid)), tell)

    async def mark_ingested(self) -> None:
        """Mark batches all of whose replies are in the journal, where the process ended before it said so.

        Nobody will ask for any of their requests again, and so nobody would take them up.
        """
        for row in self._log.open_batches(str(self._batches.name)):
            keys = self._log.keys(row.uuid)
            if keys and all(key in self._journal for key in keys):
                await self._log.ingested(row.uuid, len(keys), 0)

    async def _ended(self, row: BatchRow) -> BatchState | None:
        """A batch that has ended; None when the provider does not keep it any more."""
        assert row.id is not None

        async def saw(state: BatchState) -> None:
            await self._log.seen(row.uuid, state)

        for look in range(LOOKS):  # a new batch can be unknown for a moment
            try:
                return await self._search.until_ended(row.id, saw)
            except CallFailed as failed:
                if failed.status not in GONE:
                    raise
            await self._sleep(2.0**look)
        if datetime.now(UTC) - (row.submitted_at or row.intended_at) > KEPT_FOR:
            return None
        raise LLMStop(
            f"{row.model} has no batch {row.id} any more: use the key it was submitted with, or remove "
            f"{self._log.folder} to give up all batches that are noted there and pay for them again"
        )

    async def _take_in(
        self, row: BatchRow, state: BatchState | None, tell: Callable[[str, Reply], None]
    ) -> Finished:
        """Ingest what a batch has brought, and mark it as done."""
        gone = CallFailed(f"{row.model}: the results of a batch are gone", ambiguous=True, retryable=True)
        results: Iterator[Result] | None = None
        rejected = None if state is None else state.rejected
        if state is not None and rejected is None:
            results = await self._results(state)
        ended = state or BatchState(str(row.id), row.state, True)
        ingest = Ingest(row, ended, self._log, self._journal, self._prices, tell)
        if results is not None:
            await ingest.run(results)
        missing = CallFailed(f"{row.model}: a batch came back without a reply to a request", retryable=True)
        default = rejected or (gone if results is None else missing)
        keys = self._log.keys(row.uuid)
        failures = {
            key: ingest.failures.get(key, default)
            for key in keys
            if key not in ingest.replies and not (results is None and key in self._journal)
        }
        await self._log.ingested(row.uuid, len(keys) - len(failures), len(failures))
        said = "%s: batch %s is %s, with %d replies to %d requests"
        log.info(said, row.model, ended.id, ended.state, len(keys) - len(failures), row.requests)
        return Finished(failures, rejected)

    async def _results(self, state: BatchState) -> Iterator[Result] | None:
        """The results of a batch; None when the provider does not keep them any more."""
        try:
            what = f"results of batch {state.id}"
            return await again(what, lambda: self._batches.results(state), self._sleep)
        except CallFailed as failed:
            if failed.status in GONE:
                return None
            raise

    async def _newest(self) -> float | None:
        """When the newest batch there is was created; asking also shows whether there is a batch API."""
        try:
            page = await again("the list of batches", lambda: self._batches.page(None), self._sleep, ATTEMPTS)
        except CallFailed as failed:
            if failed.status not in _NO_SUCH_API:
                raise
        else:
            return max((state.created for state in page if state.created is not None), default=None)
        raise UsageError(
            f"{self._batches.name} has no batch API (it has no list of batches): ask it without batches"
        )

    async def _order(self, row: BatchRow, lines: Sequence[bytes]) -> tuple[BatchState | None, str | None]:
        """Tell the provider.

        Returns:
            The batch and the provider's id of its file. No batch: it may have been begun, and can't be told
            from others as yet.

        Raises:
            CallFailed: it was not begun; if that is `ambiguous`, it was not found for as long as we looked.
        """
        upload = "the upload of a batch"
        file = await again(upload, lambda: self._batches.upload(row.uuid, lines), self._sleep, ATTEMPTS)
        attempt = 0
        while True:
            attempt += 1
            try:
                return await self._batches.create(row.uuid, lines, file), file
            except CallFailed as failed:
                last = failed
            if last.ambiguous or (last.status is not None and last.status >= 500):
                log.warning("a batch of %s may have been begun: looking for it", row.model)
                found = await self._search.candidates(row, LOOKS if last.ambiguous else 1)
                if found:
                    return (found[0] if self._batches.keeps_uuid else None), file
            if last.ambiguous or attempt == ATTEMPTS or not can_help(last):
                raise last
            await self._sleep(wait_s(last, attempt))

    def _item(self, order: Order) -> Item:
        """What the log keeps of a request."""
        request = order.request
        asked = asked_of(request, self._journal.keep_messages)
        return Item(request.key, order.attempt, most_tokens(request), asked)
