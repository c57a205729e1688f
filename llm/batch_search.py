"""Is a batch at the provider? Asked when it was ordered and its id never came, or was never written down.

1. All batches that were created since the newest one before ours are listed, by the provider's clock alone.
   Those whose ids are in the log are others of ours.
2. Where the provider keeps our uuid, the one with our uuid is it.
3. Where it does not (Anthropic), one with as many requests can be it. Which requests a batch has can be seen
   only in its results, so it is waited for until it has ended: its custom_ids then say whether it is ours.
   That can cost a day, if somebody else's batch on the same account has just as many requests; ordering again
   at once could cost the price of the batch.
4. A new batch can be missing from the list for a moment: it is looked for a few times. One that turns up
   only after that, half a minute, would be bought twice.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from exegete.llm.batch import GONE, Batches, BatchState
from exegete.llm.batch_log import BatchLog
from exegete.llm.batch_rows import BatchRow
from exegete.llm.failure import CallFailed
from exegete.llm.patience import Sleep, again

log = logging.getLogger(__name__)

LOOKS = 5
"""Looks at the list, 1, 2, 4 and 8 seconds apart."""
PAGES = 100
"""Pages of the list to go through at most: of an account with more new batches than that, the newest."""
FIRST_POLL_S = 2.0
LONGEST_POLL_S = 60.0
_SLOWER = 1.5


class Search:
    """Looks for batches of one model, and after them."""

    def __init__(self, batches: Batches, log_: BatchLog, sleep: Sleep) -> None:
        """Look at that provider for what is in that log.

        Args:
            batches: the provider.
            log_: of batches.
            sleep: waits that many seconds.
        """
        self._batches = batches
        self._log = log_
        self._sleep = sleep

    async def find(self, row: BatchRow) -> BatchState | None:
        """The batch, if the provider has it; None if not. Waits for candidates if need be.

        Raises:
            CallFailed: it can't be known, because the provider refuses to say.
        """
        for state in await self.candidates(row, LOOKS):
            if self._batches.keeps_uuid or await self._holds_ours(row, state):
                return state
        return None

    async def candidates(self, row: BatchRow, looks: int) -> Sequence[BatchState]:
        """What may be the batch, oldest first; at most one where the provider keeps uuids.

        Args:
            row: an open batch without an id.
            looks: how often to look while there is none.
        """
        for look in range(looks):
            if look:
                await self._sleep(2.0 ** (look - 1))
            recent = await self._recent(row)
            if self._batches.keeps_uuid:
                fitting = [state for state in recent if state.uuid == row.uuid][:1]
            else:
                fitting = [state for state in recent if state.total in (row.requests, None)]
            if fitting:
                return sorted(fitting, key=lambda state: state.created or 0.0)
        return []

    async def until_ended(self, batch: str, saw: Callable[[BatchState], Awaitable[None]]) -> BatchState:
        """Wait until a batch has ended, looking at it ever less often.

        Args:
            batch: the provider's id.
            saw: told of each look.

        Raises:
            CallFailed: the provider refuses to say; failures that can pass are waited out.
        """
        wait_s = FIRST_POLL_S
        while True:
            state = await again(f"batch {batch}", lambda: self._batches.poll(batch), self._sleep)
            await saw(state)
            if state.ended:
                return state
            await self._sleep(wait_s)
            wait_s = min(LONGEST_POLL_S, wait_s * _SLOWER)

    async def _recent(self, row: BatchRow) -> list[BatchState]:
        """Batches that may have been created after a row's intent, except those of other rows."""
        known, recent = self._log.ids(), []
        cursor: str | None = None
        for _ in range(PAGES):
            page = await again("the list of batches", partial(self._batches.page, cursor), self._sleep)
            recent += [state for state in page if state.id not in known and not _older(state, row.after)]
            if not page or page[-1].id == cursor or _only_older_follow(page, row.after):
                break
            cursor = page[-1].id
        return recent

    async def _holds_ours(self, row: BatchRow, state: BatchState) -> bool:
        """Does a batch hold requests of ours? Waits until it has ended."""

        async def saw(_: BatchState) -> None:
            """Nothing is written down of a batch that may be another's."""

        log.info("batch %s may be one whose id is lost: waiting for its results to tell", state.id)
        ended = await self.until_ended(state.id, saw)
        keys = frozenset(self._log.keys(row.uuid))
        try:
            results = await again(
                f"results of batch {state.id}", lambda: self._batches.results(ended), self._sleep
            )
        except CallFailed as failed:
            if failed.status in GONE:
                return False
            raise
        return any(result.key in keys for result in results)


def _older(state: BatchState, after: float | None) -> bool:
    """Was a batch created before a moment, for sure?"""
    return after is not None and state.created is not None and state.created < after


def _only_older_follow(page: Sequence[BatchState], after: float | None) -> bool:
    """Is a page past the moment, in a list that goes from new to old?"""
    newest, oldest = page[0].created, page[-1].created
    if newest is None or oldest is None or newest < oldest:
        return False
    return all(_older(state, after) for state in page)
