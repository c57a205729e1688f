"""Calls that may have been paid for in vain: sent, and never answered.

Two parts of a model's stack see them: the retries, when an attempt fails without saying whether it was
completed, and the part here, when whoever waits for a request leaves while it is under way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from exegete.llm.failure import CallFailed
from exegete.llm.journal import Journal
from exegete.llm.llm import LLM, Reply, Request
from exegete.llm.prices import Prices
from exegete.llm.size import most_tokens

Lost = Callable[[Request, CallFailed], None]
"""Told of a request that may have been billed, and how it ended."""


def noted_in(journal: Journal, prices: Prices) -> Lost:
    """What notes lost calls in a journal, with the most each can have cost."""

    def note(request: Request, failed: CallFailed) -> None:
        most_usd = prices.most(request.model, most_tokens(request), request.max_tokens)
        journal.lost(request, str(failed), most_usd)

    return note


class Watched:
    """A provider whose cancelled requests are told of. It belongs next to the provider.

    Further out a cancelled caller may have been waiting for its turn, with nothing sent.
    """

    def __init__(self, inner: LLM, lost: Lost) -> None:
        """Wrap a provider."""
        self.inner = inner
        self._lost = lost

    async def complete(self, request: Request) -> Reply:
        """Send one request; see `LLM.complete`."""
        try:
            return await self.inner.complete(request)
        except asyncio.CancelledError:
            said = f"{request.model} was asked, and nobody waited for its reply"
            self._lost(request, CallFailed(said, ambiguous=True))
            raise

    async def close(self) -> None:
        """Close what is wrapped."""
        await self.inner.close()
