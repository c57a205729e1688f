"""`exegete find`: which labels say something."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.progress import BarColumn, Progress, TextColumn

from exegete.cli.options import DEFAULT_WORKSPACE, JsonOption, WorkspaceOption
from exegete.cli.show import err, label_table, out, to_json
from exegete.datastore.find_labels import find_by_meaning, find_by_words
from exegete.datastore.store import Store
from exegete.datastore.workspace import Workspace

VECTORS = "label-vectors.duckdb"


def find(
    text: Annotated[str, typer.Argument(metavar="QUERY", help="What the labels should say.")],
    meaning: Annotated[
        bool, typer.Option("--meaning", help="By meaning and not by words (extra `sentence`).")
    ] = False,
    model: Annotated[
        str | None, typer.Option(help="Sentence model of --meaning; default: all-MiniLM-L6-v2.")
    ] = None,
    limit: Annotated[int, typer.Option(help="Rows at most.", min=1)] = 20,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    json: JsonOption = False,
) -> None:
    """Find labels by words, or by meaning, where likeness is the cosine of label and query."""
    space = Workspace.open(workspace)
    store = Store(space.labels)
    if meaning:
        from exegete.subjects.sentences import Sentences

        sentences = Sentences.open(model)
        columns = (TextColumn("embedding labels"), BarColumn(), TextColumn("{task.completed}/{task.total}"))
        with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as bar:
            task = bar.add_task("", total=None)
            rows = find_by_meaning(
                store,
                text,
                limit,
                model=sentences.name,
                embed=sentences.embed,
                vectors=space.root / VECTORS,
                on_progress=lambda done, of: bar.update(task, completed=done, total=of),
            )
    else:
        rows = find_by_words(store, text, limit)
    if json:
        out.print(to_json(rows), soft_wrap=True)
    elif rows:
        out.print(label_table(rows, "likeness" if meaning else None))
    else:
        out.print("no label has all of these words: try fewer, or --meaning")
