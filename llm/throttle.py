"""The two parts of a model's stack that keep to an account's limits (account.py).

Throttled      outside: a place among the calls, kept until the reply is stored, waits for retries included
Paced          inside of the retries: every single request waits for its turn, and tells how it went
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from exegete.errors import LLMError
from exegete.llm.account import Account
from exegete.llm.failure import CallFailed
from exegete.llm.llm import LLM, Reply, Request
from exegete.llm.rates import Gauge
from exegete.llm.size import likely_tokens

_TOO_MANY = 429


class Throttled:
    """An LLM that is asked as many things at a time as its account bears; further callers wait in line."""

    def __init__(self, inner: LLM, account: Account) -> None:
        """Wrap an LLM; the account may be shared with others."""
        self.inner = inner
        self.account = account

    async def complete(self, request: Request) -> Reply:
        """Answer one request. A call waiting to be retried keeps its place: a server in trouble gets less."""
        await self.account.enter()
        try:
            return await self.inner.complete(request)
        finally:
            self.account.leave()

    async def close(self) -> None:
        """Close what is wrapped."""
        await self.inner.close()


class Paced:
    """An LLM whose requests are sent no faster than its account bears."""

    def __init__(self, inner: LLM, account: Account) -> None:
        """Wrap a provider; what its replies say of limits ends here."""
        self.inner = inner
        self.account = account

    async def complete(self, request: Request) -> Reply:
        """Send one request when its turn has come.

        Raises:
            CallFailed: as `inner` does, after the account has learnt from it.
        """
        size = likely_tokens(request)
        need: Mapping[Gauge, int] = {
            "requests": 1,
            "tokens": size + request.max_tokens,
            "input": size,
            "output": request.max_tokens,
        }
        attempt = await self.account.begin(request.model, need)
        try:
            reply = await self.inner.complete(request)
        except CallFailed as failed:
            if failed.status == _TOO_MANY:
                self.account.too_many(attempt, failed.rates, failed.wait_s)
            else:
                self.account.failed(attempt, failed.rates, used_nothing=not failed.ambiguous)
            raise
        except LLMError:  # it was not sent
            self.account.failed(attempt, None, used_nothing=True)
            raise
        except BaseException:
            self.account.failed(attempt, None, used_nothing=False)
            raise
        self.account.answered(attempt, _used(reply), reply.rates)
        return reply if reply.rates is None else replace(reply, rates=None)

    async def close(self) -> None:
        """Close what is wrapped."""
        await self.inner.close()


def _used(reply: Reply) -> dict[Gauge, int]:
    """What a reply has used of the limits, as far as it says."""
    used: dict[Gauge, int] = {}
    if reply.input_tokens is not None:
        used["input"] = reply.input_tokens
    if reply.output_tokens is not None:
        used["output"] = reply.output_tokens
    if reply.input_tokens is not None and reply.output_tokens is not None:
        used["tokens"] = reply.input_tokens + reply.output_tokens
    return used
