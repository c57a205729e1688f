"""`exegete export`: labels for other programs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress, SpinnerColumn, TextColumn

from exegete.cli.options import DEFAULT_WORKSPACE, JsonOption, OfHarvestOption, WorkspaceOption
from exegete.cli.show import err, out, to_json
from exegete.datastore.export_choice import choose
from exegete.datastore.export_circuit import export_circuit
from exegete.datastore.export_neuronpedia import export_neuronpedia
from exegete.datastore.export_tables import TableForm, export_table
from exegete.datastore.store import Store
from exegete.datastore.workspace import Workspace


class Form(StrEnum):
    """What is written."""

    NEURONPEDIA = "neuronpedia"
    CIRCUIT_TRACER = "circuit-tracer"
    PARQUET = "parquet"
    JSONL = "jsonl"
    CSV = "csv"


def export(
    form: Annotated[Form, typer.Argument(help="Who is to read it (docs/formats.md).")],
    to: Annotated[Path, typer.Option("--out", help="File, or folder, to write.")],
    run: Annotated[str | None, typer.Option(help="Labels of this run only.")] = None,
    harvest: OfHarvestOption = None,
    status: Annotated[
        str | None,
        typer.Option(
            help="Statuses with commas between them, or all; default: accepted for neuronpedia, else all."
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")] = False,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    json: JsonOption = False,
) -> None:
    """Write labels for Neuronpedia, for circuit-tracer, or as a table."""
    space = Workspace.open(workspace)
    store = Store(space.labels)
    # What is put up for others is what was accepted, unless one says otherwise.
    wanted = status or ("accepted" if form is Form.NEURONPEDIA else None)
    choice = choose(store, run, harvest, wanted)
    with _counting() as on_progress:
        if form is Form.NEURONPEDIA:
            counts = export_neuronpedia(
                space, store, choice, to, overwrite=overwrite, on_progress=on_progress
            )
        elif form is Form.CIRCUIT_TRACER:
            n = export_circuit(space, store, choice, to, overwrite=overwrite, on_progress=on_progress)
            counts = {"features": n}
        else:
            table: TableForm = "parquet" if form is Form.PARQUET else "csv" if form is Form.CSV else "jsonl"
            counts = {"labels": export_table(store, choice, table, to, overwrite=overwrite)}
    if json:
        out.print(to_json({"out": str(to), "form": form.value, **counts}), soft_wrap=True)
        return
    said = ", ".join(f"{n:,} {kind.replace('_', ' ')}" for kind, n in counts.items())
    out.print(f"{to}: {said}", soft_wrap=True)


@contextmanager
def _counting() -> Iterator[Callable[[int], None]]:
    """A line that counts features."""
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False))
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as bar:
        task = bar.add_task("writing")
        yield lambda n: bar.update(task, description=f"{n:,} features")
