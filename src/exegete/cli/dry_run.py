"""`exegete label --dry-run`: calls, tokens and dollars, before anything is spent."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import TYPE_CHECKING

from exegete.agent.spec import JobSpec
from exegete.cli.show import out, plain_table, safe, to_json
from exegete.datastore.workspace import Workspace
from exegete.llm.prices import load_prices

if TYPE_CHECKING:
    from exegete.llm.estimate import Forecast


def show_forecast(space: Workspace, spec: JobSpec, json: bool) -> None:
    """Print what a job would take."""
    from exegete.agent.forecast import ASSUMED, forecast  # langgraph takes a second to import

    found = asyncio.run(forecast(space, spec, load_prices(spec.prices)))
    if json:
        out.print(to_json(asdict(found)), soft_wrap=True)
        return
    left = f"dry run of {safe(found.run)}: {found.features:,} features left"
    if found.with_all_revisions.total.calls == 0:
        why = "this job needs no model" if found.asking else "nothing is left that a model is asked about"
        out.print(f"{left}; no call would be made: {why}", soft_wrap=True)
        return
    out.print(
        f"{left}, {found.asking:,} of them to ask a model about; {found.rehearsed:,} were rehearsed",
        soft_wrap=True,
    )
    least, most = found.without_revisions, found.with_all_revisions
    rows = [_row(stage.name, stage) for stage in most.stages if stage.calls]
    rows.append(_row("total without revisions", least.total))
    if most.total.calls > least.total.calls:
        revisions = f"all {spec.rounds}" if spec.case_budget is None else f"{found.revisions:.1f}"
        rows.append(_row(f"total with {revisions} revisions", most.total))
    out.print(plain_table(("stage", "calls", "tokens in", "tokens out", "dollars", "at most"), rows))
    how = " in batches (the full one where theirs is not known)" if spec.batch else ""
    out.print(f"tokens in: {most.method}; dollars by the prices of {safe(most.prices)}{how}", soft_wrap=True)
    unknown = [purpose for purpose in ASSUMED if purpose in found.purposes and purpose not in found.measured]
    assumed = [f"{purpose} {ASSUMED[purpose]}" for purpose in unknown]
    lengths = f"assumed tokens a reply: {', '.join(assumed)}" if assumed else "the mean of earlier calls here"
    out.print(f"tokens out: {lengths}; at most: every reply as long as it may be", soft_wrap=True)
    if spec.case_budget is not None:
        out.print(
            f"--case-budget leaves room for {found.revisions:.1f} of {spec.rounds} revisions, on average"
        )
    if most.total.usd is None:
        out.print("dollars are not known for every model: give prices with --prices FILE")
    out.print("nothing was sent")


def _row(name: str, forecast: Forecast) -> tuple[str, ...]:
    """A line of the table."""
    tokens = (forecast.input_tokens, forecast.output_tokens)
    dollars = ("–" if usd is None else f"{usd:,.2f}" for usd in (forecast.usd, forecast.most_usd))
    return (name, f"{forecast.calls:,}", *(f"{n:,}" for n in tokens), *dollars)
