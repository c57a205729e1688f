"""`exegete sql`: read-only questions to the labels file."""

from __future__ import annotations

import csv
import sys
from typing import Annotated

import typer

from exegete.cli.options import DEFAULT_WORKSPACE, JsonOption, WorkspaceOption
from exegete.cli.show import complain, out, plain_table, safe, to_json
from exegete.datastore.query import query
from exegete.datastore.workspace import Workspace
from exegete.errors import UsageError

_FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠")


def sql(
    statement: Annotated[str, typer.Argument(metavar="QUERY", help="One SELECT over the public views.")],
    json: JsonOption = False,
    csv_: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    limit: Annotated[int, typer.Option(help="Rows at most.", min=1)] = 1000,
    timeout: Annotated[float, typer.Option(help="Seconds at most.", min=0.1)] = 30.0,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Query labels, scores, examples, calls, reviews and runs (docs/sql.md has every column)."""
    if json and csv_:
        raise UsageError("choose one of --json and --csv")
    found = query(Workspace.open(workspace).labels, statement, limit, timeout)
    if json:
        rows = [dict(zip(found.names, row, strict=True)) for row in found.rows]
        out.print(to_json(rows), soft_wrap=True)
    elif csv_:
        writer = csv.writer(sys.stdout)
        writer.writerow([_harmless(name) for name in found.names])
        writer.writerows([[_harmless(value) for value in row] for row in found.rows])
    else:
        out.print(plain_table(found.names, found.rows))
        rows_said = "1 row" if len(found.rows) == 1 else f"{len(found.rows):,} rows"
        out.print(f"({rows_said})", style="dim")
    if found.cut:
        complain(f"only the first {limit:,} rows are shown: raise --limit for more")


def _harmless(value: object) -> object:
    """A cell that no spreadsheet takes for a formula, and with nothing that a terminal would obey."""
    if isinstance(value, list | dict):
        return to_json(value)
    if not isinstance(value, str):
        return "" if value is None else value
    text = safe(value)
    bare = text.strip()
    return f"'{text}" if bare.startswith(_FORMULA) and len(bare) > 1 else text  # a polarity is no formula
