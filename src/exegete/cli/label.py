"""`exegete label`: the batch job."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any

from rich.text import Text

from exegete.agent.spec import JobSpec, read_spec
from exegete.cli.chance import (
    chance_in_words,
    chance_of,
    independence_of,
    judged_in_words,
    nulls_left_in_words,
    saved_in_words,
)
from exegete.cli.dry_run import show_forecast
from exegete.cli.effort import effort_in_words, effort_of
from exegete.cli.job_bar import job_bar
from exegete.cli.label_options import (
    Batch,
    Budget,
    BudgetTokens,
    Candidates,
    CaseBudget,
    Concurrency,
    Device,
    DryRun,
    Effects,
    ExplainerModel,
    ExplainerName,
    Falsify,
    Features,
    JobFile,
    Limit,
    Model,
    Name,
    Nulls,
    Prices,
    Processes,
    Rounds,
    Scorers,
    Seed,
    SentenceModel,
    SimulatorModel,
    SimulatorName,
    StopEarly,
    Subject,
    Tests,
    Threshold,
    Until,
    WithControls,
)
from exegete.cli.logs import open_log
from exegete.cli.options import (
    DEFAULT_WORKSPACE,
    HarvestOption,
    JsonOption,
    VerboseOption,
    WorkspaceOption,
    count,
)
from exegete.cli.show import STYLES, label_table, out, safe, to_json
from exegete.datastore.records import STATUSES
from exegete.datastore.store import Store
from exegete.datastore.workspace import Workspace
from exegete.llm.meter import Spent

if TYPE_CHECKING:
    from exegete.report.judged import Judged

SHOWN = 12


def label(
    job: JobFile = None,
    name: Name = None,
    harvest: HarvestOption = None,
    features: Features = None,
    explainer: ExplainerName = None,
    llm: Model = None,
    explainer_llm: ExplainerModel = None,
    candidates: Candidates = None,
    rounds: Rounds = None,
    falsify: Falsify = None,
    tests: Tests = None,
    case_budget: CaseBudget = None,
    simulator: SimulatorName = None,
    simulator_llm: SimulatorModel = None,
    scorers: Scorers = None,
    threshold: Threshold = None,
    stop_early: StopEarly = None,
    nulls: Nulls = None,
    with_controls: WithControls = None,
    sentence_model: SentenceModel = None,
    effects: Effects = None,
    subject: Subject = None,
    device: Device = None,
    seed: Seed = None,
    limit: Limit = None,
    concurrency: Concurrency = None,
    processes: Processes = None,
    budget: Budget = None,
    budget_tokens: BudgetTokens = None,
    prices: Prices = None,
    batch: Batch = False,
    until: Until = None,
    dry_run: DryRun = False,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    json: JsonOption = False,
    verbose: VerboseOption = 0,
) -> None:
    """Label features: propose, simulate, score, test, revise, and judge on examples nobody has looked at."""
    given: dict[str, Any] = {
        "name": name,
        "harvest": harvest,
        "features": features,
        "explainer": explainer,
        "llm": llm,
        "explainer_llm": explainer_llm,
        "candidates": candidates,
        "rounds": rounds,
        "falsify": falsify,
        "tests": tests,
        "case_budget": count(case_budget, "--case-budget"),
        "simulator": simulator,
        "simulator_llm": simulator_llm,
        "scorers": None if scorers is None else tuple(s.strip() for s in scorers.split(",")),
        "threshold": threshold,
        "stop_early": stop_early,
        "nulls": nulls,
        "with_controls": with_controls,
        "sentence_model": sentence_model,
        "effects": effects,
        "subject": subject,
        "device": device,
        "seed": seed,
        "limit": limit,
        "concurrency": concurrency,
        "processes": processes,
        "budget": budget,
        "budget_tokens": count(budget_tokens, "--budget-tokens"),
        "prices": prices,
        "batch": batch or None,
        "until": until,
    }
    spec = read_spec(job, given)
    space = Workspace.open(workspace)
    if dry_run:
        show_forecast(space, spec, json)
        return
    open_log(workspace, verbose)
    sys.exit(run_label(space, spec, json))


def run_label(space: Workspace, spec: JobSpec, json: bool = False, shown: int = SHOWN) -> int:
    """Run a job with a progress bar and say how it ended; the exit code."""
    from exegete.agent.job import Job  # langgraph takes a second to import
    from exegete.report.mixed import counts_in_words, counts_of

    with job_bar() as on_progress:
        report = asyncio.run(Job(space, spec, on_progress).run())
    p, store = report.progress, Store(space.labels)
    chance = chance_of(store, report.run)
    planted = _planted(space, spec, report.run) if spec.with_controls else None
    if json:
        spent = {name: getattr(p.spent, name) for name in p.spent.__slots__}
        facts = {
            "run": report.run,
            "done": p.done - p.planted,
            "before": p.before,
            "left": report.left,
            "nulls_left": report.nulls_left,
            "interrupted": report.interrupted,
            "by_status": {s: p.by_status[s] for s in STATUSES},
            "spent": spent,
            "chance": chance,
            "independence": independence_of(store, report.run),
            "effort": effort_of(store, report.run),
        }
        if planted is not None:
            facts["controls"] = counts_of(planted)
        out.print(to_json(facts), soft_wrap=True)
    else:
        show_run(space, report.run, shown)
        if p.spent.calls or p.spent.from_journal:
            out.print(spent_in_words(p.spent), soft_wrap=True)
        if p.before and not p.done:
            out.print(f"nothing was left to do: {p.before:,} features were labelled before")
        saved = saved_in_words(store, report.run)
        told = (judged_in_words(chance), saved, chance_in_words(chance), nulls_left_in_words(chance))
        for line in (*told, *effort_in_words(effort_of(store, report.run))):
            if line is not None:
                out.print(line, soft_wrap=True)
        if planted is not None:
            out.print(counts_in_words(planted), soft_wrap=True)
        if report.left:
            out.print(f"{report.left:,} features are left: run the same command to go on")
    return 130 if report.interrupted else 0


def _planted(space: Workspace, spec: JobSpec, run: str) -> list[Judged]:
    """What became of a run's planted features."""
    from exegete.report.mixed import judge_mixed

    return asyncio.run(judge_mixed(space, spec, run))


