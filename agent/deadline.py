"""A time of day at which a job starts nothing new."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, time, timedelta

_LOOK_AGAIN_S = 20.0
"""The clock on the wall may be set, and a laptop may sleep: it is looked at often."""


def next_time(until: time, now: datetime) -> datetime:
    """The next moment at which a clock shows this time of day; a day from now if it is that time now."""
    moment = datetime.combine(now.date(), until, tzinfo=now.tzinfo)
    return moment if moment > now else moment + timedelta(days=1)


async def wait_until(
    moment: datetime,
    *,
    clock: Callable[[], datetime] = datetime.now,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Wait for a moment of local time.

    Args:
        moment: without a zone.
        clock: local time; tests put their own here.
        sleep: waits that many seconds.
    """
    while (left := (moment - clock()).total_seconds()) > 0:
        await sleep(min(left, _LOOK_AGAIN_S))
