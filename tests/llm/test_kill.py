"""kill -9 at every edge of the journal: our records against the server's own ledger."""

from __future__ import annotations

import json
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from exegete.llm import Journal
from exegete.llm.record import records
from tests.forked import Forked
from tests.llm import worker
from tests.provider import ProviderServer

CALLS = 24
CONCURRENCY = 4


@pytest.fixture
def server() -> Iterator[ProviderServer]:
    """Answers each question in its own way, and takes a moment for it."""
    with ProviderServer(lambda asked: f"answer to {asked.text}", delay_s=0.01) as running:
        yield running


def start(server: ProviderServer, folder: Path, *edge: str | int) -> Forked:
    """Start the job in a process of its own."""
    return Forked(worker.main, server.url, folder / "journal", folder / "results", CALLS, CONCURRENCY, *edge)


def journalled(folder: Path) -> Counter[str]:
    """How often each message is in the journal, by digest."""
    found = records(folder / "journal") if (folder / "journal").exists() else iter(())
    return Counter(record["messages"][0][1] for record in found)


def billed(server: ProviderServer) -> Counter[str]:
    """How often each message was billed, by digest."""
    return Counter(sha256(entry["asked"].encode()).hexdigest() for entry in server.ledger)


def check_finished(server: ProviderServer, folder: Path, kills: int) -> None:
    """After the last run all is there, once, and no more was paid twice than was in flight at kills."""
    results = json.loads((folder / "results").read_text())
    assert results == {f"question {n}": f"answer to question {n}" for n in range(CALLS)}
    assert len(journalled(folder)) == CALLS
    assert set(journalled(folder).values()) == {1}
    bill = billed(server)
    assert len(bill) == CALLS
    assert sum(bill.values()) - CALLS <= kills * CONCURRENCY


AT_CALLS = [("send", 9), ("reply", 9), ("write", 3), ("journalled", 9)]
COMPRESSING = [("part", 2), ("rename", 2), ("remove", 2)]
"""Edges in the background, at whatever moment of the calls."""


@pytest.mark.parametrize(("edge", "nth"), AT_CALLS + COMPRESSING)
def test_edges(server: ProviderServer, tmp_path: Path, edge: str, nth: int) -> None:
    """Killed at an edge and run again, what was journalled is not paid for again."""
    with start(server, tmp_path, edge, nth) as job:
        assert job.wait(60) == -signal.SIGKILL
    assert not (tmp_path / "results").exists()
    in_bill, in_journal = billed(server), journalled(tmp_path)
    # In the background the last call may have been answered by then; nobody has its result all the same.
    assert 0 < len(in_bill) <= CALLS - ((edge, nth) in AT_CALLS)
    assert set(in_journal) <= set(in_bill)
    assert len(in_bill) - len(in_journal) <= CONCURRENCY, "paid for, not journalled, and not in flight"
    if edge == "journalled":
        assert len(in_journal) >= nth
    left = {path.suffix for path in (tmp_path / "journal").glob("000002*")}
    if edge in ("part", "rename"):
        assert left == {".jsonl", ".part"}
    if edge == "remove":
        assert left == {".jsonl", ".zst"}
    with Journal(tmp_path / "journal") as journal:
        if (edge, nth) in AT_CALLS:
            assert journal.dropped == (edge == "write")
        assert journal.damaged == 0
        assert len(journal) == len(in_journal)
    assert not list((tmp_path / "journal").glob("*.part"))
    with start(server, tmp_path) as job:
        assert job.wait(60) == 0
    check_finished(server, tmp_path, kills=1)
    for digest in in_journal:
        assert billed(server)[digest] == 1, "a journalled reply was paid for again"


def test_random_moments(server: ProviderServer, tmp_path: Path) -> None:
    """Killed from outside at random moments, again and again: the same holds."""
    moments = random.Random(7)
    server.delay_s = 0.03
    kills = 0
    for _ in range(4):
        before = len(server.asked)
        with start(server, tmp_path) as job:
            wanted = before + moments.randint(1, 6)
            while len(server.asked) < wanted and job.poll() is None:
                time.sleep(0.001)
            time.sleep(moments.uniform(0, 0.06))
            job.kill()
            kills += job.wait(60) == -signal.SIGKILL
        kept = journalled(tmp_path)
        assert set(kept) <= set(billed(server))
        assert sum(billed(server).values()) - len(kept) <= kills * CONCURRENCY
    assert kills >= 3, "the job was done before it could be killed"
    with start(server, tmp_path) as job:
        assert job.wait(60) == 0
    check_finished(server, tmp_path, kills)
