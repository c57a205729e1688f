"""`exegete harvest`: from a subject model and a corpus to evidence."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from exegete.cli.harvest_bar import harvest_bar
from exegete.cli.harvest_what import parse_shard, read_what, say_other_sites
from exegete.cli.logs import open_log
from exegete.cli.new_workspace import opened_or_made
from exegete.cli.options import DEFAULT_WORKSPACE, JsonOption, VerboseOption, WorkspaceOption, count
from exegete.cli.show import number, out, to_json
from exegete.datastore.evidence_file import EvidenceFile
from exegete.datastore.evidence_writer import Manifest
from exegete.datastore.workspace import Workspace, parse_features
from exegete.errors import UsageError
from exegete.subjects.spec import HarvestSpec, Shard

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Source:
    """What is harvested from, as it was asked for."""

    subject: str = "all-MiniLM-L6-v2"
    corpus: str = "stdlib-docs"
    device: str | None = None
    dtype: str | None = None


def harvest(
    site: Annotated[
        list[str] | None,
        typer.Option(
            help="Module path or hook name; several are read in one pass; default: the dictionary's."
        ),
    ] = None,
    subject: Annotated[
        str, typer.Option(help="Model: a folder, hf:NAME[@REVISION], all-MiniLM-L6-v2 or stdlib-lm.")
    ] = "all-MiniLM-L6-v2",
    dictionary: Annotated[
        list[str] | None,
        typer.Option(
            help="What is read there: neurons, a folder or hf://REPO of weights, or "
            "directions:FILE.safetensors; one for each site."
        ),
    ] = None,
    features: Annotated[str | None, typer.Option(help="Indices such as 0-511; default: all.")] = None,
    corpus: Annotated[
        str,
        typer.Option(
            help="Text: .txt, .jsonl, .parquet, a folder of them, hf://DATASET, stdlib-docs or stdlib-source."
        ),
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
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1; default: a GPU if any.")] = None,
    dtype: Annotated[
        str | None, typer.Option(help="float32, bfloat16 or float16; default: by the device.")
    ] = None,
    batch_tokens: Annotated[
        str | None, typer.Option(help="Tokens a forward pass, e.g. 64k; default: 32 contexts.")
    ] = None,
    shard: Annotated[
        str | None, typer.Option(help="Only part i of N of the corpus, i/N from 0; then `exegete merge`.")
    ] = None,
    ray: Annotated[bool, typer.Option("--ray", help="Run the shards on Ray, and merge them.")] = False,
    workers: Annotated[
        int | None, typer.Option(help="With --ray: how many; default: one a GPU, or 2.", min=1)
    ] = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    json: JsonOption = False,
    verbose: VerboseOption = 0,
) -> None:
    """Collect evidence: what makes each feature fire, and what does not."""
    if polarity not in ("+", "-", "both"):
        raise UsageError(f"--polarity {polarity!r} is not one of +, - and both")
    if ray and shard is not None:
        raise UsageError("--ray makes the shards itself: leave out --shard, and say how many with --workers")
    if workers is not None and not ray:
        raise UsageError("--workers says how many actors --ray starts: add --ray, or leave it out")
    part = None if shard is None else parse_shard(shard)
    spec = HarvestSpec(
        site="",
        features=None if features is None else parse_features(features),
        polarity="both" if polarity == "both" else "-" if polarity == "-" else "+",
        tokens=count(tokens),
        context=context,
        top=top,
        sample=sample,
        quiet=quiet,
        seed=seed,
        shuffle=shuffle_activations,
    )
    if (a_batch := count(batch_tokens, "--batch-tokens")) is not None:
        spec = replace(spec, batch=max(1, a_batch // context))
    specs, bos = read_what(spec, site or [], dictionary or ["neurons"])
    source = Source(subject, corpus, device, dtype)
    with opened_or_made(workspace) as space:
        open_log(workspace, verbose)
        if part is not None:
            run_shard(space, source, specs, bos, part, json)
        elif ray:
            tell_all(space, run_on_ray(space, source, specs, bos, workers), json)
        else:
            tell_all(space, run_harvests(space, source, specs, bos), json)


def run_harvest(space: Workspace, subject: str, corpus: str, spec: HarvestSpec) -> tuple[Manifest, bool]:
    """Harvest one site with a progress bar."""
    return run_harvests(space, Source(subject, corpus), [spec], None)[0]


def run_harvests(
    space: Workspace, source: Source, specs: Sequence[HarvestSpec], bos: bool | None
) -> list[tuple[Manifest, bool]]:
    """Harvest with a progress bar."""
    with harvest_bar() as (say, on_progress):
        say(f"loading {source.subject}")
        # torch and transformers take seconds to import: not before they are needed.
        from exegete.subjects.corpora import open_corpus
        from exegete.subjects.harvest import harvest_all
        from exegete.subjects.huggingface import open_subject

        text = open_corpus(source.corpus)
        model = open_subject(source.subject, source.device, source.dtype, bos)
        say_other_sites(specs, model.site)
        return harvest_all(model, text, specs, space.evidence, on_progress)


def run_shard(
    space: Workspace,
    source: Source,
    specs: Sequence[HarvestSpec],
    bos: bool | None,
    shard: Shard,
    json: bool,
) -> None:
    """Harvest one shard with a progress bar, and say where it is."""
    with harvest_bar() as (say, on_progress):
        say(f"loading {source.subject}")
        from exegete.subjects.corpora import open_corpus
        from exegete.subjects.harvest import harvest_shard
        from exegete.subjects.huggingface import open_subject

        text = open_corpus(source.corpus)
        model = open_subject(source.subject, source.device, source.dtype, bos)
        say_other_sites(specs, model.site)
        found = harvest_shard(model, text, specs, space.evidence, shard, on_progress)
    if json:
        facts = [{"shard": str(folder), "made_now": made} for folder, made in found]
        out.print(to_json(facts[0] if len(facts) == 1 else facts), soft_wrap=True)
        return
    for folder, made in found:
        out.print(f"{'made' if made else 'already there:'} shard {folder}", soft_wrap=True)
    out.print("  when all are there: exegete merge")


def run_on_ray(
    space: Workspace,
    source: Source,
    specs: Sequence[HarvestSpec],
    bos: bool | None,
    workers: int | None,
) -> list[tuple[Manifest, bool]]:
    """Harvest in shards on Ray, and merge them."""
    from exegete.cli.merge import merge_shards
    from exegete.subjects.on_ray import Request, harvest_on_ray

    request = Request(
        source.subject,
        source.corpus,
        tuple(specs),
        space.evidence.resolve(),
        source.device,
        source.dtype,
        bos,
        working=Path.cwd(),
    )
    with harvest_bar() as (say, _):
        say("harvesting on Ray")
        folders = harvest_on_ray(request, workers, lambda n, of: say(f"{n} of {of} shards are done"))
    return merge_shards(space, folders)


def tell_all(space: Workspace, found: Sequence[tuple[Manifest, bool]], json: bool) -> None:
    """Say what harvests hold: in JSON, one object, or a list of several."""
    if json and len(found) > 1:
        out.print(to_json([facts_of(space, manifest, made) for manifest, made in found]), soft_wrap=True)
        return
    for manifest, made in found:
        tell(space, manifest, made, json)


def tell(space: Workspace, manifest: Manifest, made: bool, json: bool) -> None:
    """Say what a harvest or import holds."""
    facts = facts_of(space, manifest, made)
    if json:
        out.print(to_json(facts), soft_wrap=True)
        return
    out.print(f"{'made' if made else 'already there:'} harvest {manifest.name}", soft_wrap=True)
    split = ", ".join(f"{n:,} {name}" for name, n in facts["contexts"].items())
    out.print(f"  {facts['tokens']:,} tokens; contexts: {split}")
    density = number(100 * facts["median_density"], 3)
    out.print(f"  {facts['features']:,} features, {facts['dead']:,} dead, median density {density}%")
    out.print(f"  {facts['path']}", soft_wrap=True)


def facts_of(space: Workspace, manifest: Manifest, made: bool) -> dict[str, Any]:
    """What a harvest or import holds, as JSON values."""
    path = space.evidence / f"{manifest.name}.duckdb"
    file = EvidenceFile(path)
    summaries = [file.summary(feature) for feature in file.features]
    facts = {
        "harvest": manifest.name,
        "made_now": made,
        "path": str(path),
        "sha256": manifest.sha256,
        "tokens": file.tokens,
        "contexts": file.contexts_by_split,
        "features": len(summaries),
        "dead": sum(s.fired == 0 for s in summaries),
        "median_density": sorted(s.density for s in summaries)[len(summaries) // 2],
    }
    file.close()
    log.info(
        "harvest %s %s",
        manifest.name,
        "made" if made else "was there already",
        extra={name: facts[name] for name in ("harvest", "features", "dead", "tokens")},
    )
    return facts


def place(path: Path) -> str:
    """A path as a person would type it."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
