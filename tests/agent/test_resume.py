"""kill -9 at any moment, run it again: the same tables, and nothing that was journalled is paid for twice."""

from __future__ import annotations

import random
import shutil
import signal
import time
from collections import Counter
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from exegete.datastore.workspace import Workspace
from exegete.llm.record import records
from tests.agent.harness import results, rows, run_job, statuses
from tests.agent.processes import LIMIT_S, competent_server, running, wait_until, words
from tests.provider import Act, ProviderServer

CONCURRENCY = 6
KILLS = 5


@pytest.fixture(scope="module")
def server() -> Iterator[ProviderServer]:
    """A provider with a ledger of its own, in a process that no test kills."""
    with competent_server(delay_s=0.01) as found:
        yield found


@pytest.fixture(scope="module")
def uninterrupted(
    server: ProviderServer, template: Path, tmp_path_factory: pytest.TempPathFactory
) -> Workspace:
    """The same job against the same server, run in one go."""
    root = tmp_path_factory.mktemp("reference") / "workspace"
    workspace = Workspace.open(shutil.copytree(template, root))
    run_job(workspace, llm=f"openai:m@{server.url}/v1", name="night")
    return workspace


def journalled(workspace: Workspace) -> Counter[str]:
    """How often each question is in the journal, by its digest."""
    return Counter(record["messages"][-1][1] for record in records(workspace.journal))


def billed(server: ProviderServer, since: int) -> Counter[str]:
    """How often each question was billed since a position of the ledger, by its digest."""
    return Counter(sha256(entry["asked"].encode()).hexdigest() for entry in server.ledger[since:])


def settle(server: ProviderServer) -> None:
    """Let the server finish what a killed client had asked for: it bills after its delay, client or none."""
    while True:
        before = len(server.ledger), len(server.asked)
        time.sleep(0.05)
        if not server.under_way and before == (len(server.ledger), len(server.asked)):
            return


def check_the_bill(server: ProviderServer, workspace: Workspace, since: int, kills: int) -> None:
    """Everything is in the journal once, and what was paid twice had been in flight at a kill."""
    in_journal, in_bill = journalled(workspace), billed(server, since)
    assert set(in_journal.values()) == {1}
    assert set(in_journal) == set(in_bill)
    assert in_bill.total() - len(in_bill) <= kills * CONCURRENCY


@pytest.mark.slow
def test_killed_at_random_moments(
    server: ProviderServer, workspace: Workspace, uninterrupted: Workspace
) -> None:
    """Killed five times and run to its end, a job has the tables of an uninterrupted one, row for row.

    After each kill: what was journalled then is not asked for again, ever.
    """
    begin, total = len(server.ledger), len(list(records(uninterrupted.journal)))
    rng = random.Random(20)
    moments = sorted(rng.sample(range(5, total - 25), KILLS))
    arguments = words(workspace, server.url, name="night", concurrency=CONCURRENCY)
    kept: list[tuple[int, set[str]]] = []
    for moment in moments:
        started = len(server.ledger)
        with running(arguments) as job:
            wait_until(lambda moment=moment: len(server.ledger) - begin >= moment, job)
            time.sleep(rng.uniform(0, 0.04))
            job.send_signal(signal.SIGKILL)
            assert job.wait(LIMIT_S) == -signal.SIGKILL
        settle(server)
        known = set(journalled(workspace))
        assert known <= set(billed(server, begin))
        assert len(set(billed(server, started)) - known) <= CONCURRENCY, "paid, lost, and not in flight"
        kept.append((len(server.ledger), known))
    assert statuses(workspace).total() < 20, "killed before the end"
    run_job(workspace, llm=f"openai:m@{server.url}/v1", name="night")
    for position, known in kept:
        assert not known & set(billed(server, position)), "journalled, and paid for again"
    check_the_bill(server, workspace, begin, KILLS)
    assert results(workspace) == results(uninterrupted)
    keys = [row["key"] for row in rows(workspace, "SELECT key FROM calls")]
    assert sorted(keys) == sorted(row["key"] for row in rows(uninterrupted, "SELECT key FROM calls"))


AT_SECOND_FLUSH = """
import os, signal
from exegete.agent import recorder
recorder.FLUSH_EVERY_S = 0.1
real, left = recorder.Recorder._insert_calls, 2
def dying(self, argument):
    global left
    left -= 1
    result = real(self, argument)
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return result
recorder.Recorder._insert_calls = dying
"""
"""Run in the job's process: it dies when the rows of its second flush are inserted and not committed."""


