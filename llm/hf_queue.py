"""Requests that wait together, answered together: a line, and a thread that works through it in batches.

1. A batch is begun when somebody waits. Those who come within `gap_s` of each other are waited for: callers
   whose last batch has just ended come back a few milliseconds apart.
2. The first in line is always in it; of the others, in order, all that fit beside it.
3. Who gives up while waiting is left out; who gives up later is told to whoever runs the batch.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from exegete.errors import LLMUnavailable

T = TypeVar("T")
R = TypeVar("R")

GAP_S = 0.01


@dataclass(eq=False, slots=True)
class _Waiting(Generic[T, R]):
    """One in line."""

    item: T
    future: Future[R] = field(default_factory=Future)


class Batcher(Generic[T, R]):
    """The line and its thread."""

    def __init__(
        self,
        run: Callable[[Sequence[T], Callable[[int], bool]], Sequence[R]],
        fits: Callable[[Sequence[T]], bool],
        *,
        most: int,
        gap_s: float = GAP_S,
    ) -> None:
        """Start without a thread: the first item starts it.

        Args:
            run: answers a batch, in the thread; its second argument says of a position whether nobody waits
                for that answer any more.
            fits: may these be one batch? Not asked about a single one.
            most: items of a batch at most.
            gap_s: a batch that has room is begun when nobody came for so long.
        """
        self._run, self._fits, self._most, self._gap_s = run, fits, most, gap_s
        self._line: list[_Waiting[T, R]] = []
        self._changed = threading.Condition()
        self._closed = False
        self._thread: threading.Thread | None = None

    def submit(self, item: T) -> Future[R]:
        """Stand in line. Cancelling what is returned leaves it.

        Raises:
            LLMUnavailable: it is closed.
        """
        waiting: _Waiting[T, R] = _Waiting(item)
        with self._changed:
            if self._closed:
                raise _closed()
            self._line.append(waiting)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="exegete-hf", daemon=True)
                self._thread.start()
            self._changed.notify()
        return waiting.future

    def close(self) -> None:
        """Take no more, fail those who wait, and wait for the thread to leave what it is at."""
        with self._changed:
            self._closed = True
            line, self._line = self._line, []
            self._changed.notify()
        for waiting in line:
            _fail(waiting.future, _closed())
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _work(self) -> None:
        """One batch after the other, until closed."""
        while (batch := self._next()) is not None:
            if batch:
                self._answer(batch)

    def _next(self) -> list[_Waiting[T, R]] | None:
        """Wait for the next batch; None when closed."""
        with self._changed:
            while not self._closed:
                if not self._line:
                    self._changed.wait()
                elif len(self._line) >= self._most or not self._changed.wait(self._gap_s):
                    return self._take()
        return None

    def _take(self) -> list[_Waiting[T, R]]:
        """The first in line and those who fit beside it; the lock is held."""
        batch: list[_Waiting[T, R]] = []
        left: list[_Waiting[T, R]] = []
        for waiting in self._line:
            if waiting.future.cancelled():
                continue
            items = [one.item for one in (*batch, waiting)]
            joins = not batch or (len(batch) < self._most and self._fits(items))
            (batch if joins else left).append(waiting)
        self._line = left
        return batch

    def _answer(self, batch: list[_Waiting[T, R]]) -> None:
        """Run a batch and hand out what came of it."""

        def given_up(position: int) -> bool:
            return self._closed or batch[position].future.cancelled()

        try:
            answers = self._run([waiting.item for waiting in batch], given_up)
        except Exception as error:
            for waiting in batch:
                _fail(waiting.future, error)
            return
        for waiting, answer in zip(batch, answers, strict=True):
            if self._closed:  # then it may have been cut short
                _fail(waiting.future, _closed())
                continue
            with contextlib.suppress(InvalidStateError):  # given up in this moment
                waiting.future.set_result(answer)


def _closed() -> LLMUnavailable:
    """What those hear who come too late."""
    return LLMUnavailable("the local model was closed before it answered")


def _fail(future: Future[R], error: Exception) -> None:
    """Give an error to whoever still waits."""
    with contextlib.suppress(InvalidStateError):
        future.set_exception(error)
