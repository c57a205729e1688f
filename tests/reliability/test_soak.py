"""Long runs on a quiet machine: `make soak`. Each prints its figures; docs/reliability.md has the last ones.

SOAK_FEATURES and SOAK_KILLS in the environment make them shorter or longer.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from exegete import llm
from exegete.agent.job import Job, JobReport, Progress
from exegete.agent.spec import JobSpec
from exegete.datastore.workspace import Workspace
from exegete.llm import Reply, Request
from tests.agent.harness import (
    SMALL,
    FunctionLLM,
    competently,
    known_to_be_able,
    results,
    run_job,
    statuses,
)
from tests.agent.processes import LIMIT_S, competent_server, running, wait_until, words
from tests.agent.test_resume import CONCURRENCY, billed, check_the_bill, journalled, settle
from tests.reliability.many import make_workspace

FEATURES = int(os.environ.get("SOAK_FEATURES", "100_000"))
KILLS = int(os.environ.get("SOAK_KILLS", "50"))
SHORT = {"candidates": 1, "rounds": 0}
"""One label a feature, tried and reported: some five calls."""
MB_A_THOUSAND_FEATURES = 6.0
"""What a job may hold on to: the journal's index (5,400 replies), and what is in no table yet."""
MB_AT_ONCE = 250.0
"""Caches of fixed size (contexts, simulations, DuckDB's own), filled after a twentieth of the job or not."""


OFTEN = "from exegete.agent import recorder\nrecorder.FLUSH_EVERY_S = 0.2"
"""Run in the jobs that are killed: they write their results down often."""


def resident_mb() -> float:
    """Memory of this process that is really in use, MB."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    (line,) = (line for line in lines if line.startswith("VmRSS:"))
    return int(line.split()[1]) / 1e3


class Forgetful(FunctionLLM):
    """A scripted model that doesn't keep what it was asked; it counts."""

    calls = 0

    async def complete(self, request: Request) -> Reply:
        Forgetful.calls += 1
        self.asked.clear()
        return await super().complete(request)


@pytest.mark.soak
@pytest.mark.timeout(3 * 3600)
def test_many_features(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    """100,000 features through a whole job: each has its verdict, memory is bounded, nothing is left open."""
    monkeypatch.setitem(llm.PROVIDERS, "scripted", lambda name: Forgetful(competently))
    began = time.monotonic()
    workspace = make_workspace(tmp_path, FEATURES)
    made_s = time.monotonic() - began
    known_to_be_able(workspace, SMALL["llm"])
    samples: list[tuple[int, float]] = []
    threads = threading.active_count()

    def watch(progress: Progress) -> None:
        if progress.done >= (len(samples) + 1) * FEATURES // 20:
            samples.append((progress.done, resident_mb()))

    async def main() -> tuple[JobReport, int]:
        report = await Job(workspace, JobSpec(**(SMALL | SHORT | {"concurrency": 64})), watch).run()
        return report, len(asyncio.all_tasks()) - 1

    files = len(os.listdir("/proc/self/fd"))
    began, cpu = time.monotonic(), time.process_time()
    report, tasks = asyncio.run(main())
    took_s, cpu_s = time.monotonic() - began, time.process_time() - cpu
    (first, at_first), (last, at_last) = samples[0], samples[-1]
    labels_mb = workspace.labels.stat().st_size / 1e6
    journal_mb = sum(path.stat().st_size for path in workspace.journal.iterdir()) / 1e6
    with capsys.disabled():
        print(f"\n{FEATURES:,} features: {dict(sorted(report.progress.by_status.items()))}")
        print(f"  evidence made in {made_s:.0f} s, labelled in {took_s:.0f} s", end="")
        print(f" ({FEATURES / took_s:.1f} features/s, {1e3 * cpu_s / FEATURES:.0f} ms of CPU each)")
        print(f"  {Forgetful.calls:,} calls; journal {journal_mb:,.0f} MB, labels file {labels_mb:,.0f} MB")
        print("  resident MB after each twentieth:", " ".join(f"{mb:.0f}" for _, mb in samples))
    assert statuses(workspace).total() == FEATURES
    assert set(report.progress.by_status) == {"accepted", "dead", "unscorable"}
    assert tasks == 0
    assert threading.active_count() <= threads + 1, "asyncio.run has closed its executor"
    assert len(os.listdir("/proc/self/fd")) <= files + 2
    assert at_last - at_first <= MB_AT_ONCE + (last - first) / 1000 * MB_A_THOUSAND_FEATURES


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_fifty_kills(tmp_path: Path, capsys: Any) -> None:
    """Killed fifty times, at random moments of its life, a job ends with the tables of an undisturbed one.

    Moments are of two kinds, half each: after some further calls, and after some time, which hits the start
    and the reading of the journal too. What was journalled at a kill is never asked for again, and every call
    that is billed twice had been in flight at a kill.
    """
    rng = random.Random(50)
    workspace = make_workspace(tmp_path, 40 + 16 * KILLS)
    undisturbed = Workspace.open(shutil.copytree(workspace.root, tmp_path / "undisturbed"))
    began, kills, lost = time.monotonic(), 0, 0
    with competent_server(delay_s=0.1) as server:
        given = SHORT | {"name": "night", "concurrency": CONCURRENCY}
        arguments = words(workspace, server.url, **given)
        kept: list[tuple[int, set[str]]] = []
        for number in range(KILLS):
            started = len(server.ledger)
            with running(arguments, OFTEN) as job:
                if number % 2:
                    time.sleep(rng.uniform(0.0, 6.0))
                else:
                    calls = started + rng.randrange(12)
                    wait_until(lambda calls=calls: len(server.ledger) > calls, job)  # type: ignore[misc]
                    time.sleep(rng.uniform(0.0, 0.04))
                job.send_signal(signal.SIGKILL)
                assert job.wait(LIMIT_S) == -signal.SIGKILL, "it was not done yet"
            kills += 1
            settle(server)
            known = set(journalled(workspace))
            in_flight = set(billed(server, started)) - known
            assert len(in_flight) <= CONCURRENCY, "paid, lost, and not in flight"
            lost += len(in_flight)
            kept.append((len(server.ledger), known))
        done = statuses(workspace).total()
        server.delay_s = 0.0
        run_job(workspace, llm=f"openai:m@{server.url}/v1", **given)
        for position, known in kept:
            assert not known & set(billed(server, position)), "journalled, and paid for again"
        check_the_bill(server, workspace, 0, kills)
        paid = len(server.ledger)
        twice = paid - len(set(journalled(workspace)))
        run_job(undisturbed, llm=f"openai:m@{server.url}/v1", **given)
    with capsys.disabled():
        print(f"\n{kills} kills in {time.monotonic() - began:.0f} s: {paid:,} calls billed,", end="")
        print(f" {twice} of them twice, {lost} in flight at a kill;", end="")
        print(f" {done:,} features were finished before the last one")
    assert twice == lost
    assert done > 0, "some flushes were survived, and some kills hit one"
    assert results(workspace) == results(undisturbed)