@pytest.mark.slow
def test_killed_during_a_flush(
    server: ProviderServer, workspace: Workspace, uninterrupted: Workspace
) -> None:
    """The first flush is there as a whole, nothing of the second is, and the next sitting completes it."""
    begin = len(server.ledger)
    arguments = words(workspace, server.url, name="night", concurrency=CONCURRENCY)
    with running(arguments, AT_SECOND_FLUSH) as job:
        assert job.wait(LIMIT_S) == -signal.SIGKILL
    settle(server)
    position, known = len(server.ledger), set(journalled(workspace))
    assert 0 < statuses(workspace).total() < 20
    for row in rows(workspace, "SELECT * FROM store.outcomes WHERE score IS NOT NULL"):
        of_label = f"run = 'night' AND label_id = '{row['label_id']}'"
        assert len(rows(workspace, f"SELECT 1 FROM store.labels WHERE {of_label}")) == 1
        assert len(rows(workspace, f"SELECT 1 FROM store.scores WHERE {of_label} AND split = 'report'")) == 2
    run_job(workspace, llm=f"openai:m@{server.url}/v1", name="night")
    assert not known & set(billed(server, position))
    check_the_bill(server, workspace, begin, 1)
    assert results(workspace) == results(uninterrupted)


AT_THIRD_NULL = """
import os, signal
from exegete.agent import nulls
real, left = nulls.NullScorer.score, 3
async def dying(self, null):
    global left
    left -= 1
    case = await real(self, null)
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return case
nulls.NullScorer.score = dying
"""
"""Run in the job's process: it dies with three nulls scored and none of them written."""


@pytest.mark.slow
def test_killed_in_the_null_phase(server: ProviderServer, workspace: Workspace, template: Path) -> None:
    """Features are there with their q-values, the run says what is left, which alone is paid for later."""
    given = {"llm": f"openai:m@{server.url}/v1", "name": "night", "nulls": 100, "candidates": 1, "rounds": 0}
    other = Workspace.open(shutil.copytree(template, workspace.root.with_name("other")))
    run_job(other, **given)
    begin = len(server.ledger)
    arguments = words(workspace, server.url, **{k: v for k, v in given.items() if k != "llm"}, concurrency=1)
    with running(arguments, AT_THIRD_NULL) as job:
        assert job.wait(LIMIT_S) == -signal.SIGKILL
    settle(server)
    known, found, whole = set(journalled(workspace)), results(workspace), results(other)
    assert all(found[table] == whole[table] for table in whole if table != "nulls")
    (said,) = rows(workspace, "SELECT nulls_wanted, coalesce(nulls_done, 0) AS done FROM runs")
    assert (said["nulls_wanted"], said["done"]) == (6, 0)
    position = len(server.ledger)
    run_job(workspace, **given)
    assert not known & set(billed(server, position))
    check_the_bill(server, workspace, begin, 1)
    assert results(workspace) == whole


@pytest.mark.slow
def test_interrupted_once_it_drains_and_twice_it_leaves(
    server: ProviderServer, workspace: Workspace, uninterrupted: Workspace
) -> None:
    """SIGTERM: what is under way is finished, recorded and journalled, exit 130, nothing is paid for twice.

    SIGINT does the same, and a second one ends it at once, by the signal itself (130 in a shell). It goes on
    from there too.
    """
    begin = len(server.ledger)
    arguments = words(workspace, server.url, name="night", concurrency=CONCURRENCY)
    with running(arguments) as job:
        wait_until(lambda: len(server.ledger) - begin >= 20, job)
        job.send_signal(signal.SIGTERM)
        printed, complaints = job.communicate(timeout=LIMIT_S)
    assert job.returncode == 130
    assert "stopping: finishing what is under way" in complaints
    left = 20 - statuses(workspace).total()
    assert 0 < left < 20
    assert f"{left} features are left: run the same command to go on" in printed
    assert statuses(workspace).keys() <= statuses(uninterrupted).keys()
    assert billed(server, begin) == journalled(workspace), "drained"

    server.acts += [Act(delay_s=30.0, cut="before")] * CONCURRENCY
    asked = len(server.asked)
    with running(arguments) as job:
        wait_until(lambda: len(server.asked) > asked, job)
        job.send_signal(signal.SIGINT)
        time.sleep(0.3)
        assert job.poll() is None, "it waits for what is under way"
        job.send_signal(signal.SIGINT)
        assert job.wait(5) == -signal.SIGINT
    server.acts.clear()
    assert workspace.running_job() is None
    run_job(workspace, llm=f"openai:m@{server.url}/v1", name="night")
    assert set(billed(server, begin).values()) == {1}, "those it left were never billed"
    assert results(workspace) == results(uninterrupted)
