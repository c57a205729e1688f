"""Ending waits of coroutines from any thread: however many have something to hear, a loop is woken once."""

from __future__ import annotations

import asyncio
import threading
from collections import defaultdict


class Bell:
    """Ends waits of coroutines, of any loops: those of the loop that runs here at once."""

    def __init__(self) -> None:
        """Nobody waits yet."""
        self._ended: defaultdict[
            asyncio.AbstractEventLoop, list[tuple[asyncio.Future[None], Exception | None]]
        ]
        self._ended = defaultdict(list)
        self._mutex = threading.Lock()

    def end(self, wait: asyncio.Future[None], error: Exception | None) -> None:
        """End a wait, by an error if there was one; one that was cancelled meanwhile stays so."""
        loop = wait.get_loop()
        if asyncio._get_running_loop() is loop:
            _end(wait, error)
            return
        with self._mutex:
            ended = self._ended[loop]
            ended.append((wait, error))
            if len(ended) > 1:  # it has been woken for an earlier one, and will find this one too
                return
        try:
            loop.call_soon_threadsafe(self._ring, loop)
        except RuntimeError:  # it is closed, and nobody waits in it any more
            with self._mutex:
                self._ended.pop(loop, None)

    def _ring(self, loop: asyncio.AbstractEventLoop) -> None:
        """End all waits that are over. Runs in the loop."""
        with self._mutex:
            ended = self._ended.pop(loop, [])
        for wait, error in ended:
            _end(wait, error)


def _end(wait: asyncio.Future[None], error: Exception | None) -> None:
    """End a wait, unless it was cancelled."""
    if wait.done():
        return
    if error is None:
        wait.set_result(None)
    else:
        wait.set_exception(error)
