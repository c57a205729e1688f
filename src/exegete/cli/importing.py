"""`exegete import`: bring your own activations."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress, SpinnerColumn, TextColumn

from exegete.cli.harvest import tell
from exegete.cli.options import DEFAULT_WORKSPACE, JsonOption, WorkspaceOption
from exegete.cli.show import err
from exegete.datastore.importing import ImportSpec, import_parquet
from exegete.datastore.workspace import Workspace

app = typer.Typer(help="Bring your own activations.", no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def _group() -> None:
    """Bring your own activations."""


@app.command("parquet")
def parquet(
    folder: Annotated[Path, typer.Argument(help="Folder of contexts.parquet and activations.parquet.")],
    subject: Annotated[str, typer.Option(help="Name of the model they come from.")] = "imported",
    site: Annotated[str, typer.Option(help="Where in the model.")] = "imported",
    dictionary: Annotated[str, typer.Option(help="Name of the set of features.")] = "imported",
    top: Annotated[int, typer.Option(help="Strongest contexts kept, a split.", min=1)] = 20,
    sample: Annotated[int, typer.Option(help="Contexts sampled uniformly, over the splits.", min=4)] = 200,
    quiet: Annotated[int, typer.Option(help="Contexts in the quiet pool, over the splits.", min=4)] = 2000,
    seed: Annotated[int, typer.Option(help="Deals documents to splits and draws the samples.", min=0)] = 0,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    json: JsonOption = False,
) -> None:
    """Import a folder of Parquet files (see docs/formats.md for their columns)."""
    spec = ImportSpec(subject, site, dictionary, top, sample, quiet, seed)
    space = Workspace.open_or_create(workspace)
    columns = (SpinnerColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as bar:
        task = bar.add_task("checking")
        manifest, made = import_parquet(
            folder, spec, space.evidence, lambda n: bar.update(task, description=f"{n:,} contexts")
        )
    tell(space, manifest, made, json)
