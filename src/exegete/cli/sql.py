"""`exegete sql`: read-only questions to the labels file, once, at a prompt, or in the browser."""

from __future__ import annotations

import csv
import sys
from typing import Annotated, TextIO

import typer

from exegete.cli.options import DEFAULT_WORKSPACE, JsonOption, WorkspaceOption
from exegete.cli.rows import rows_shown
from exegete.cli.show import complain, out, safe, to_json
from exegete.datastore.query import Answer, query
from exegete.datastore.spreadsheet import harmless
from exegete.datastore.workspace import Workspace
from exegete.errors import UsageError


def sql(
    statement: Annotated[
        str | None,
        typer.Argument(
            metavar="QUERY",
            help="One SELECT over the public views; without one, a prompt.",
            show_default=False,
        ),
    ] = None,
    json: JsonOption = False,
    csv_: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    limit: Annotated[int, typer.Option(help="Rows at most.", min=1)] = 1000,
    timeout: Annotated[float, typer.Option(help="Seconds at most.", min=0.1)] = 30.0,
    ui: Annotated[bool, typer.Option("--ui", help="Ask, and plot, in the browser.")] = False,
    port: Annotated[int, typer.Option(help="Of --ui; 0 takes any that is free.", min=0, max=65535)] = 8413,
    open_: Annotated[bool, typer.Option("--open/--no-open", help="Open the browser with --ui.")] = True,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Query labels, scores, examples, calls, reviews and runs (docs/sql.md has every column)."""
    if json and csv_:
        raise UsageError("choose one of --json and --csv")
    if ui and (json or csv_ or statement is not None):
        raise UsageError("--ui asks in the browser: leave out the query, --json and --csv")
    space = Workspace.open(workspace)
    if ui:
        from exegete.cli.sql_ui import serve

        serve(space, limit=limit, timeout_s=timeout, port=port, open_browser=open_)
        return
    if statement is None and sys.stdin.isatty() and not (json or csv_):
        from exegete.cli.sql_prompt import run_prompt

        run_prompt(space, limit=limit, timeout_s=timeout)
        return
    found = query(space.labels, sys.stdin.read() if statement is None else statement, limit, timeout)
    if json:
        out.print(as_json(found), soft_wrap=True)
    elif csv_:
        write_csv(found, sys.stdout)
    else:
        if found.rows:
            out.print(rows_shown(found.names, found.rows, out.width))
        rows_said = "1 row" if len(found.rows) == 1 else f"{len(found.rows):,} rows"
        out.print(f"({rows_said})", style="dim")
    if found.cut:
        complain(f"only the first {limit:,} rows are shown: raise --limit for more")


def as_json(found: Answer) -> str:
    """Rows as a JSON list of objects, on one line."""
    return to_json([dict(zip(found.names, row, strict=True)) for row in found.rows])


def write_csv(found: Answer, file: TextIO) -> None:
    """Rows as CSV, harmless to spreadsheets and terminals."""
    writer = csv.writer(file)
    writer.writerow([_harmless(name) for name in found.names])
    writer.writerows([[_harmless(value) for value in row] for row in found.rows])


def _harmless(value: object) -> object:
    """A cell that no spreadsheet takes for a formula, and with nothing that a terminal would obey."""
    if isinstance(value, list | dict):
        return to_json(value)
    if not isinstance(value, str):
        return "" if value is None else value
    return harmless(safe(value))
