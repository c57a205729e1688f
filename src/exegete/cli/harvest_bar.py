"""The bar that a harvest shows: tokens, their rate, and when it will be done."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from exegete.cli.show import err
from exegete.subjects.spec import Progress as HarvestProgress


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
        TextColumn("{task.completed:,.0f} tokens  {task.fields[rate]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as bar:
        task = bar.add_task("loading", total=None, rate="")

        def say(text: str) -> None:
            bar.update(task, description=text)

        def on_progress(progress: HarvestProgress) -> None:
            speed = bar.tasks[0].speed
            bar.update(
                task,
                description=progress.stage,
                completed=progress.tokens,
                total=progress.expected,
                rate=f"{speed:,.0f}/s" if speed else "",
            )

        yield say, on_progress
