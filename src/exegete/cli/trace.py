"""`exegete trace`: which labelled features fire on which words of a text."""

from __future__ import annotations

import os
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from exegete.cli.logs import open_log
from exegete.cli.options import (
    DEFAULT_WORKSPACE,
    HarvestOption,
    JsonOption,
    VerboseOption,
    WorkspaceOption,
)
from exegete.cli.show import STYLES, err, number, out, safe, to_json
from exegete.datastore.records import STATUSES
from exegete.datastore.store import Store
from exegete.datastore.workspace import Workspace
from exegete.errors import UsageError

if TYPE_CHECKING:
    from exegete.report.trace import Traced
    from exegete.subjects.tracing import Trace

_WORDS, _LONGEST = 3, 12
"""Words of a feature in the table, and how long one of them may be."""


def trace(
    what: Annotated[str, typer.Argument(metavar="TEXT|FILE", help="A text, or a file with one.")],
    harvest: HarvestOption = None,
    status: Annotated[
        str | None, typer.Option(help="Only features with this status, such as accepted.")
    ] = None,
    limit: Annotated[int, typer.Option(help="Features shown, the strongest first.", min=1)] = 20,
    subject: Annotated[
        str | None, typer.Option(help="Where the model is now; default: where the harvest found it.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1; default: a GPU if any.")] = None,
    page: Annotated[Path | None, typer.Option("--out", help="Write a page by itself to this file.")] = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    json: JsonOption = False,
    verbose: VerboseOption = 0,
) -> None:
    """Run a text on the subject, and show the labelled features that fire in it."""
    if status is not None and status not in STATUSES:
        raise UsageError(f"there is no status {status!r}: choose one of {', '.join(STATUSES)}")
    text = read_text(what)
    space = Workspace.open(workspace)
    open_log(workspace, verbose)
    file = space.open_evidence(harvest)
    # torch takes seconds to import: not before there is something to run.
    from exegete.report.trace import as_json, traced, write_page
    from exegete.subjects.laboratory import Laboratory
    from exegete.subjects.tracing import trace as run

    laboratory = Laboratory.open(file, subject, device)
    found = run(laboratory, file, text)
    laboratory.close()
    every = traced(found, file, Store(space.labels))
    file.close()
    wanted = [one for one in every if status in (None, one.status)]
    shown = wanted[:limit]
    said = (
        f"{len(found.words):,} words, on which {len(found.firings):,} of the {len(file.features):,} features "
        f"of {file.name} fire; {len(every):,} of these labelled, {len(shown):,} shown"
    )
    if page is not None:
        write_page(page, found, shown, said)
        err.print(f"wrote {page}", soft_wrap=True)
    if json:
        out.print(to_json(as_json(found, shown)), soft_wrap=True)
        return
    if shown:
        out.print(table_of(found, shown))
    out.print(said, soft_wrap=True)


def read_text(what: str) -> str:
    """The text that was given, or that of the file that was named.

    Raises:
        UsageError: the file is not there, is no text, or can't be read.
    """
    if not what.strip():
        raise UsageError("there is nothing to trace: give a text, or a file with one")
    path = Path(what)
    try:
        there = path.exists()
    except (OSError, ValueError):  # too long for a path, or a NUL in it: a text
        there = False
    if there:
        try:
            return path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise UsageError(f"{what} is no text in UTF-8: convert it first") from error
        except OSError as error:
            raise UsageError(f"{what} can't be read ({error.strerror}): name a file with text") from error
    if len(what.split()) == 1 and (os.sep in what or Path(what).suffix in (".txt", ".md", ".py", ".json")):
        raise UsageError(f"there is no file {what}: check the name, or put a space before it if it is a text")
    return what


def table_of(trace: Trace, rows: list[Traced]) -> Table:
    """One row a feature: how strongly it fires, on which words, and its label with how far to trust it."""
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("feature", justify="right", no_wrap=True)
    table.add_column("of max", justify="right", no_wrap=True)
    table.add_column("on", overflow="fold", max_width=16)
    table.add_column("label", overflow="fold")
    table.add_column("status", no_wrap=True)
    table.add_column("conf", justify="right", no_wrap=True)
    for one in rows:
        words = dict.fromkeys(trace.words[i].strip() or "␣" for i, _ in one.strongest)
        some = [textwrap.shorten(safe(w), _LONGEST, placeholder="…") or safe(w)[:_LONGEST] for w in words]
        table.add_row(
            str(one.firing.feature),
            number(one.strength),
            Text(" ".join(some[:_WORDS]) + (" …" if len(some) > _WORDS else "")),
            Text(textwrap.shorten(safe(one.label or "–"), 104, placeholder=" …")),
            Text(one.status, style=STYLES.get(one.status, "")),
            number(one.confidence),
        )
    return table
