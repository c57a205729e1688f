"""`exegete status`: what has been done in a workspace, and what runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from rich.text import Text

from exegete.cli.chance import chance_in_words, judged_in_words, nulls_left_in_words
from exegete.cli.options import DEFAULT_WORKSPACE, JsonOption, WorkspaceOption
from exegete.cli.show import STYLES, cell, out, plain_table, safe, to_json
from exegete.datastore.evidence_writer import read_manifest
from exegete.datastore.records import STATUSES
from exegete.datastore.store import Store
from exegete.datastore.workspace import Workspace
from exegete.llm import BatchRow, wave_states

_STATES = {"length": "cut at their room", "refusal": "refused", "filtered": "stopped by a content filter"}
"""How a reply that is not read ended."""
_CALLS = """
SELECT run, model,
    count(*) FILTER (finish != 'ambiguous') AS calls, count(*) FILTER (finish = 'length') AS length,
    count(*) FILTER (finish = 'refusal') AS refusal, count(*) FILTER (finish = 'filtered') AS filtered,
    count(*) FILTER (finish = 'ambiguous') AS ambiguous, sum(most_usd) AS most_usd,
    sum(input_tokens) AS input_tokens, sum(output_tokens) AS output_tokens,
    sum(cached_tokens) / nullif(sum(input_tokens) FILTER (cached_tokens IS NOT NULL), 0) AS cached_share,
    sum(usd) AS usd, count(*) FILTER (usd IS NULL AND finish != 'ambiguous') AS unpriced
FROM calls GROUP BY ALL ORDER BY ALL
"""


def status(workspace: WorkspaceOption = DEFAULT_WORKSPACE, json: JsonOption = False) -> None:
    """Show harvests, runs by status, calls and what is running."""
    space = Workspace.open(workspace)
    runs, calls = [], []
    if space.labels.exists():
        store = Store(space.labels)
        runs = store.read("SELECT * FROM runs ORDER BY started_at")
        calls = store.read(_CALLS)
    running = space.running_job()
    waves = wave_states(space.batches)
    if json:
        facts = {
            "harvests": space.harvests(),
            **_under_way(space),
            "runs": runs,
            "calls": calls,
            "batches": [asdict(wave) for wave in waves],
            "running_process": running,
        }
        out.print(to_json(facts), soft_wrap=True)
        return
    out.print(f"harvests: {', '.join(space.harvests()) or 'none; run exegete harvest'}", soft_wrap=True)
    for name in space.harvests():
        for caveat in read_manifest(space.evidence / f"{name}.duckdb").parameters.get("caveats", ()):
            out.print(f"  note: {safe(caveat)}", style="dim", soft_wrap=True)
    _show_under_way(**_under_way(space))
    jobs = [run for run in runs if run["kind"] == "job"]
    for run in jobs:
        _show_run(run, [row for row in calls if row["run"] == run["run"]])
    if not jobs:
        out.print("no run yet: exegete label")
    people = sum(run["kind"] == "person" for run in runs)
    if people:
        sets = "1 set" if people == 1 else f"{people} sets"
        out.print(f"{sets} of labels scored by a person (exegete score)")
    if waves:
        _show_waves(waves)
    out.print(f"running: process {running}" if running else "no job is running")


def _under_way(space: Workspace) -> dict[str, list[dict[str, Any]]]:
    """Harvests that have a checkpoint and no end, and shards that wait to be merged."""
    from exegete.datastore.shards import waiting_shards
    from exegete.subjects.checkpoint import unfinished

    shards = waiting_shards(space.evidence)
    return {
        "unfinished": [asdict(found) for found in unfinished(space.evidence)],
        "shards": [{"harvest": name, "there": there, "of": of} for name, (there, of) in shards.items()],
    }


def _show_under_way(unfinished: Sequence[Mapping[str, Any]], shards: Sequence[Mapping[str, Any]]) -> None:
    for found in unfinished:
        shard = f" --shard {found['shard']}" if found["shard"] else ""
        at = datetime.fromtimestamp(found["written_at"], UTC).replace(tzinfo=None)
        out.print(
            f"not finished: {safe(', '.join(found['harvests']))}{shard}: {found['tokens']:,} tokens at its "
            f"last checkpoint, {cell(at)} UTC; if it was stopped, the same command goes on there",
            soft_wrap=True,
        )
    for found in shards:
        there, of = len(found["there"]), found["of"]
        then = f"{of - there:,} still to come" if there < of else "run exegete merge"
        name = safe(found["harvest"])
        out.print(f"shards of {name}: {there:,} of {of:,} are there, {then}", soft_wrap=True)


def _show_run(run: Mapping[str, Any], calls: Sequence[Mapping[str, Any]]) -> None:
    """A run: its features by status, when, and what it has asked of which model."""
    counts = [Text(f"{run[s]:,} {s}", style=STYLES[s]) for s in STATUSES if run[s]]
    line = Text(f"run {safe(run['run'])}: {run['attempted'] or 0:,} features")
    out.print(line + Text(": ") + Text(", ").join(counts) if counts else line, soft_wrap=True)
    last = f"last result {cell(run['finished_at'])} UTC" if run["finished_at"] else "no result yet"
    out.print(f"  started {cell(run['started_at'])}, {last}", style="dim")
    for said in (judged_in_words(run), chance_in_words(run), nulls_left_in_words(run)):
        if said is not None:
            out.print(f"  {said}", soft_wrap=True)
    for row in calls:
        out.print(f"  {safe(row['model'])}: {_asked(row)}", soft_wrap=True)
        states = [f"{row[state]:,} {words}" for state, words in _STATES.items() if row[state]]
        if states:
            out.print(f"    of them not read: {', '.join(states)}", style="yellow", soft_wrap=True)
        if row["ambiguous"]:
            most = "" if row["most_usd"] is None else f" (up to ${row['most_usd']:,.2f})"
            out.print(
                f"    {row['ambiguous']:,} ambiguous: sent, maybe billed{most}, never answered",
                style="yellow",
                soft_wrap=True,
            )


def _show_waves(waves: Sequence[BatchRow]) -> None:
    """Batches that are not done, one by one, and how many are."""
    done = sum(not wave.open for wave in waves)
    out.print(f"batches: {len(waves) - done:,} open, {done:,} done")
    rows = [
        (
            cell((wave.submitted_at or wave.intended_at).replace(tzinfo=None)),
            wave.model.partition("@")[0],
            f"{wave.requests:,}",
            wave.state,
            ", ".join(f"{n:,} {what}" for what, n in wave.counts.items() if n),
        )
        for wave in waves
        if wave.open
    ]
    if rows:
        out.print(plain_table(("since (UTC)", "model", "requests", "state", "as last seen"), rows))


def _asked(row: Mapping[str, Any]) -> str:
    """Calls, tokens, the share read from the provider's cache, and dollars."""
    words = [f"{row['calls']:,} calls"]
    if row["input_tokens"] is not None:
        share = f" ({row['cached_share']:.0%} from cache)" if row["cached_share"] else ""
        words += [f"{row['input_tokens']:,} tokens in{share}", f"{row['output_tokens'] or 0:,} out"]
    if row["usd"] is not None:
        words.append(f"${row['usd']:,.2f}")
    if row["unpriced"]:
        words.append(f"{row['unpriced']:,} without a known price")
    return ", ".join(words)
