"""`exegete report`: what a run shows, as one page and in some lines."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from exegete.cli.options import DEFAULT_WORKSPACE, JsonOption, WorkspaceOption
from exegete.cli.show import label_table, number, out, plain_table, safe, to_json
from exegete.datastore.workspace import Workspace

if TYPE_CHECKING:
    from exegete.report.run.facts import Facts

SHOWN = 5
"""Labels of the table in the terminal."""


def report(
    run: Annotated[str | None, typer.Option(help="Run to report on; default: the one started last.")] = None,
    page: Annotated[
        Path | None, typer.Option("--out", help="The page. Default: report-RUN.html in this folder.")
    ] = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    json: JsonOption = False,
) -> None:
    """Write one self-contained page on what a run shows, and what it does not."""
    from exegete.report.run.page import write_report

    facts, place = write_report(Workspace.open(workspace), run, page)
    if json:
        out.print(to_json(facts.to_json() | {"page": str(place)}), soft_wrap=True)
        return
    show(facts)
    out.print(f"\neverything else: {safe(str(place))} ({place.stat().st_size / 1e6:.1f} MB)", soft_wrap=True)


def show(facts: Facts) -> None:
    """What a run shows, at 80 columns."""
    from exegete.report.run.findings import negative, shown

    out.print(Text(f"run {safe(facts.chosen.name)}", style="bold"))
    for sentence in shown(facts):
        out.print(safe(sentence))
    out.print()
    rows = [
        (
            row["scorer"].partition("@")[0],
            row["side"],
            row["scored"],
            number(row["median"]),
            number(row["chance"]),
            number(row["lift"]),
        )
        for row in facts.tables["scorers"]
    ]
    if rows:
        out.print(plain_table(("scorer", "of what", "scored", "median", "chance", "lift"), rows))
        out.print()
    doubts = negative(facts)
    if doubts:
        out.print(Text("what it does not show", style="bold"))
        for sentence in doubts:
            out.print(f"- {safe(sentence)}")
        out.print()
    if facts.examples["best"]:
        out.print(label_table([one.row for one in facts.examples["best"][:SHOWN]]))
