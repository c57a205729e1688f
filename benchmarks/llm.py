"""What a job with a language model costs beside the model: features a second, CPU and memory of the client.

    python -m benchmarks.llm [--json] [--quick] [--settings "one pass"] [--repeats 3]

1. Rows by delay of the server and concurrency: a job over planted features (llm_features.py), `highlight` and
   `sparse`, both scorers on 70 report excerpts. The model is a server on loopback, in a process of its own
   (llm_server.py); every row is a process of its own too, warmed up by a small job. CPU is that of all its
   threads during the job, openings included, over the features done; of rows with `--processes` that of the
   others as well, their imports included, and their peak memory times their number. Rows of *calls alone*
   send the same requests by aiohttp and do nothing else (llm_floor.py): the floor below which no job gets on
   this machine.
2. The journal: the same row with it, with fsync doing nothing, and without a journal, by turns: 16 at once
   without delay, where nothing hides what it costs, and 64 at once at 200 ms, as in a night with a provider.
   What it costs is a ratio of two rows of the same turn, and of these the median: a machine is slower at one
   hour than at another.
3. Tokens a feature by stage, counted as characters / 4, from the view `calls`. *fixed* is the part that is
   the same in all calls of a stage's prompt; *cached* is what a provider that kept every prefix (the system
   part, and the excerpts after it) would have served from its cache: the most there can be, as many keep only
   long prefixes. An excerpt that is asked about is two judgements, whether it fires (detection) and at which
   words (fuzzing), which others ask in two calls.

Settings: `one pass` proposes one label, tries it, and examines it on all excerpts, without nulls; `defaults`
has three candidates, two revisions, which every second of the features takes, early stopping, and nulls.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.llm_features import write_features
from benchmarks.llm_floor import measure_floor
from benchmarks.llm_server import serving

SETTINGS: Mapping[str, Mapping[str, int]] = {
    "one pass": {"candidates": 1, "rounds": 0, "nulls": 0, "stop_early": False},
    "defaults": {"candidates": 3, "rounds": 2},
}
FEATURES, CONTEXTS = 2048, 8000
AT_ONCE = {"one pass": 1000, "defaults": 200}
"""Features of a row without delay: so many that what a job does once, openings above all, counts little."""
DELAYED = {1: 4, 16: 64, 64: 256, 512: 2048}
"""Features of a row with delay, by concurrency."""
JOURNALLED = (0, 16), (200, 64)
"""Delay and concurrency of the rows of the journal."""
PROCESSES = max(2, os.cpu_count() or 2)
"""That share the work of some rows: one a core, which the server has to find room on."""
WARM_UP = 16
STAGES = "propose", "trial", "revise", "report", "null"


@dataclass(frozen=True)
class Row:
    """One job to be measured."""

    settings: str
    latency_ms: int
    concurrency: int
    features: int
    journal: str = "fsync"
    """"fsync", "no fsync" or "none"."""
    calls_alone: bool = False
    """Without a job around them."""
    processes: int = 1
    """That share the job's work, its own among them."""


def measure(source: str, port: int, row: Row) -> dict[str, Any]:
    """Run a row's job in this process, after a small one that warms it up.

    Args:
        source: a workspace with the features' evidence.
        port: of the server.
        row: what to run.

    Returns:
        The row with its figures.
    """
    if row.calls_alone:
        url = f"http://127.0.0.1:{port}/{row.latency_ms}/floor/v1"
        small = replace(row, latency_ms=0, features=min(WARM_UP, row.features), concurrency=16)

        def job() -> int:
            _run(source, port, small)
            return small.features

        return asdict(row) | measure_floor(url, job, row.features, row.concurrency)
    _run(source, port, Row(row.settings, 0, 16, min(WARM_UP, row.features)))
    if row.journal == "no fsync":
        os.fsync = lambda file: None
    elif row.journal == "none":
        _without_journal()
    return asdict(row) | _run(source, port, row)


