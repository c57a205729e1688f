"""`exegete controls`: features of known truth, labelled blind: what the labels and their scores are worth."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from exegete.agent.spec import JobSpec, read_spec
from exegete.cli.job_bar import job_bar
from exegete.cli.logs import open_log
from exegete.cli.new_workspace import opened_or_made
from exegete.cli.options import JsonOption, VerboseOption, WorkspaceOption, count
from exegete.cli.show import interval, number, out, plain_table, to_json
from exegete.controls.suite import SuiteSpec
from exegete.controls.wrong import WRONGNESS
from exegete.datastore.store import Store
from exegete.datastore.workspace import Workspace

if TYPE_CHECKING:
    from exegete.controls.text import Text
    from exegete.report.evaluation import Evaluation, Rate


def controls(
    explainer: Annotated[
        str | None, typer.Option(help="lexical (no LLM; default), highlight, token-activation.")
    ] = None,
    simulator: Annotated[str | None, typer.Option(help="lexical (no LLM), sparse, logprob.")] = None,
    llm: Annotated[str | None, typer.Option(help="openai:NAME, anthropic:NAME, hf:FOLDER.")] = None,
    explainer_llm: Annotated[str | None, typer.Option(help="Another model for the explainer.")] = None,
    simulator_llm: Annotated[str | None, typer.Option(help="Another model for the simulator.")] = None,
    scorers: Annotated[
        str | None, typer.Option(help="Comma-separated; the first decides. Default simulation,detection.")
    ] = None,
    n: Annotated[int, typer.Option("--n", help="Planted features of each kind.", min=1)] = 8,
    negatives: Annotated[
        int | None, typer.Option(help="Features of each kind with nothing to find. Default: as many.", min=0)
    ] = None,
    seed: Annotated[int, typer.Option(help="Draws the features and their noise.", min=0)] = 0,
    corpus: Annotated[str, typer.Option(help="Text to plant on: a file, a folder, hf://DATASET.")] = (
        "stdlib-docs"
    ),
    harvest: Annotated[
        str | None,
        typer.Option(help="Plant on the quiet pool of this harvest of the workspace instead."),
    ] = None,
    candidates: Annotated[int | None, typer.Option(help="Labels a proposal. Default 3.")] = None,
    rounds: Annotated[int | None, typer.Option(help="Revisions at most. Default 2.")] = None,
    threshold: Annotated[float | None, typer.Option(help="Score to be accepted. Default 0.5.")] = None,
    concurrency: Annotated[int | None, typer.Option(help="Features in flight at once. Default 16.")] = None,
    budget: Annotated[float | None, typer.Option(help="Dollars it may cost, all sittings together.")] = None,
    budget_tokens: Annotated[str | None, typer.Option(help="Likewise in tokens, such as 5M.")] = None,
    prices: Annotated[
        Path | None, typer.Option(help="File of prices that goes before the built-in table.")
    ] = None,
    page: Annotated[Path, typer.Option("--out", help="The page with the plots.")] = Path("controls.html"),
    workspace: WorkspaceOption = Path("controls-run"),
    json: JsonOption = False,
    verbose: VerboseOption = 0,
) -> None:
    """Plant features of known truth on real text, label them blind, and report how often that is right."""
    given: dict[str, Any] = {
        "explainer": explainer,
        "simulator": simulator,
        "llm": llm,
        "explainer_llm": explainer_llm,
        "simulator_llm": simulator_llm,
        "scorers": None if scorers is None else tuple(s.strip() for s in scorers.split(",")),
        "candidates": candidates,
        "rounds": rounds,
        "threshold": threshold,
        "seed": seed,
        "concurrency": concurrency,
        "budget": budget,
        "budget_tokens": count(budget_tokens, "--budget-tokens"),
        "prices": prices,
        # Labels that are not a feature's are scored here anyway, and all excerpts are needed for that.
        "nulls": 0,
        "stop_early": False,
    }
    spec = read_spec(None, given)
    suite = SuiteSpec.of_each(n, n if negatives is None else negatives, seed)
    if harvest is not None:
        Workspace.open(workspace)
    with opened_or_made(workspace) as space:
        open_log(workspace, verbose)
        code = _run(space, _text(space, harvest, corpus, seed), suite, spec, page, json)
    sys.exit(code)


def _text(space: Workspace, harvest: str | None, corpus: str, seed: int) -> Text:
    """What to plant on: a harvest's quiet pool, or a corpus."""
    from exegete.controls.text import corpus_text, pool_text
    from exegete.subjects.corpora import open_corpus

    if harvest is None:
        return corpus_text(open_corpus(corpus), seed)
    file = space.open_evidence(harvest)
    try:
        return pool_text(file)
    finally:
        file.close()


def _run(space: Workspace, text: Text, suite: SuiteSpec, spec: JobSpec, page: Path, json: bool) -> int:
    """Run, print and write the page; the exit code."""
    from exegete.report.controls_run import run_controls
    from exegete.report.page import write_page

    with job_bar() as on_progress:
        found = asyncio.run(run_controls(space, text, suite, spec, on_progress))
    if found.evaluation is None:
        out.print(f"{found.job.left:,} controls are left: run the same command to go on", soft_wrap=True)
        return 130 if found.job.interrupted else 0
    simulator = spec.simulator_name
    parameters = {"explainer": spec.explainer, "simulator": simulator, "source": text.source}
    write_page(page, found.evaluation, Store(space.labels), parameters)
    if json:
        out.print(to_json(found.evaluation.to_json()), soft_wrap=True)
    else:
        show(found.evaluation)
        out.print(f"\nplots and every label that went wrong: {page}", soft_wrap=True)
    return 0


def show(evaluation: Evaluation) -> None:
    """The figures of a run over controls, at 80 columns."""
    accepted = evaluation.accepted
    rows = [
        (kind, rate.n, accepted[kind].k, rate.k, share(rate)) for kind, rate in evaluation.recovery.items()
    ]
    out.print(plain_table(("planted", "n", "accepted", "recovered", "share [95%]"), rows))
    negative = [(kind, rate.n, rate.k, share(rate)) for kind, rate in evaluation.false_accepts.items()]
    out.print()
    out.print(plain_table(("nothing to find", "n", "accepted", "share [95%]"), negative))
    out.print()
    out.print("right against wrong labels, AUROC:")
    hows = (*WRONGNESS, "all")
    ranked = [(name, *(number(values[how]) for how in hows)) for name, values in evaluation.auroc.items()]
    out.print(plain_table(("scorer", *hows), ranked))
    out.print()
    out.print(f"confidence: expected calibration error {number(evaluation.ece)}", soft_wrap=True)
    if evaluation.left_out:
        out.print(f"left out, for want of text or a model: {', '.join(evaluation.left_out)}", soft_wrap=True)


def share(rate: Rate) -> str:
    """A share with its interval."""
    low, high = rate.interval or (None, None)
    return interval(rate.value, low, high)
