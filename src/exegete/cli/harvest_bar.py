"""The bar that a harvest shows: tokens, their rate, and when it will be done.

Where nobody looks at a terminal, as in a batch system, the same is logged once a minute: it is in the
workspace's log, and on stderr with -v.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from exegete.cli.show import err
from exegete.subjects.spec import Progress as HarvestProgress

log = logging.getLogger(__name__)

WINDOW = 60.0
"""Seconds that the rate is taken over, and between lines of the log."""


class Pace:
    """How fast a harvest goes, and how long it will take.

    The bar's own estimate begins anew whenever the number of tokens to come is corrected, with every block.
    """

    def __init__(self) -> None:
        """Nothing has been seen."""
        self._stage = ""
        self._seen: deque[tuple[float, int]] = deque()

    def see(self, progress: HarvestProgress) -> tuple[str, str]:
        """Take in how far it is.

        Returns:
            Tokens a second over the last minute of this stage, and the time left, in words; empty where
            nothing can be said yet.
        """
        now = time.monotonic()
        if progress.stage != self._stage:
            self._stage = progress.stage
            self._seen.clear()
        self._seen.append((now, progress.tokens))
        while now - self._seen[0][0] > WINDOW and len(self._seen) > 2:
            self._seen.popleft()
        begun, before = self._seen[0]
        if now <= begun or progress.tokens <= before:
            return "", ""
        rate = (progress.tokens - before) / (now - begun)
        if progress.expected is None:
            return f"{rate:,.0f}/s", ""
        left = timedelta(seconds=round(max(0, progress.expected - progress.tokens) / rate))
        return f"{rate:,.0f}/s", f"about {left} left"


@contextmanager
def harvest_bar() -> Iterator[tuple[Callable[[str], None], Callable[[HarvestProgress], None]]]:
    """A bar that counts tokens; how many there will be is estimated where the corpus's length is known.

    Yields:
        What sets its text, and what a harvest reports to.
    """
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=16),
        TextColumn("{task.completed:,.0f} tokens  {task.fields[rate]}", markup=False),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}", markup=False),
    )
    pace, logged = Pace(), time.monotonic()
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as bar:
        task = bar.add_task("loading", total=None, rate="", left="")

        def say(text: str) -> None:
            bar.update(task, description=text)

        def on_progress(progress: HarvestProgress) -> None:
            nonlocal logged
            rate, left = pace.see(progress)
            bar.update(
                task,
                description=progress.stage,
                completed=progress.tokens,
                total=progress.expected,
                rate=rate,
                left=left,
            )
            if time.monotonic() - logged >= WINDOW:
                logged = time.monotonic()
                said = ", ".join(part for part in (f"{progress.tokens:,} tokens", rate, left) if part)
                log.info("%s: %s", progress.stage, said)

        yield say, on_progress
