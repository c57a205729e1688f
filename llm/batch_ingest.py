"""From a batch's results to the journal.

Any line may come twice, be missing, or belong to nobody, in any order: a reply counts once, and before a
failure of the same request. Every reply is in the journal before anyone is told of it, and doing all of it
again changes nothing, so a process can be killed anywhere in it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from exegete.llm.batch import BatchState, Result
from exegete.llm.batch_log import BatchLog
from exegete.llm.batch_rows import BatchRow
from exegete.llm.failure import CallFailed
from exegete.llm.journal import Journal
from exegete.llm.llm import Reply
from exegete.llm.prices import Prices
from exegete.llm.record import answered

log = logging.getLogger(__name__)

GROUP = 256
"""Replies that are written to the journal at once."""


@dataclass(slots=True)
class Ingest:
    """One batch on its way into the journal.

    Attributes:
        row: the batch.
        state: how it ended.
        tell: told the key and the reply of each request that has one, once it is journalled.
    """

    row: BatchRow
    state: BatchState
    log: BatchLog
    journal: Journal
    prices: Prices
    tell: Callable[[str, Reply], None]
    replies: set[str] = field(default_factory=set)
    """Keys of the requests that have a reply."""
    failures: dict[str, CallFailed] = field(default_factory=dict)
    """What became of others, as far as the results say."""

    async def run(self, results: Iterator[Result]) -> None:
        """Take in all results.

        Raises:
            WorkspaceError: a reply could not be stored.
        """
        keys = frozenset(self.log.keys(self.row.uuid))
        unknown = duplicates = 0
        group: list[Result] = []
        for result in results:
            if result.key not in keys:
                unknown += 1
                continue
            duplicates += result.key in self.replies or result.key in self.failures
            if result.reply is None:
                if result.key not in self.replies and result.failed is not None:
                    self.failures[result.key] = result.failed
            elif result.key not in self.replies:
                self.replies.add(result.key)
                self.failures.pop(result.key, None)
                group.append(result)
            if len(group) >= GROUP:
                await self._store(group)
                group = []
        await self._store(group)
        if unknown or duplicates:
            odd = "batch %s has %d results that nobody asked for and %d that came before: not used"
            log.warning(odd, self.state.id, unknown, duplicates)

    async def _store(self, group: Sequence[Result]) -> None:
        """Journal some replies, then tell of them."""
        texts = self.log.texts(self.row.uuid) if group else {}
        writing = []
        for result in group:
            item = self.log.item(self.row.uuid, result.key)
            assert result.reply is not None
            if item is None:  # its line was damaged since: the reply can't be filed
                self.replies.discard(result.key)
                continue
            reply = self._completed(result.reply, item.attempt)
            if result.key not in self.journal:
                writing.append(self.journal.store(answered(item.asked, reply, item.most_input), texts))
        await asyncio.gather(*writing)
        for result in group:
            reply_ = self.journal.get(result.key)
            if reply_ is not None:
                self.tell(result.key, replace(reply_, journalled=False))

    def _completed(self, reply: Reply, attempt: int) -> Reply:
        """A reply with what its batch adds to it."""
        priced = replace(
            reply, attempts=attempt, batch=self.state.id, latency_s=_took_s(self.row, self.state)
        )
        usd = self.prices.cost(self.row.model, priced, batch=True)
        return replace(priced, usd=usd, prices=None if usd is None else self.prices.version)


def _took_s(row: BatchRow, state: BatchState) -> float:
    """Seconds a batch took: by the provider's clock, or else by ours, which can have been set meanwhile."""
    if state.took_s is not None:
        return state.took_s
    return max(0.0, (datetime.now(UTC) - (row.submitted_at or row.intended_at)).total_seconds())
