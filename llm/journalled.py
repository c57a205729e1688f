"""The two parts of a model's stack that work with the journal (journal.py).

Journalled     outside: answers what was paid for before, and equal requests at once by one call
Recorded       inside of whatever limits calls: stores every reply before it is seen
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

from exegete.llm.journal import Call, Journal
from exegete.llm.llm import LLM, Reply, Request


class Recorded:
    """An LLM whose replies are in the journal before they are returned.

    It belongs inside of whatever limits calls: a call then keeps its place until its reply is safe, so that a
    slow disk slows down the buying, and no more replies can be lost at once than calls are allowed at once.
    """

    def __init__(self, inner: LLM, journal: Journal) -> None:
        """Wrap an LLM; whoever opened the journal closes it."""
        self.inner = inner
        self.journal = journal

    async def complete(self, request: Request) -> Reply:
        """Make a call and store its reply.

        Raises:
            WorkspaceError: the reply could not be stored, or an earlier one could not and no call was made.
            LLMError: as `inner` does.
        """
        self.journal.check()
        return await self.journal.put(request, await self.inner.complete(request))

    async def close(self) -> None:
        """Close what is wrapped."""
        await self.inner.close()


class Journalled:
    """An LLM whose replies are journalled, and which is never asked the same thing twice."""

    def __init__(self, inner: LLM, journal: Journal) -> None:
        """Wrap an LLM.

        Args:
            inner: asked for what the journal does not hold; its replies are stored here, unless a `Recorded`
                in it already did.
            journal: may be shared with other models. Whoever opened it closes it.
        """
        self.inner = inner
        self.journal = journal

    async def complete(self, request: Request) -> Reply:
        """Answer from the journal, from a call already under way, or by a new call.

        A caller that is cancelled leaves the call to those who share it; the last one to leave cancels it.

        Raises:
            WorkspaceError: the reply could not be stored, or an earlier one could not.
            LLMError: as `inner` does, for all who share the call.
        """
        key = request.key
        journalled = self.journal.get(key)
        if journalled is not None:
            return journalled
        calls = self.journal.calls
        call = calls.get(key)
        shared = call is not None
        if call is None:
            call = calls[key] = Call(asyncio.create_task(self._pay(request)))
            call.task.add_done_callback(lambda task: self._done(key, task))
        call.waiting += 1
        try:
            reply = await asyncio.shield(call.task)
        finally:
            call.waiting -= 1
            if call.waiting == 0 and not call.task.done():
                self._forget(key, call.task)  # nobody may join a call that is being cancelled
                call.task.cancel()
        return replace(reply, journalled=True) if shared else reply

    async def close(self) -> None:
        """Close what is wrapped. The journal stays open for others."""
        await self.inner.close()

    async def _pay(self, request: Request) -> Reply:
        """Make the call and see to it that its reply is stored."""
        self.journal.check()
        reply = await self.inner.complete(request)
        if request.key not in self.journal:
            return await self.journal.put(request, reply)
        return reply

    def _done(self, key: str, task: asyncio.Task[Reply]) -> None:
        """A call has ended."""
        self._forget(key, task)
        if not task.cancelled():
            task.exception()  # looked at, so that asyncio does not complain when every caller has left

    def _forget(self, key: str, task: asyncio.Task[Reply]) -> None:
        """Take a call off the list, unless another one has taken its place."""
        call = self.journal.calls.get(key)
        if call is not None and call.task is task:
            del self.journal.calls[key]
