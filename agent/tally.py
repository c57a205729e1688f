"""How many tokens a case has taken so far, whoever paid for them and when.

A budget of a case ends its search, so it must end it at the same place whenever the run is gone on with, or
made anew: a reply from the journal counts like a fresh one, and a request that is made twice counts once, as
what is remembered of it depends on what else is under way.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass

from exegete.llm import LLM, Reply, Request
from exegete.llm.size import CHARACTERS_PER_TOKEN, likely_tokens

_tokens: ContextVar[dict[str, int] | None] = ContextVar("tokens", default=None)
"""Of the case at work, by the key of the request."""


def begin_tally() -> None:
    """From here on this task, and whatever it starts, counts for a case of its own."""
    _tokens.set({})


def tokens_so_far() -> int:
    """Input and output tokens of all requests of the case at work."""
    return sum((_tokens.get() or {}).values())


@dataclass(slots=True)
class Tallied:
    """An LLM whose requests count for the case that makes them.

    Attributes:
        inner: what is asked.
    """

    inner: LLM

    async def complete(self, request: Request) -> Reply:
        """Complete a request; see `LLM.complete`.

        What a server does not say is estimated, at four characters a token.
        """
        reply = await self.inner.complete(request)
        case = _tokens.get()
        if case is not None:
            size, said = reply.input_tokens, reply.output_tokens
            size = likely_tokens(request) if size is None else size
            case[request.key] = size + (len(reply.text) // CHARACTERS_PER_TOKEN if said is None else said)
        return reply

    async def close(self) -> None:
        """Close what is wrapped."""
        await self.inner.close()
