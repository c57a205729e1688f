"""What one account at one server bears: how many calls at once, how many tokens a minute, and when to pause.

All models of a job that use the same key at the same server share one account.

Calls at once (after TCP's congestion control):

1. It starts with a few, and doubles after every clean round (as many replies as calls are allowed at once,
   without a 429 among them) until the first 429 or the job's own limit.
2. A 429 cuts to four fifths, once an episode: 429s of requests sent before the cut tell nothing new.
3. After that, a clean round adds a twentieth. No round adds anything unless four fifths of the calls allowed
   were really at work at once: what was not tried was not found to be borne.
4. After a 429 nothing is sent for a second, or for as long as the server asks (up to a cap).
5. A 5xx is trouble of the server's and not about us: it changes nothing.

Rates (bucket.py) are learnt from the headers of replies and refusals, per model. What a request may use is
reserved before it is sent, and what it did use is what counts once it has ended.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from exegete.errors import UsageError
from exegete.llm.bucket import Bucket
from exegete.llm.names import ModelName
from exegete.llm.rates import Gauge, Rates

log = logging.getLogger(__name__)

FIRST = 4
"""Calls at once to begin with."""
_CUT = 0.8
_GROWTH = 1.05
_SATURATED = 0.8
_PAUSE_S = 1.0
LONGEST_PAUSE_S = 120.0
_LOOK_AGAIN_S = 1.0
"""A wait for a rate is looked at again after so long: replies may have corrected the rate meanwhile."""
_GROWTH_SAID_S = 1.0
"""Growth is logged no more often than this: it can come with every reply."""
_LEAST_WAIT_S = 0.001
"""Waiting for less than a clock can tell would never end."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One request that may be sent now, and what was reserved for it."""

    number: int
    model: str
    need: Mapping[Gauge, int]


