"""`exegete harvest`: from a subject model and a corpus to evidence."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from exegete.cli.options import DEFAULT_WORKSPACE, JsonOption, WorkspaceOption, count
from exegete.cli.show import err, number, out, to_json
from exegete.datastore.evidence_file import EvidenceFile
from exegete.datastore.evidence_writer import Manifest
from exegete.datastore.workspace import Workspace, parse_features
from exegete.errors import UsageError
from exegete.subjects.spec import HarvestSpec
from exegete.subjects.spec import Progress as HarvestProgress


def harvest(
    site: Annotated[str, typer.Option(help="Module path or hook name, e.g. encoder.layer.3.intermediate.")],
    subject: Annotated[
        str, typer.Option(help="Model: a folder, hf:NAME[@REVISION], or all-MiniLM-L6-v2.")
    ] = "all-MiniLM-L6-v2",
    dictionary: Annotated[str, typer.Option(help="What features are read from the site.")] = "neurons",
    features: Annotated[str | None, typer.Option(help="Indices such as 0-511; default: all.")] = None,
    corpus: Annotated[
        str, typer.Option(help="Text: .txt, .jsonl, .parquet, a folder of them, hf://DATASET, stdlib-docs.")
    ] = "stdlib-docs",
    tokens: Annotated[
        str | None, typer.Option(help="Stop after so many, e.g. 10M; default: all text.")
    ] = None,
    context: Annotated[int, typer.Option(help="Tokens a context.", min=2)] = 128,
    polarity: Annotated[str, typer.Option(help="Sides of zero that are features: +, - or both.")] = "+",
    top: Annotated[int, typer.Option(help="Strongest contexts kept, a split.", min=1)] = 20,
    sample: Annotated[int, typer.Option(help="Contexts sampled uniformly, over the splits.", min=4)] = 200,
    quiet: Annotated[int, typer.Option(help="Contexts in the quiet pool, over the splits.", min=4)] = 2000,
    seed: Annotated[int, typer.Option(help="Deals documents to splits and draws the samples.", min=0)] = 0,
    shuffle_activations: Annotated[
        bool, typer.Option(help="Control: deal activations to other contexts, so that no label is right.")
    ] = False,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    json: JsonOption = False,
) -> None:
    """Collect evidence: what makes each feature fire, and what does not."""
    if polarity not in ("+", "-", "both"):
        raise UsageError(f"--polarity {polarity!r} is not one of +, - and both")
    spec = HarvestSpec(
        site=site,
        features=None if features is None else parse_features(features),
        dictionary=dictionary,
        polarity="both" if polarity == "both" else "-" if polarity == "-" else "+",
        tokens=count(tokens),
        context=context,
        top=top,
        sample=sample,
        quiet=quiet,
        seed=seed,
        shuffle=shuffle_activations,
    )
    space = Workspace.open_or_create(workspace)
    manifest, made = run_harvest(space, subject, corpus, spec)
    tell(space, manifest, made, json)


def run_harvest(space: Workspace, subject: str, corpus: str, spec: HarvestSpec) -> tuple[Manifest, bool]:
    """Harvest with a progress bar."""
    with harvest_bar() as (say, on_progress):
        say(f"loading {subject}")
        # torch and transformers take seconds to import: not before they are needed.
        from exegete.subjects.corpora import open_corpus
        from exegete.subjects.harvest import harvest as harvest_now
        from exegete.subjects.huggingface import open_subject

        text = open_corpus(corpus)
        model = open_subject(subject)
        return harvest_now(model, text, spec, space.evidence, on_progress)


@contextmanager
def harvest_bar() -> Iterator[tuple[Callable[[str], None], Callable[[HarvestProgress], None]]]:
    """A bar that counts tokens; the length of a stream is not known before its end."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=16),
        TextColumn("{task.completed:,.0f} tokens  {task.fields[rate]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as bar:
        task = bar.add_task("loading", total=None, rate="")

        def say(text: str) -> None:
            bar.update(task, description=text)

        def on_progress(progress: HarvestProgress) -> None:
            speed = bar.tasks[0].speed
            rate = f"{speed:,.0f}/s" if speed else ""
            bar.update(task, description=progress.stage, completed=progress.tokens, rate=rate)

        yield say, on_progress


def tell(space: Workspace, manifest: Manifest, made: bool, json: bool) -> None:
    """Say what a harvest or import holds."""
    path = space.evidence / f"{manifest.name}.duckdb"
    file = EvidenceFile(path)
    summaries = [file.summary(feature) for feature in file.features]
    dead = sum(s.fired == 0 for s in summaries)
    contexts = file.contexts_by_split
    file.close()
    if json:
        facts = {
            "harvest": manifest.name,
            "made_now": made,
            "path": str(path),
            "sha256": manifest.sha256,
            "tokens": file.tokens,
            "contexts": contexts,
            "features": len(summaries),
            "dead": dead,
        }
        out.print(to_json(facts), soft_wrap=True)
        return
    out.print(f"{'made' if made else 'already there:'} harvest {manifest.name}", soft_wrap=True)
    split = ", ".join(f"{n:,} {name}" for name, n in contexts.items())
    out.print(f"  {file.tokens:,} tokens; contexts: {split}")
    density = sorted(s.density for s in summaries)[len(summaries) // 2]
    out.print(f"  {len(summaries):,} features, {dead:,} dead, median density {number(100 * density, 3)}%")
    out.print(f"  {path}", soft_wrap=True)


def place(path: Path) -> str:
    """A path as a person would type it."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
