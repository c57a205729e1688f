"""`exegete status`: what has been done in a workspace, and what runs."""

from __future__ import annotations

from rich.text import Text

from exegete.cli.options import DEFAULT_WORKSPACE, JsonOption, WorkspaceOption
from exegete.cli.show import STYLES, cell, out, plain_table, safe, to_json
from exegete.datastore.records import STATUSES
from exegete.datastore.store import Store
from exegete.datastore.workspace import Workspace


def status(workspace: WorkspaceOption = DEFAULT_WORKSPACE, json: JsonOption = False) -> None:
    """Show harvests, runs by status, calls and what is running."""
    space = Workspace.open(workspace)
    runs, calls = [], []
    if space.labels.exists():
        store = Store(space.labels)
        runs = store.read("SELECT * FROM runs ORDER BY started_at")
        calls = store.read(
            "SELECT coalesce(run, '–') AS run, model, finish, count(*) AS calls, "
            "sum(input_tokens) AS input_tokens, sum(output_tokens) AS output_tokens, "
            "sum(cached_tokens) AS cached_tokens FROM calls "
            "GROUP BY ALL ORDER BY ALL"
        )
    running = space.running_job()
    if json:
        facts = {"harvests": space.harvests(), "runs": runs, "calls": calls, "running_process": running}
        out.print(to_json(facts), soft_wrap=True)
        return
    out.print(f"harvests: {', '.join(space.harvests()) or 'none; run exegete harvest'}", soft_wrap=True)
    jobs = [run for run in runs if run["kind"] == "job"]
    for run in jobs:
        counts = [Text(f"{run[s]:,} {s}", style=STYLES[s]) for s in STATUSES if run[s]]
        line = Text(f"run {safe(run['run'])}: {run['attempted'] or 0:,} features")
        out.print(line + Text(": ") + Text(", ").join(counts) if counts else line)
        out.print(
            f"  started {cell(run['started_at'])}, last result {cell(run['finished_at'])} UTC", style="dim"
        )
    if not jobs:
        out.print("no run yet: exegete label")
    people = sum(run["kind"] == "person" for run in runs)
    if people:
        sets = "1 set" if people == 1 else f"{people} sets"
        out.print(f"{sets} of labels scored by a person (exegete score)")
    if calls:
        names = list(calls[0])
        out.print()
        out.print(plain_table(names, [[row[n] for n in names] for row in calls]))
    out.print(f"running: process {running}" if running else "no job is running")
