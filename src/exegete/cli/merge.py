"""`exegete merge`: the shards of a harvest become its evidence."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn

from exegete.cli.harvest import tell_all
from exegete.cli.logs import open_log
from exegete.cli.new_workspace import opened_or_made
from exegete.cli.options import DEFAULT_WORKSPACE, JsonOption, VerboseOption, WorkspaceOption
from exegete.cli.show import err
from exegete.datastore.evidence_writer import Manifest
from exegete.datastore.shards import find_shards, merge, open_shards
from exegete.datastore.workspace import Workspace


def merge_command(
    folders: Annotated[
        list[Path] | None, typer.Argument(help="Folders with shards; default: the workspace's own.")
    ] = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    json: JsonOption = False,
    verbose: VerboseOption = 0,
) -> None:
    """Merge the shards that `exegete harvest --shard` wrote, exactly; again is harmless."""
    with opened_or_made(workspace) as space:
        open_log(workspace, verbose)
        tell_all(space, merge_shards(space, folders or [space.evidence]), json)


def merge_shards(space: Workspace, folders: list[Path]) -> list[tuple[Manifest, bool]]:
    """Merge all shards in some folders into a workspace, with a progress bar."""
    harvests = open_shards(find_shards(folders))
    columns = (SpinnerColumn(), TextColumn("merging"), BarColumn(bar_width=16), MofNCompleteColumn())
    made = []
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as bar:
        for states in harvests.values():
            bar.add_task("merging", total=len(states))
            made.append(merge(states, space.evidence, lambda n: bar.update(bar.task_ids[-1], completed=n)))
    return made
