"""`exegete score`: a person's own label through the same scorers."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from exegete.agent.spec import read_spec
from exegete.cli.logs import open_log
from exegete.cli.options import (
    DEFAULT_WORKSPACE,
    HarvestOption,
    JsonOption,
    VerboseOption,
    WorkspaceOption,
)
from exegete.cli.show import interval, number, out, plain_table, safe, small, to_json
from exegete.datastore.workspace import Workspace
from exegete.errors import UsageError


def score(
    feature: Annotated[int, typer.Option(help="Index of the feature.", min=0)],
    label: Annotated[str, typer.Option(help="What you say makes it fire.")],
    polarity: Annotated[str, typer.Option(help="+ or -.")] = "+",
    split: Annotated[
        str, typer.Option(help="report (each look is counted) or refine (look as often as you like).")
    ] = "report",
    harvest: HarvestOption = None,
    simulator: Annotated[str | None, typer.Option(help="lexical (no LLM; default), sparse, logprob.")] = None,
    llm: Annotated[str | None, typer.Option(help="Model, for a simulator that needs one.")] = None,
    scorers: Annotated[
        str | None, typer.Option(help="Comma-separated, such as simulation,fuzzing; the first decides.")
    ] = None,
    threshold: Annotated[float | None, typer.Option(help="Score to be accepted. Default 0.5.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seeds resampling and the order of excerpts.")] = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    json: JsonOption = False,
    verbose: VerboseOption = 0,
) -> None:
    """Score your own label for a feature on held-out examples, and store it as by `person`."""
    if split not in ("report", "refine"):
        raise UsageError(f"--split {split!r} is neither report nor refine")
    if polarity not in ("+", "-"):
        raise UsageError(f"--polarity {polarity!r} is neither + nor -")
    from exegete.agent.person import score_person

    spec = read_spec(
        None,
        {
            "harvest": harvest,
            "simulator": simulator or ("sparse" if llm else "lexical"),
            "llm": llm,
            "scorers": None if scorers is None else tuple(s.strip() for s in scorers.split(",")),
            "threshold": threshold,
            "seed": seed,
        },
    )
    open_log(workspace, verbose)
    found = asyncio.run(
        score_person(
            Workspace.open(workspace),
            spec,
            feature,
            "-" if polarity == "-" else "+",
            label,
            "report" if split == "report" else "refine",
        )
    )
    if json:
        facts = {
            "feature": feature,
            "label": found.label.text,
            "split": split,
            "looks": found.looks,
            "verdict": found.verdict.status,
            "why": found.verdict.why,
            "scores": [
                {f: getattr(s, f) for f in s.__slots__ if f not in ("details", "experiments")}
                | {"details": dict(s.details)}
                for s in found.scores
            ],
        }
        out.print(to_json(facts), soft_wrap=True)
        return
    rows = [
        (
            s.scorer.split("@")[0],
            interval(s.value, s.low, s.high),
            number(s.chance),
            small(s.p_value),
            f"{s.n_read} of {s.n_asked}",
            s.why_none or "",
        )
        for s in found.scores
    ]
    out.print(plain_table(("scorer", "score [95%]", "chance", "p", "excerpts read", ""), rows))
    out.print(f"{found.verdict.status}: {safe(found.verdict.why)}", soft_wrap=True)
    if split == "report":
        times = "once" if found.looks == 1 else f"{found.looks} times"
        out.print(f"the report split of feature {feature} has now been looked at {times}")