def show_run(space: Workspace, run: str, shown: int) -> None:
    """The table of a run's best labels, and its counts by status."""
    store = Store(space.labels)
    rows = store.read(
        "SELECT * FROM outcomes WHERE run = ? ORDER BY score DESC NULLS LAST, feature_index LIMIT ?",
        [run, shown],
    )
    counts = store.read("SELECT status, count(*) AS n FROM outcomes WHERE run = ? GROUP BY status", [run])
    if not rows:
        return
    out.print(label_table(rows))
    total = sum(row["n"] for row in counts)
    by_status = {row["status"]: row["n"] for row in counts}
    line = Text(f"\nrun {safe(run)}: {total:,} features: ")
    parts = [Text(f"{by_status[s]:,} {s}", style=STYLES[s]) for s in STATUSES if s in by_status]
    shown_said = Text(f" ({len(rows)} best shown)" if total > len(rows) else "")
    out.print(line + Text(", ").join(parts) + shown_said, soft_wrap=True)
    for said in _whys(store, run):
        out.print(said, soft_wrap=True)


def _whys(store: Store, run: str) -> list[str]:
    """Why features have no verdict: for each such status the commonest reason."""
    rows = store.read(
        "SELECT status, why, count(*) AS alike, sum(count(*)) OVER (PARTITION BY status) AS n FROM outcomes "
        "WHERE run = ? AND status IN ('failed', 'unscorable') GROUP BY status, why "
        "QUALIFY row_number() OVER (PARTITION BY status ORDER BY count(*) DESC, why) = 1 ORDER BY status",
        [run],
    )
    return [f"{row['status']}: {safe(row['why'])} ({row['alike']:,} of {row['n']:,})" for row in rows]


def spent_in_words(spent: Spent) -> str:
    """What a sitting has paid for, on one line."""
    words = [f"{spent.calls:,} calls, {spent.input_tokens:,} tokens in"]
    if spent.cached_tokens:
        words[0] += f" ({spent.cached_tokens / spent.input_tokens:.0%} from the provider's cache)"
    words.append(f"{spent.output_tokens:,} out")
    if spent.unpriced < spent.calls:
        words.append(f"${spent.usd:,.2f}")
    if spent.unpriced:
        words.append(f"{spent.unpriced:,} calls without a known price")
    if spent.from_journal:
        words.append(f"{spent.from_journal:,} replies paid for before")
    return f"this sitting: {', '.join(words)}"