class Account:
    """The limits of one account, shared by all who use it; for one event loop."""

    def __init__(
        self,
        concurrency: int,
        *,
        first: int = FIRST,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Start without knowing anything.

        Args:
            concurrency: calls at once, at most and for ever.
            first: calls at once to begin with.
            clock: seconds that never go back; tests put their own here.
            sleep: waits that many seconds of that clock.

        Raises:
            UsageError: `concurrency` is below 1.
        """
        if concurrency < 1:
            raise UsageError(f"concurrency is {concurrency}: it has to be at least 1")
        self.cuts = 0
        """How often it was cut: episodes, not 429s."""
        self.refused = 0
        """Requests answered with 429."""
        self._most = float(concurrency)
        self._limit = min(self._most, float(first))
        self._calls = 0
        self._waiting = 0
        self._line: deque[asyncio.Future[None]] = deque()
        self._slow_start = True
        self._clean = 0
        self._peak = 0
        self._number = 0
        self._cut_at = 0
        self._pause_until = -math.inf
        self._growth_said = -math.inf
        self._buckets: dict[str, dict[Gauge, Bucket]] = defaultdict(dict)
        self._under_way: dict[int, Attempt] = {}
        self._gates: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._clock = clock
        self._sleep = sleep

    @property
    def limit(self) -> int:
        """Calls allowed at once, now."""
        return int(self._limit)

    async def enter(self) -> None:
        """Wait for a place among the calls; who got one must `leave`. First come, first served."""
        if self._calls < self.limit and not self._line:
            self._calls += 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._line.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():  # the place was given in the moment of leaving
                self.leave()
            raise

    def leave(self) -> None:
        """Give the place back."""
        self._calls -= 1
        self._admit()

    async def begin(self, model: str, need: Mapping[Gauge, int]) -> Attempt:
        """Wait until a request may be sent, and reserve what it may use; who began must end it.

        Args:
            model: canonical name.
            need: what the request may use at most, or likely, of each limit.
        """
        self._waiting += 1
        try:
            async with self._gates[model]:  # one at a time, so that a large request is not overtaken for ever
                while (wait_s := self._wait_s(model, need)) > 0:
                    await self._sleep(min(max(wait_s, _LEAST_WAIT_S), _LOOK_AGAIN_S))
        finally:
            self._waiting -= 1
        self._number += 1
        attempt = Attempt(self._number, model, need)
        for gauge, bucket in self._buckets[model].items():
            bucket.take(need.get(gauge, 0), self._clock())
        self._under_way[attempt.number] = attempt
        self._peak = max(self._peak, self._calls - self._waiting)
        return attempt

    def answered(self, attempt: Attempt, used: Mapping[Gauge, int], rates: Rates | None) -> None:
        """A reply came.

        Args:
            attempt: what `begin` gave.
            used: what it used, where that is known; what is not known counts as reserved.
            rates: limits in its headers.
        """
        self._end(attempt, used, rates)
        self._clean += 1
        if self._clean >= self.limit:
            self._grow()

    def failed(self, attempt: Attempt, rates: Rates | None, *, used_nothing: bool) -> None:
        """No reply came, and no 429 either: nothing is learnt but what the headers say."""
        self._end(attempt, dict.fromkeys(attempt.need, 0) if used_nothing else {}, rates)

    def too_many(self, attempt: Attempt, rates: Rates | None, wait_s: float | None) -> None:
        """The server answered 429.

        Args:
            attempt: what `begin` gave.
            rates: limits in its headers.
            wait_s: how long it asks to wait; None, nothing, negative and absurd values are all survived.
        """
        self.refused += 1
        self._end(attempt, {"tokens": 0, "input": 0, "output": 0}, rates)
        asked = 0.0 if wait_s is None or math.isnan(wait_s) else wait_s
        pause = min(LONGEST_PAUSE_S, max(_PAUSE_S, asked))
        until = self._clock() + pause
        longer = until > self._pause_until + _PAUSE_S
        self._pause_until = max(self._pause_until, until)
        self._clean = self._peak = 0
        facts = {"model": attempt.model, "status": 429, "wait_s": pause}
        if attempt.number > self._cut_at:
            self._cut_at = self._number
            self.cuts += 1
            self._slow_start = False
            self._limit = max(1.0, self._limit * _CUT)
            cut = "too many requests: cut to %d calls at once, and nothing is sent for %.1f s"
            log.info(cut, self.limit, pause, extra={**facts, "limit": self.limit})
        elif longer:
            log.info("too many requests: nothing is sent for %.1f s", pause, extra=facts)

    def _wait_s(self, model: str, need: Mapping[Gauge, int]) -> float:
        """Seconds until a request may be sent, as far as is known now."""
        now = self._clock()
        waits = [bucket.wait_s(need.get(gauge, 0), now) for gauge, bucket in self._buckets[model].items()]
        return max(self._pause_until - now, *waits, 0.0)

    def _end(self, attempt: Attempt, used: Mapping[Gauge, int], rates: Rates | None) -> None:
        """Settle a reservation and learn from the headers."""
        now = self._clock()
        del self._under_way[attempt.number]
        buckets = self._buckets[attempt.model]
        for gauge, bucket in buckets.items():
            reserved = attempt.need.get(gauge, 0)
            bucket.take(used.get(gauge, reserved) - reserved, now)
        if not rates:  # then there is no need to look at all others, for every reply
            return
        others = [other for other in self._under_way.values() if other.model == attempt.model]
        for gauge, rate in rates.items():
            under_way = sum(other.need.get(gauge, 0) for other in others)
            buckets.setdefault(gauge, Bucket()).correct(rate, under_way, now)

    def _grow(self) -> None:
        """A clean round is over."""
        if self._peak >= _SATURATED * self.limit:
            before = self.limit
            self._limit = min(self._most, self._limit * (2.0 if self._slow_start else _GROWTH))
            if self.limit > before and self._clock() >= self._growth_said + _GROWTH_SAID_S:
                self._growth_said = self._clock()
                log.info("up to %d calls at once", self.limit, extra={"limit": self.limit})
        self._clean, self._peak = 0, self._calls - self._waiting
        self._admit()

    def _admit(self) -> None:
        """Give free places to those who wait."""
        while self._line and self._calls < self.limit:
            turn = self._line.popleft()
            if not turn.done():
                self._calls += 1
                turn.set_result(None)


def account_key(name: ModelName) -> str:
    """What tells accounts apart: a provider has one key, and a server with an address is one of its own."""
    return f"{name.provider}@{name.url or ''}"
