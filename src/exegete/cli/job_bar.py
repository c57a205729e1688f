"""The bar that a labelling job shows: what is done, how fast, what is left, and what it has cost.

Where nobody looks at a terminal, the log is told once a minute how far it is, as by a harvest.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from exegete.cli.harvest_bar import WINDOW
from exegete.cli.logs import is_said
from exegete.cli.show import STYLES, err, safe
from exegete.datastore.records import STATUSES

log = logging.getLogger(__name__)


@contextmanager
def job_bar() -> Iterator[Callable[[Any], None]]:
    """Done, rate, time left, spent, and counts by status.

    Yields:
        What a job reports to.
    """
    columns = (
        BarColumn(bar_width=16),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(compact=True),
        TextColumn("{task.fields[spent]}{task.fields[counts]}"),
    )
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as bar:
        task = bar.add_task("labelling", total=None, rate="", spent="", counts="")
        said, logged = "", time.monotonic()

        def on_progress(p: Any) -> None:
            nonlocal said, logged
            if p.message and p.message != said:
                said = p.message
                if not is_said():
                    bar.console.print(Text(safe(said)), soft_wrap=True)
            speed = bar.tasks[0].speed
            counts = " ".join(f"[{STYLES[s]}]{p.by_status[s]} {s}[/]" for s in STATUSES if p.by_status[s])
            used = p.spent
            tokens = used.input_tokens + used.output_tokens
            spent = f"{used.calls:,} calls {tokens:,} tokens  " if used.calls or used.from_journal else ""
            if used.usd and not used.unpriced:
                spent += f"${used.usd:.2f}  "
            rate = f"{speed:.1f}/s" if speed else ""
            total, done = (p.nulls, p.nulls_done) if p.nulls else (p.total, p.done)
            what = "nulls  " if p.nulls else ""
            bar.update(task, total=total, completed=done, rate=rate, spent=what + spent, counts=counts)
            if time.monotonic() - logged >= WINDOW:
                logged = time.monotonic()
                facts = {s: p.by_status[s] for s in STATUSES if p.by_status[s]} | {"calls": used.calls}
                log.info("%s of %s %s are done", done, total, "nulls" if p.nulls else "features", extra=facts)

        yield on_progress
