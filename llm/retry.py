"""Trying again: the only place that does (the SDKs' own retries are off).

    retried         408, 409, 429, 5xx, connection errors, time-outs, replies that can't be read
    ends the job    401, 402, 403, a spent quota or budget, a model that does not exist  -> LLMStop
    given up        everything else, and whatever still fails after the last attempt     -> LLMUnavailable

It waits as long as the server asks (up to a cap), else exponentially with jitter. The jitter is a function
of the request, so that a run's timing does not depend on the order in which calls happen to fail.

No idempotency key exists: a call that timed out after it was sent may have been completed and billed. Such
attempts are *ambiguous*: they are logged, counted and told to whoever keeps account of them.
"""

from __future__ import annotations

import asyncio
import logging
import random
import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace

import tenacity

from exegete.errors import LLMStop, LLMUnavailable
from exegete.llm.failure import CallFailed
from exegete.llm.llm import LLM, Reply, Request

log = logging.getLogger(__name__)

ATTEMPTS = 8
LONGEST_WAIT_S = 120.0
_FIRST_WAIT_S = 1.0
_LONGEST_BACKOFF_S = 60.0

_RETRIED = frozenset({408, 409, 429})
_KEY_REFUSED = frozenset({401, 403})
_SPENT = re.compile(
    r"insufficient_quota|insufficient_credits|billing_hard_limit_reached|billing_not_active|billing_error"
    r"|account_deactivated|spend_limit_reached|spend limit"
    r"|credit balance is too low|exceeded your current quota|reached your specified api usage limits"
)
"""Codes and sentences of servers whose bill is not paid. Plain 429s mention billing pages too, so the bare
word proves nothing."""


class Retrying:
    """An LLM that tries again when another attempt can help."""

    def __init__(
        self,
        inner: LLM,
        *,
        attempts: int = ATTEMPTS,
        longest_wait_s: float = LONGEST_WAIT_S,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        lost: Callable[[Request, CallFailed], None] | None = None,
    ) -> None:
        """Wrap an LLM.

        Args:
            inner: a provider; its CallFailed errors are what this is about.
            attempts: calls of `inner` at most, the first included.
            longest_wait_s: longest wait before an attempt, whatever the server asks for.
            sleep: waits that many seconds; tests put their own here.
            lost: told of each ambiguous attempt at once, before the next one.
        """
        self.inner = inner
        self.retried = 0
        """Attempts after a first one, over the life of this object."""
        self.ambiguous = 0
        """Attempts that gave no reply and may have been billed all the same."""
        self._attempts = attempts
        self._longest_wait_s = longest_wait_s
        self._sleep = sleep
        self._lost = lost

    async def complete(self, request: Request) -> Reply:
        """Answer one request; the reply's `attempts` counts all requests sent for it.

        Raises:
            LLMStop: no later call can succeed either.
            LLMUnavailable: another attempt can't help, or all were used up.
        """
        try:
            return await self.inner.complete(request)
        except CallFailed as failed:
            first = failed
        # Here, outside of `except`, so that no later failure drags the first one along. Most calls are
        # answered at once, and for them tenacity is never set up.
        return await self._again(request, first)

    async def _again(self, request: Request, first: CallFailed) -> Reply:
        """All that follows a first failed attempt; see `complete`."""
        failures: list[CallFailed] = []

        async def attempt() -> Reply:
            try:
                if not failures:
                    raise first
                return await self.inner.complete(request)
            except CallFailed as failed:
                failures.append(failed)
                self._count(request, failed)
                raise

        def wait_s(state: tenacity.RetryCallState) -> float:
            return self._wait_s(request, failures[-1], state.attempt_number)

        def say(state: tenacity.RetryCallState) -> None:
            self.retried += 1
            _say(request, failures[-1], state.attempt_number, state.upcoming_sleep)

        retrying = tenacity.AsyncRetrying(
            sleep=self._sleep,
            stop=tenacity.stop_after_attempt(self._attempts),
            wait=wait_s,
            retry=tenacity.retry_if_exception(can_help),
            before_sleep=say,
            reraise=True,
        )
        with suppress(CallFailed):
            reply: Reply = await retrying(attempt)
            return replace(reply, attempts=reply.attempts + sum(failed.requests for failed in failures))
        last, attempts = failures[-1], len(failures)
        log.info("%s: given up", _told(request, last), extra={**_named(request, last), "attempt": attempts})
        raise verdict(last, attempts)

    async def close(self) -> None:
        """Close what is wrapped."""
        await self.inner.close()

    def _count(self, request: Request, failed: CallFailed) -> None:
        """Remember an attempt that may have been billed."""
        if failed.ambiguous:
            self.ambiguous += 1
            log.warning(
                "%s: it may have been completed, and billed, all the same",
                _told(request, failed),
                extra=_named(request, failed),
            )
            if self._lost is not None:
                self._lost(request, failed)

    def _wait_s(self, request: Request, failed: CallFailed, attempt: int) -> float:
        """Seconds to wait after a failed attempt (1 for the first)."""
        jitter = random.Random(f"{request.key}:{attempt}").random()
        if failed.wait_s is not None and failed.wait_s > 0:
            # A little later than asked, and not all at once: many calls were told the same moment.
            return min(self._longest_wait_s, failed.wait_s * (1.0 + 0.1 * jitter))
        backoff = min(_LONGEST_BACKOFF_S, _FIRST_WAIT_S * 2.0 ** (attempt - 1))
        return min(self._longest_wait_s, backoff * (0.5 + 0.5 * jitter))


def _say(request: Request, failed: CallFailed, attempt: int, wait_s: float) -> None:
    """Log a retry."""
    facts = {**_named(request, failed), "attempt": attempt, "wait_s": wait_s}
    log.info("%s: attempt %d failed, next in %.1f s", _told(request, failed), attempt, wait_s, extra=facts)
    log.debug("the server said: %s", failed.said or "nothing", extra=_named(request, failed))


def _told(request: Request, failed: CallFailed) -> str:
    """What failed, without the server's own words: they can repeat a prompt, and a log holds none."""
    return str(failed) if failed.status is None else f"{request.model} answered {failed.status}"


def _named(request: Request, failed: CallFailed) -> dict[str, object]:
    """What a line of the log says by name of a failed call."""
    tags = {name: request.tags[name] for name in ("run", "feature", "purpose") if name in request.tags}
    return {**tags, "model": request.model, "status": failed.status}


def can_help(failed: BaseException) -> bool:
    """Could another attempt succeed?"""
    if not isinstance(failed, CallFailed) or _hopeless(failed):
        return False
    if failed.retryable is not None:
        return failed.retryable
    return failed.status is not None and (failed.status in _RETRIED or failed.status >= 500)


def _hopeless(failed: CallFailed) -> str | None:
    """Why no later call can succeed either, or None when one could."""
    if failed.status is None:
        return None
    said = " ".join((*failed.codes, failed.said)).lower()
    if failed.status == 402 or _SPENT.search(said):
        return "the account has no credit left, or has reached its spend limit"
    if failed.status in _KEY_REFUSED:
        return "the key was refused, or lacks the permission: check the key in the environment"
    if failed.status == 404 and "model" in said:
        return "the server has no such model, or the key may not use it"
    return None


def verdict(failed: CallFailed, attempts: int) -> LLMStop | LLMUnavailable:
    """What is raised in the end for a call whose last attempt failed."""
    hopeless = _hopeless(failed)
    if hopeless:
        return LLMStop(f"{failed} ({hopeless})")
    return LLMUnavailable(f"{failed}" + (f" (after {attempts} attempts)" if attempts > 1 else ""))
