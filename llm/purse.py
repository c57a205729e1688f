"""A budget's reservations for requests that are bought in batches: made early, settled when one has ended.

waiting for a wave     reserved; free again if the request is given up
in a batch             reserved, also for those that an earlier run has ordered and that are not ingested
a reply                what it cost is spent
no reply               nothing is spent, unless it may have been billed: then all that was reserved is
"""

from __future__ import annotations

import contextlib

from exegete.errors import LLMUnavailable, UsageError
from exegete.llm.batch_log import BatchLog
from exegete.llm.budget import Amount, Tariff
from exegete.llm.failure import CallFailed
from exegete.llm.journal import Journal
from exegete.llm.llm import Reply, Request
from exegete.llm.size import most_tokens

_NOTHING = Amount(0.0, 0)


class Purse:
    """What is put aside for the requests of one model, by key."""

    def __init__(self, tariff: Tariff | None) -> None:
        """Start empty; without a tariff there is no budget to keep."""
        self.ambiguous = 0
        """Requests that gave no reply and may have been billed all the same."""
        self._tariff = tariff
        self._reserved: dict[str, Amount] = {}

    async def reserve(self, request: Request) -> None:
        """Put aside what a request can cost at most, as soon as there is room for it.

        Raises:
            BudgetSpent: it can't fit any more.
            LLMUnavailable: the price of a request of this length is not known.
        """
        if self._tariff is not None:
            most = self._tariff.most(most_tokens(request), request.max_tokens)
            await self._tariff.budget.reserve(most)
            self._reserved[request.key] = most

    def hold(self, uuid: str, log: BatchLog, journal: Journal) -> None:
        """Put aside what an open batch of an earlier run can cost, less what is in the journal."""
        if self._tariff is None:
            return
        for key in log.keys(uuid):
            item = log.item(uuid, key)
            if item is None or key in journal:
                continue
            with contextlib.suppress(LLMUnavailable):  # prices have changed since: its reply will say
                most = self._tariff.most(item.most_input, item.asked["max_tokens"])
                self._tariff.budget.hold(most)
                self._reserved[key] = most

    def release(self, key: str) -> None:
        """A request was not sent."""
        reserved = self._reserved.pop(key, None)
        if self._tariff is not None and reserved is not None:
            self._tariff.budget.settle(reserved, _NOTHING)

    def settle(self, key: str, outcome: Reply | Exception) -> None:
        """Replace what was put aside for a request by what it has cost."""
        lost = _maybe_billed(outcome)
        self.ambiguous += lost
        reserved = self._reserved.pop(key, None)
        if self._tariff is None or reserved is None:
            return
        if isinstance(outcome, Reply):
            spent = self._tariff.spent(outcome, reserved)
        else:
            spent = self._tariff.ambiguous(reserved) if lost else _NOTHING
        self._tariff.budget.settle(reserved, spent)


def _maybe_billed(outcome: Reply | Exception) -> bool:
    """Can a request have cost something that no reply tells of?"""
    if isinstance(outcome, CallFailed):
        return outcome.ambiguous
    return not isinstance(outcome, Reply | UsageError)
