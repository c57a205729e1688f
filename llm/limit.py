"""At most so many calls at once. (The place of a throttle that adapts: same `complete`, same wrapping.)"""

from __future__ import annotations

import asyncio

from exegete.errors import UsageError
from exegete.llm.llm import LLM, Reply, Request


class Limited:
    """An LLM that is asked at most `concurrency` things at a time; further callers wait in line."""

    def __init__(self, inner: LLM, concurrency: int) -> None:
        """Wrap an LLM.

        Raises:
            UsageError: `concurrency` is below 1.
        """
        if concurrency < 1:
            raise UsageError(f"concurrency is {concurrency}: it has to be at least 1")
        self.inner = inner
        self._slots = asyncio.Semaphore(concurrency)

    async def complete(self, request: Request) -> Reply:
        """Answer one request. A call waiting to be retried keeps its slot: a server in trouble gets less."""
        async with self._slots:
            return await self.inner.complete(request)

    async def close(self) -> None:
        """Close what is wrapped."""
        await self.inner.close()