def _run(source: str, port: int, row: Row) -> dict[str, Any]:
    from exegete.agent.job import Job
    from exegete.agent.spec import JobSpec
    from exegete.datastore.workspace import Workspace

    with tempfile.TemporaryDirectory(dir=source) as folder:
        space = Workspace.open_or_create(Path(folder) / "workspace")
        for path in (Path(source) / "evidence").iterdir():
            os.link(path, space.evidence / path.name)
        spec = JobSpec(
            explainer="highlight",
            llm=f"openai:answers@http://127.0.0.1:{port}/{row.latency_ms}/{Path(folder).name}/v1",
            features=f"0-{row.features - 1}",
            concurrency=row.concurrency,
            processes=row.processes,
            **SETTINGS[row.settings],
        )
        cpu, began = _cpu_s(), time.perf_counter()
        report = asyncio.run(Job(space, spec).run())
        cpu, seconds = _cpu_s() - cpu, time.perf_counter() - began
        done = report.progress.done
        return {
            "features_per_second": done / seconds,
            "cpu_ms_per_feature": 1000 * cpu / done,
            "calls_per_feature": report.progress.spent.calls / done,
            "peak_rss_mb": _peak_rss_mb() + (row.processes - 1) * _largest_child_mb(),
            "tokens": [] if row.journal == "none" else tokens(space.labels),
        }


def tokens(labels: Path) -> list[dict[str, Any]]:
    """Tokens, calls and judgements a feature: by stage, and in all by how many rounds were tried."""
    from exegete.datastore.store import Store
    from exegete.prompts import render

    store = Store(labels)
    prompts = (
        render("highlight", excerpts="", attempts=None, k=1),
        render("sparse", excerpts="", label="", problems=None, n=1),
    )
    case = " ".join(f"WHEN '{prompt.version}' THEN {len(prompt.system) / 4}" for prompt in prompts)
    calls = (
        f"SELECT c.*, o.rounds, CASE c.prompt {case} END AS fixed FROM calls c "
        "JOIN outcomes o ON c.run = o.run AND c.feature = o.feature_index::VARCHAR || "
        "CASE o.polarity WHEN '+' THEN '' ELSE o.polarity END"
    )
    sums = (
        "count(*) / n AS calls, sum(input_tokens) / n AS input, sum(output_tokens) / n AS output, "
        "sum(fixed) / n AS fixed, sum(cached_tokens) / n AS cached"
    )
    by_stage = (
        f"SELECT stage AS part, {sums} FROM ({calls}), (SELECT count(*) AS n FROM outcomes) GROUP BY stage, n"
    )
    judged = (
        "SELECT rounds, sum(n_asked) AS judged FROM scores s "
        "JOIN outcomes o USING (run, feature_index, polarity) "
        "WHERE s.scorer LIKE 'simulation@%' GROUP BY rounds"
    )
    by_rounds = (
        f"SELECT 'all, ' || rounds || ' tried' AS part, {sums}, any_value(judged) / n AS excerpts, n, "
        "(sum(input_tokens) + sum(output_tokens)) / any_value(judged) * 100 AS tokens_per_200_judgements "
        f"FROM ({calls} WHERE stage != 'null') "
        "JOIN (SELECT rounds, count(*) AS n FROM outcomes GROUP BY rounds) USING (rounds) "
        f"JOIN ({judged}) USING (rounds) GROUP BY rounds, n"
    )
    rows = sorted(store.read(by_stage), key=lambda row: STAGES.index(row["part"]))
    return rows + sorted(store.read(by_rounds), key=lambda row: str(row["part"]))


def _without_journal() -> None:
    """Have models opened without a journal from here on, in this process."""
    from exegete.agent import models

    names = vars(models)
    usual = names["open_llm"]  # an error once it is looked for elsewhere, and not a row with a journal
    names["open_llm"] = lambda spec, *, journal, **rest: usual(spec, journal=None, **rest)


def _cpu_s() -> float:
    """CPU of this process, and of its children that have ended."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def _largest_child_mb() -> float:
    """Peak memory of the largest child that has ended."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024


