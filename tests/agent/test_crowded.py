"""Several processes in one workspace: two jobs, a job and a shell left open."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from exegete.agent import job as job_module
from exegete.agent.models import Models
from exegete.agent.parts import open_parts, opened_evidence
from exegete.agent.runs import register_run
from exegete.agent.spec import JobSpec
from exegete.datastore.store import Store
from exegete.datastore.workspace import Workspace
from exegete.errors import JobError, WorkspaceBusy
from exegete.llm import Request
from tests.agent.harness import Runner, competently, results, rows, statuses
from tests.agent.processes import held_open


def test_a_second_job_says_who_runs(run: Runner, workspace: Workspace) -> None:
    """It asks nothing, changes nothing, and names the process that is at work."""
    run(features="6,7")
    before = results(workspace)
    with workspace.job_lock():
        assert workspace.running_job() == os.getpid()
        with pytest.raises(WorkspaceBusy, match=rf"another job is running in .* \(process {os.getpid()}\)"):
            run(features="6-8")
    assert (results(workspace), run.llm.asked) == (before, [])
    assert workspace.running_job() is None


def test_a_shell_left_open_delays_and_loses_nothing(
    run: Runner, workspace: Workspace, template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While another process has the labels file open the job goes on; it says who holds it, and waits.

    First for one that reads, then for one that writes. Its tables are those of a job nobody disturbed.
    """
    undisturbed = Runner(Workspace.open(shutil.copytree(template, tmp_path / "other")), monkeypatch)
    undisturbed(features="0-19", concurrency=2)
    monkeypatch.setattr(job_module, "Store", partial(Store, patience_s=0.1))
    monkeypatch.setattr("exegete.agent.recorder.FLUSH_EVERY_S", 0.05)
    holders: list[subprocess.Popen[str]] = []

    def release(message: str) -> None:
        for holder in holders:
            if f"held open by process {holder.pid}" in message:
                holder.kill()
                holder.wait()

    with contextlib.ExitStack() as stack:

        def answer(request: Request) -> str:
            if not holders and statuses(workspace):  # some features are written down: somebody opens the file
                holders.append(stack.enter_context(held_open(workspace.labels, "reading")))
            elif len(holders) == 1 and holders[0].poll() is not None:
                holders.append(stack.enter_context(held_open(workspace.labels, "writing")))
            if len(holders) == 1:
                time.sleep(0.01)  # else all is done before the first one is named, and there is no second
            return competently(request)

        run.heard = release
        report = run(answer, features="0-19", concurrency=2)
        assert [holder.returncode for holder in holders] == [-signal.SIGKILL] * 2, "both were named"
    assert (report.left, report.interrupted) == (0, False)
    assert results(workspace) == results(undisturbed.workspace)


def test_a_run_is_gone_on_with_while_somebody_reads(
    run: Runner, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it began with is written down already: it asks its questions, and waits only to write answers."""
    run(competently, features="0,1", limit=1)
    monkeypatch.setattr(job_module, "Store", partial(Store, patience_s=0.1))
    with held_open(workspace.labels, "reading") as holder:
        run.heard = lambda message: holder.kill() if f"process {holder.pid}" in message else None
        report = run(competently, features="0,1")
        assert holder.wait() == -signal.SIGKILL
    assert (report.left, len(run.llm.asked) > 0) == (0, True)


def test_two_that_begin_at_once_are_one_run_or_refused(
    run: Runner, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who writes a run's name first decides its parameters, though both saw that nobody had."""
    read, seen = Store.read, list[str]()

    def reading(self: Store, sql: str, parameters: Sequence[Any] = ()) -> list[dict[str, Any]]:
        found = read(self, sql, parameters)
        if not seen and "store.runs WHERE run" in sql:
            seen.append(sql)
            with opened_evidence(workspace, None) as evidence:
                spec = JobSpec(explainer="lexical", features="6")
                register_run(self, open_parts(spec, evidence, Models(workspace, 1)), "job", "night")
        return found

    monkeypatch.setattr(Store, "read", reading)
    with pytest.raises(JobError, match="'night' was started with other parameters"):
        run(features="6", name="night")
    assert (len(seen), run.llm.asked) == (1, [])


def test_a_file_held_from_the_start_is_refused_in_one_sentence(
    run: Runner, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job that can't write down its parameters does not begin."""
    run(features="6")
    monkeypatch.setattr(job_module, "Store", partial(Store, patience_s=0.1))
    with (
        held_open(workspace.labels, "writing") as holder,
        pytest.raises(WorkspaceBusy, match=f"held open by process {holder.pid}"),
    ):
        run(features="8")
    assert run.llm.asked == []
    assert workspace.running_job() is None
    assert len(rows(workspace, "SELECT * FROM store.runs")) == 1
