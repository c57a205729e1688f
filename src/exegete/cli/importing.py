"""`exegete import`: bring your own activations, or somebody else's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress, SpinnerColumn, TextColumn

from exegete.cli.harvest import tell
from exegete.cli.logs import open_log
from exegete.cli.new_workspace import opened_or_made
from exegete.cli.options import DEFAULT_WORKSPACE, JsonOption, VerboseOption, WorkspaceOption
from exegete.cli.show import err, safe
from exegete.datastore.evidence_writer import Manifest
from exegete.datastore.import_delphi import cached_model, import_delphi
from exegete.datastore.import_neuronpedia import import_neuronpedia
from exegete.datastore.importing import ImportSpec, import_parquet
from exegete.datastore.workspace import Workspace
from exegete.errors import UsageError

app = typer.Typer(help="Bring your own activations.", no_args_is_help=True, rich_markup_mode=None)

TopOption = Annotated[int, typer.Option(help="Strongest contexts kept, a split.", min=1)]
SampleOption = Annotated[int, typer.Option(help="Contexts sampled uniformly, over the splits.", min=4)]
QuietOption = Annotated[int, typer.Option(help="Contexts in the quiet pool, over the splits.", min=4)]
SeedOption = Annotated[int, typer.Option(help="Deals documents to splits and draws the samples.", min=0)]
DictionaryOption = Annotated[str, typer.Option(help="Name of the set of features.")]


@app.callback()
def _group() -> None:
    """Bring your own activations."""


@app.command("parquet")
def parquet(
    folder: Annotated[Path, typer.Argument(help="Folder of contexts.parquet and activations.parquet.")],
    subject: Annotated[str, typer.Option(help="Name of the model they come from.")] = "imported",
    site: Annotated[str, typer.Option(help="Where in the model.")] = "imported",
    dictionary: DictionaryOption = "imported",
    top: TopOption = 20,
    sample: SampleOption = 200,
    quiet: QuietOption = 2000,
    seed: SeedOption = 0,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    json: JsonOption = False,
    verbose: VerboseOption = 0,
) -> None:
    """Import a folder of Parquet files (see docs/formats.md for their columns)."""
    spec = ImportSpec(subject, site, dictionary, top, sample, quiet, seed)
    with opened_or_made(workspace) as space, _counting("contexts") as on_progress:
        open_log(workspace, verbose)
        manifest, made = import_parquet(folder, spec, space.evidence, on_progress)
    _tell(space, manifest, made, json)


@app.command("delphi")
def delphi(
    folder: Annotated[Path, typer.Argument(help="Folder of a hook, of START_END.safetensors.")],
    subject: Annotated[
        str | None,
        typer.Option(help="Where its tokenizer is: a folder with tokenizer.json, hf:NAME, all-MiniLM-L6-v2."),
    ] = None,
    dictionary: DictionaryOption = "imported",
    top: TopOption = 20,
    sample: SampleOption = 200,
    quiet: QuietOption = 2000,
    seed: SeedOption = 0,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    json: JsonOption = False,
    verbose: VerboseOption = 0,
) -> None:
    """Import an activation cache of delphi."""
    model = cached_model(folder)
    if subject is None:
        named = f" ({safe(model)})" if model else ""
        raise UsageError(
            f"the tokens in {folder} are numbers: pass --subject with the tokenizer of the model that was "
            f"cached{named}, as a folder with tokenizer.json or hf:NAME"
        )
    from exegete.subjects.token_text import open_token_text

    tokens = open_token_text(subject)
    spec = ImportSpec(model or tokens.name, "imported", dictionary, top, sample, quiet, seed)
    with opened_or_made(workspace) as space, _counting("contexts") as on_progress:
        open_log(workspace, verbose)
        manifest, made = import_delphi(folder, spec, tokens, space.evidence, on_progress)
    _tell(space, manifest, made, json)


@app.command("neuronpedia")
def neuronpedia(
    folder: Annotated[Path, typer.Argument(help="Folder MODEL/SOURCE of an export.")],
    top: TopOption = 10,
    sample: SampleOption = 200,
    quiet: QuietOption = 2000,
    seed: SeedOption = 0,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    json: JsonOption = False,
    verbose: VerboseOption = 0,
) -> None:
    """Import a source of Neuronpedia's bulk exports: its excerpts, and its explanations as labels."""
    spec = ImportSpec(top=top, sample=sample, quiet=quiet, seed=seed)
    with opened_or_made(workspace) as space, _counting("excerpts") as on_progress:
        open_log(workspace, verbose)
        manifest, made = import_neuronpedia(folder, spec, space.evidence, on_progress)
    _tell(space, manifest, made, json)


@contextmanager
def _counting(what: str) -> Iterator[Callable[[int], None]]:
    """A line that counts what has been read."""
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False))
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as bar:
        task = bar.add_task("checking")
        yield lambda n: bar.update(task, description=f"{n:,} {what}")


def _tell(space: Workspace, manifest: Manifest, made: bool, json: bool) -> None:
    """Say what an import holds, and what is not known of it."""
    tell(space, manifest, made, json)
    for caveat in manifest.parameters.get("caveats", ()):
        err.print(f"note: {safe(caveat)}", soft_wrap=True)
