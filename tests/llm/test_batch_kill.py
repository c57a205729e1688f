"""kill -9 at every edge of the protocol of batches: our records against the server's own ledger."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from pathlib import Path

import pytest

from exegete.errors import WorkspaceBusy
from exegete.llm import BatchLog, wave_states
from tests.forked import Forked
from tests.llm import batch_worker
from tests.llm.batches import billed, journalled
from tests.provider import ProviderServer

CALLS = 11
QUESTIONS = {f"question {n}": f"re: question {n}" for n in range(CALLS)}


def start(server: ProviderServer, api: str, folder: Path, *edge: str) -> Forked:
    """Start the job in a process of its own."""
    return Forked(batch_worker.main, api, server.url, folder, CALLS, *edge)


def finish(server: ProviderServer, api: str, folder: Path) -> None:
    """Run the job again, to its end: all is there, journalled once, billed once, and no batch is open."""
    assert asyncio.run(batch_worker.job(api, server.url, folder, CALLS, "")) == QUESTIONS
    assert len(journalled(folder)) == CALLS
    assert set(journalled(folder).values()) == {1}
    assert billed(server) == dict.fromkeys(QUESTIONS, 1)
    assert not any(row.open for row in wave_states(folder / "batches"))


@pytest.mark.slow
@pytest.mark.parametrize("api", ["responses", "messages"])
@pytest.mark.parametrize("edge", list(batch_worker.EDGES))
def test_edges(server: ProviderServer, tmp_path: Path, api: str, edge: str) -> None:
    """Killed at an edge and run again, everything is bought once, whatever the provider tells."""
    server.desk.tricks.polls = 2
    with start(server, api, tmp_path, edge) as job:
        assert job.wait(60) == -signal.SIGKILL
    created = edge not in ("intending", "intent", "uploaded")
    assert len(server.desk.batches) == created
    kept = {"ingesting": 4, "torn": 4, "ingested": CALLS}.get(edge, 0)
    assert kept <= len(journalled(tmp_path)) < max(kept, 1) + 4
    states = [(row.id is not None, row.open) for row in wave_states(tmp_path / "batches")]
    known = edge not in ("intent", "uploaded", "submitted")
    assert states == ([] if edge == "intending" else [(known, True)])
    finish(server, api, tmp_path)
    assert len(server.desk.batches) == 1


@pytest.mark.slow
@pytest.mark.parametrize("api", ["responses", "messages"])
def test_random_moments(server: ProviderServer, tmp_path: Path, api: str) -> None:
    """Killed from outside at random moments, again and again: the same holds."""
    moments = random.Random(3)
    server.desk.tricks.polls = 40
    kills = 0
    for _ in range(4):
        with start(server, api, tmp_path) as job:
            seen = server.desk.listed + server.desk.polled
            wanted = seen + moments.randint(1, 8)
            while server.desk.listed + server.desk.polled < wanted and job.poll() is None:
                time.sleep(0.001)
            time.sleep(moments.uniform(0, 0.03))
            job.kill()
            kills += job.wait(60) == -signal.SIGKILL
    assert kills >= 3, "the job was done before it could be killed"
    finish(server, api, tmp_path)


@pytest.mark.slow
def test_two_processes(server: ProviderServer, tmp_path: Path) -> None:
    """A second process is refused a log in use, with a sentence that says by whom."""
    server.desk.tricks.polls = 10**9
    with start(server, "responses", tmp_path) as job:
        try:
            while server.desk.polled < 2 and job.poll() is None:
                time.sleep(0.005)
            with pytest.raises(WorkspaceBusy, match=f"in use by process {job.pid}"):
                BatchLog(tmp_path / "batches")
            (row,) = wave_states(tmp_path / "batches")
            assert (row.open, row.state, row.requests) == (True, "in_progress", CALLS)
        finally:
            job.kill()
    server.desk.tricks.polls = 1
    finish(server, "responses", tmp_path)
