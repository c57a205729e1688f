"""A wrapper that says what calls are for, and counts what they cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from exegete.llm.llm import LLM, Reply, Request


@dataclass(slots=True)
class Spent:
    """What a job's new calls have used; replies from the journal cost nothing and are not counted."""

    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    """Of the input, read from the provider's cache, as far as servers say so."""
    unreported: int = 0
    """Calls whose server did not say how many tokens they used."""
    from_journal: int = 0
    """Replies that had been paid for before."""
    usd: float = 0.0
    """Dollars, of the calls whose cost is known."""
    unpriced: int = 0
    """Calls whose cost is not known."""


@dataclass(slots=True)
class Metered:
    """An LLM whose calls carry tags and are added up.

    Attributes:
        inner: what is asked.
        tags: added to every request's own tags, for example {"run": …}.
        spent: where calls are added up; may be shared by several models.
    """

    inner: LLM
    tags: Mapping[str, str]
    spent: Spent = field(default_factory=Spent)

    async def complete(self, request: Request) -> Reply:
        """Complete a request; see `LLM.complete`."""
        reply = await self.inner.complete(request.tagged(self.tags))
        if reply.journalled:
            self.spent.from_journal += 1
            return reply
        self.spent.calls += 1
        if reply.input_tokens is None or reply.output_tokens is None:
            self.spent.unreported += 1
        self.spent.input_tokens += reply.input_tokens or 0
        self.spent.output_tokens += reply.output_tokens or 0
        self.spent.cached_tokens += reply.cached_tokens or 0
        self.spent.usd += reply.usd or 0.0
        self.spent.unpriced += reply.usd is None
        return reply

    async def close(self) -> None:
        """Close what is wrapped."""
        await self.inner.close()
