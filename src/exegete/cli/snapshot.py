"""`exegete snapshot`: everything public of a workspace, to hand to a colleague."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from exegete.cli.options import DEFAULT_WORKSPACE, JsonOption, WorkspaceOption
from exegete.cli.show import out, to_json
from exegete.datastore.snapshot import take_snapshot
from exegete.datastore.store import Store
from exegete.datastore.workspace import Workspace


def snapshot(
    to: Annotated[Path, typer.Option("--out", help="FILE.duckdb, or a folder for Parquet files.")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")] = False,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    json: JsonOption = False,
) -> None:
    """Write the views of docs/sql.md to one DuckDB file, or to Parquet files; a job may be running."""
    made = take_snapshot(Store(Workspace.open(workspace).labels), to, overwrite=overwrite)
    if json:
        facts = {"out": str(to), "rows": made.rows, "paths_cut": made.paths}
        out.print(to_json(facts), soft_wrap=True)
        return
    out.print(
        f"{to}: {made.rows['labels']:,} labels, {sum(made.rows.values()):,} rows in all", soft_wrap=True
    )
    if made.paths:
        out.print(f"of {made.paths:,} paths of this machine only the last part was kept", style="dim")
    open_it = f"duckdb -readonly {to}" if to.suffix == ".duckdb" else f"SELECT * FROM '{to}/labels.parquet'"
    out.print(f"it needs no exegete: {open_it}", style="dim", soft_wrap=True)
