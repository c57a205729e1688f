"""One rate limit as we count it: a bucket that fills up again steadily, and is corrected by the server."""

from __future__ import annotations

from exegete.llm.rates import Rate

_WINDOW_S = 60.0
_LONG_RESET_S = 90.0
"""A limit that takes longer than this to be whole again is not one by the minute (some are by the day)."""


class Bucket:
    """How much of one limit is left; without a limit until the server has named one."""

    def __init__(self) -> None:
        """Start without a limit: nothing has to wait."""
        self.limit: int | None = None
        self.level = 0.0
        """What may be used at once; below 0 when more was used than is there."""
        self.per_s = 0.0
        self._at = 0.0

    def wait_s(self, need: float, now: float) -> float:
        """Seconds until `need` can be taken; 0 if it can be now.

        More than the whole limit can never be there: such a need waits for a full bucket.
        """
        if self.limit is None:
            return 0.0
        self._fill(now)
        missing = min(need, float(self.limit)) - self.level
        return max(0.0, missing / self.per_s)

    def take(self, need: float, now: float) -> None:
        """Use so much; give back by a negative number."""
        if self.limit is not None:
            self._fill(now)
            self.level = min(float(self.limit), self.level - need)

    def correct(self, rate: Rate, under_way: float, now: float) -> None:
        """Believe the server.

        Args:
            rate: what it said last.
            under_way: reserved by requests that have not ended. The server may have counted some of them
                already; that it has counted none is the assumption that ends in no refusal, and it costs
                little, for each of their replies corrects it.
            now: our clock, seconds.
        """
        self.limit = rate.limit
        self.per_s = rate.limit / _WINDOW_S
        used = rate.limit - rate.remaining
        if rate.reset_s is not None and _LONG_RESET_S < rate.reset_s < float("inf") and used > 0:
            self.per_s = used / rate.reset_s
        self.level = max(-float(rate.limit), rate.remaining - under_way)
        self._at = now

    def _fill(self, now: float) -> None:
        """Let time pass."""
        if self.limit is not None and now > self._at:
            self.level = min(float(self.limit), self.level + (now - self._at) * self.per_s)
            self._at = now
