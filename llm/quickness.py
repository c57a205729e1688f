"""Is a disk so quick that handing a write to a thread takes longer than the write?

Waking a thread and being woken by it takes a tenth of a millisecond of CPU; a write and its fsync take a
tenth of that in memory, about as much on a good disk, and many milliseconds on others. Which one it is shows
as it goes. A time taken in a thread is too long whenever that thread had to wait for Python, so the shortest
of a few counts; one slow write in the event loop, and the next few are the thread's again.
"""

from __future__ import annotations

from collections import deque

QUICK_S = 0.000_25
"""Longest time of a write and its fsync that the event loop may spend on it."""
_LOOKED_AT = 8


class Quickness:
    """What the latest writes to one disk took."""

    def __init__(self) -> None:
        """Nothing is known yet, and a disk of which nothing is known is a slow one."""
        self._took: deque[float] = deque(maxlen=_LOOKED_AT)

    @property
    def shown(self) -> bool:
        """Is it quick?"""
        return len(self._took) == _LOOKED_AT and min(self._took) < QUICK_S

    def saw(self, seconds: float, *, in_thread: bool) -> None:
        """Learn from a write.

        Args:
            seconds: that it took with its fsync.
            in_thread: was it the thread's, and is the time therefore an upper bound?
        """
        if seconds >= QUICK_S and not in_thread:
            self._took.clear()
        self._took.append(seconds)
