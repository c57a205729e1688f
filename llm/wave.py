"""Collecting what is to be sent together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")


class Wave(Generic[T]):
    """Things that wait to be sent together: until no more have come for a while, or there is no more room."""

    def __init__(
        self, send: Callable[[Sequence[T]], None], linger_s: float, most: int, size_bytes: int
    ) -> None:
        """Start empty.

        Args:
            send: given all that waits, in order of arrival; never nothing.
            linger_s: how long nothing more has to come.
            most: things sent together at most.
            size_bytes: bytes of theirs at most.
        """
        self.most = most
        self._send = send
        self._linger_s = linger_s
        self._room = size_bytes
        self._waiting: dict[T, int] = {}
        self._bytes = 0
        self._timer: asyncio.TimerHandle | None = None

    def add(self, thing: T, size: int) -> bool:
        """Let something wait.

        Returns:
            False when it has more bytes than can be sent at all: it does not wait.
        """
        if size > self._room:
            return False
        if self._bytes + size > self._room:
            self.go()
        self._waiting[thing] = size
        self._bytes += size
        self._stop_waiting()
        if len(self._waiting) >= self.most:
            self.go()
        else:
            self._timer = asyncio.get_running_loop().call_later(self._linger_s, self.go)
        return True

    def discard(self, thing: T) -> None:
        """Let something go that need not be sent any more; what is not here is no error."""
        self._bytes -= self._waiting.pop(thing, 0)

    def go(self) -> None:
        """Send all that waits."""
        self._stop_waiting()
        things = list(self._waiting)
        self._waiting.clear()
        self._bytes = 0
        if things:
            self._send(things)

    def close(self) -> None:
        """Send nothing any more."""
        self._stop_waiting()

    def _stop_waiting(self) -> None:
        """Forget the time at which what waits would be sent."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