def _peak_rss_mb() -> float:
    """Of this process alone: what getrusage says begins with the parent's."""
    (line,) = (x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def rows(quick: bool, wanted: Sequence[str]) -> Iterator[Row]:
    """The jobs of the table."""
    for settings in wanted:
        if quick:
            yield Row(settings, 0, 16, 8)
            yield Row(settings, 0, 16, 8, calls_alone=True)
            yield Row(settings, 0, 16, 8, processes=PROCESSES)
            continue
        for concurrency, n_delayed in DELAYED.items():
            yield Row(settings, 0, concurrency, AT_ONCE[settings])
            yield Row(settings, 200, concurrency, n_delayed)
        yield Row(settings, 200, 512, DELAYED[512], processes=PROCESSES)
        yield Row(settings, 0, 16, AT_ONCE[settings], calls_alone=True)
        yield Row(settings, 200, 512, DELAYED[512], calls_alone=True)


def journal_rows(quick: bool, repeats: int) -> Iterator[Row]:
    """The same jobs with and without what the journal does, by turns."""
    for latency_ms, concurrency in JOURNALLED:
        features = DELAYED[concurrency] if latency_ms else AT_ONCE["one pass"]
        for _ in range(1 if quick else repeats):
            for journal in ("fsync", "no fsync", "none"):
                yield Row("one pass", latency_ms, concurrency, 8 if quick else features, journal)


def overheads(measured: Sequence[Mapping[str, Any]]) -> list[dict[str, float]]:
    """What the journal takes, by delay and concurrency."""
    kinds = dict.fromkeys((row["latency_ms"], row["concurrency"]) for row in measured)
    return [
        {"latency_ms": latency_ms, "concurrency": concurrency}
        | overhead(
            [row for row in measured if (row["latency_ms"], row["concurrency"]) == (latency_ms, concurrency)]
        )
        for latency_ms, concurrency in kinds
    ]


def overhead(measured: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """What the journal takes of features a second and adds to CPU, as shares: the median of its turns."""

    def ratio(figure: str, without: str) -> float:
        of = {
            kind: [row[figure] for row in measured if row["journal"] == kind] for kind in ("fsync", without)
        }
        return float(median(one / other for one, other in zip(of["fsync"], of[without], strict=True)))

    return {
        f"{name}, {without}": share
        for without in ("no fsync", "none")
        for name, share in (
            ("slower than", 1 - ratio("features_per_second", without)),
            ("more CPU than", ratio("cpu_ms_per_feature", without) - 1),
        )
    }


def prepare(folder: Path, quick: bool) -> str:
    """A workspace with the planted features' evidence; where it is."""
    from exegete.datastore.importing import ImportSpec, import_parquet
    from exegete.datastore.workspace import Workspace

    write_features(folder / "features", 16 if quick else FEATURES, 800 if quick else CONTEXTS)
    space = Workspace.open_or_create(folder / "workspace")
    import_parquet(folder / "features", ImportSpec(dictionary="planted"), space.evidence)
    return str(space.root)


def run(quick: bool, wanted: Sequence[str], repeats: int) -> dict[str, Any]:
    """Measure everything; each row in a process of its own."""
    context = get_context("spawn")
    with tempfile.TemporaryDirectory() as folder, serving() as port:
        source = prepare(Path(folder), quick)

        def alone(row: Row) -> dict[str, Any]:
            with context.Pool(1) as pool:
                return dict(pool.apply(measure, (source, port, row)))

        table = [alone(row) for row in rows(quick, wanted)]
        journal = [alone(row) for row in journal_rows(quick, repeats)]
    return {
        "rows": [{k: v for k, v in row.items() if k != "tokens"} for row in table],
        "journal": overheads(journal),
        "tokens": {row["settings"]: row["tokens"] for row in table if "tokens" in row},
    }


def _print(results: dict[str, Any]) -> None:
    console = Console()
    tables = [("jobs", results["rows"]), ("the journal", results["journal"])]
    tables += [(f"tokens a feature, {name}", found) for name, found in results["tokens"].items()]
    for title, found in tables:
        names = list(dict.fromkeys(name for row in found for name in row))
        table = Table(*names, title=title, title_justify="left", box=None)
        for row in found:
            values = (row.get(name, "") for name in names)
            table.add_row(*(f"{v:,.2f}" if isinstance(v, float) else str(v) for v in values))
        console.print(table)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true", help="a handful of features: does it run at all?")
    parser.add_argument("--settings", choices=SETTINGS, help="jobs of these settings alone")
    parser.add_argument("--repeats", type=int, default=3, help="of each of the journal's rows")
    given = parser.parse_args()
    wanted = [given.settings] if given.settings else list(SETTINGS)
    results = run(given.quick, wanted, given.repeats)
    if given.json:
        print(json.dumps(results))
    else:
        _print(results)


if __name__ == "__main__":
    main()
