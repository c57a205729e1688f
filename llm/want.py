"""A request that somebody waits for while it is bought in a batch."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from exegete.llm.llm import Reply, Request


@dataclass(slots=True, eq=False)
class Want:
    """One request, however many callers wait for it."""

    request: Request
    key: str
    task: asyncio.Task[Reply] | None = None
    """Sees to it that it is answered."""
    callers: int = 0
    answer: asyncio.Future[Reply] | None = None
    """Of the batch it is in, or will be."""
    attempt: int = 1
    """How many batches it will have been in."""
    sent: bool = False
    """Is it on its way?"""
    line: bytes = b""
    """As it is sent; empty once it was."""
    parameters: frozenset[str] = frozenset()
    """Those it is sent with that the model may refuse."""

    def wait(self) -> asyncio.Future[Reply]:
        """What the next batch it is in will answer."""
        self.answer = asyncio.get_running_loop().create_future()
        return self.answer

    def tell(self, outcome: Reply | Exception) -> None:
        """Say what its batch has come to, if that is being waited for."""
        if self.answer is None or self.answer.done():
            return
        if isinstance(outcome, Reply):
            self.answer.set_result(outcome)
        else:
            self.answer.set_exception(outcome)
