"""Asking a server again about a batch: nothing of that costs money, so it is done for as long as it takes."""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable
from typing import TypeVar

import tenacity

from exegete.llm.failure import CallFailed
from exegete.llm.retry import LONGEST_WAIT_S, can_help

log = logging.getLogger(__name__)

T = TypeVar("T")
Sleep = Callable[[float], Awaitable[None]]
LONGEST_BACKOFF_S = 60.0


async def again(what: str, ask: Callable[[], Awaitable[T]], sleep: Sleep, attempts: int | None = None) -> T:
    """Ask until there is an answer.

    Args:
        what: is asked for, for the log, which says so at the 1st, 2nd, 4th, 8th, … failure.
        ask: one request.
        sleep: waits that many seconds.
        attempts: at most; None: for as long as it takes.

    Raises:
        CallFailed: another attempt can't help, or all are used up.
    """
    failures: list[CallFailed] = []

    async def attempt() -> T:
        try:
            return await ask()
        except CallFailed as failed:
            failed.ambiguous = False  # it may have happened, and cost nothing
            failures[:] = [failed]
            raise

    def say(state: tenacity.RetryCallState) -> None:
        if state.attempt_number & (state.attempt_number - 1) == 0:
            # Without the server's own words: they can repeat a prompt, and a log holds none.
            told = failures[-1].status or "nothing"
            log.warning("%s: attempt %d failed (%s), trying again", what, state.attempt_number, told)

    retrying = tenacity.AsyncRetrying(
        sleep=sleep,
        stop=tenacity.stop_never if attempts is None else tenacity.stop_after_attempt(attempts),
        wait=lambda state: wait_s(failures[-1], state.attempt_number),
        retry=tenacity.retry_if_exception(can_help),
        before_sleep=say,
        reraise=True,
    )
    answer: T = await retrying(attempt)
    return answer


def wait_s(failed: CallFailed, attempt: int) -> float:
    """Seconds to wait after a failed attempt (1 for the first): what the server asks for, or ever longer."""
    backoff = math.ldexp(1.0, min(attempt - 1, 10))
    asked = failed.wait_s if failed.wait_s is not None and failed.wait_s > 0 else 0.0
    return max(min(backoff, LONGEST_BACKOFF_S), min(asked, LONGEST_WAIT_S))
