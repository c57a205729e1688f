"""What lies on the desk: nobody gets another's card, nothing typed is lost, work is done once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from exegete.datastore.workspace import Workspace
from exegete.errors import UsageError, WorkspaceDamaged
from exegete.review.desk import CLAIM_S, LEASE_S, MOST_TRIES, Desk
from tests.review.labelled import key


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    """A clock that stands."""
    return Clock()


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """An empty workspace."""
    return Workspace.open_or_create(tmp_path / "w")


@pytest.fixture
def desk(workspace: Workspace, clock: Clock) -> Desk:
    """Its desk."""
    return Desk(workspace, clock)


def test_a_card_is_one_reviewers(desk: Desk, clock: Clock) -> None:
    """Until the lease runs out or is given back; asking again keeps it; another's can't be given back."""
    assert desk.lease(key(1), "ann") is None
    assert desk.lease(key(1), "bob") == "ann"
    assert (desk.leased("bob"), desk.leased("ann")) == ({key(1)}, set())
    clock.now += LEASE_S - 1
    assert desk.lease(key(1), "ann") is None
    clock.now += LEASE_S - 1
    assert desk.lease(key(1), "bob") == "ann"
    desk.release(key(1), "bob")
    assert desk.lease(key(1), "bob") == "ann"
    clock.now += 1
    assert desk.lease(key(1), "bob") is None
    assert desk.lease(key(1), "ann") == "bob"
    desk.release(key(1), "bob")
    assert desk.lease(key(1), "ann") is None
    assert desk.lease(key(2), "bob") is None


def test_of_many_who_ask_one_gets_it(workspace: Workspace) -> None:
    """Twenty at the same moment, each with a desk of their own: one has the card, and the others know who."""
    desks = {f"r{i}": Desk(workspace) for i in range(20)}
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda item: item[1].lease(key(0), item[0]), desks.items()))
    (winner,) = (name for name, other in zip(desks, found, strict=True) if other is None)
    assert set(found) == {None, winner}


def test_drafts_survive_a_kill(workspace: Workspace) -> None:
    """What a process saved before it was killed is there; each reviewer and card has a draft of its own."""
    program = (
        "import os, sys, signal; from pathlib import Path; from exegete.datastore.workspace import Workspace;"
        "from exegete.review.desk import Desk; from exegete.review.keys import Key;"
        "desk = Desk(Workspace.open(Path(sys.argv[1])));"
        "[desk.save_draft(Key('h', 1, '+'), 'ann', text) for text in ('half', 'half a la')];"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    ended = subprocess.run([sys.executable, "-c", program, str(workspace.root)], check=False, env=os.environ)
    assert ended.returncode == -signal.SIGKILL
    desk = Desk(workspace)
    assert desk.draft(key(1), "ann") == "half a la"
    assert desk.draft(key(1), "bob") is desk.draft(key(2), "ann") is None
    desk.drop_draft(key(1), "ann")
    assert desk.draft(key(1), "ann") is None


def test_work_goes_through_its_states(desk: Desk, clock: Clock) -> None:
    """Queued, running with progress, done with a result; the oldest first, and nobody else's to finish."""
    first = desk.add_work("rescore", key(1), "ann", "a label")
    clock.now += 1
    second = desk.add_work("rerun", key(2), "bob", "a hint", run="r")
    assert desk.add_work("rescore", key(1), "eve", "a label") == first, "the same, while it waits, is one"
    taken = desk.next_work("w1")
    assert taken is not None
    assert (taken.id, taken.kind, taken.key, taken.text, taken.state) == (
        first,
        "rescore",
        key(1),
        "a label",
        "running",
    )
    assert desk.say(first, "w1", "half done")
    assert not desk.say(first, "w2", "mine")
    assert desk.of_card(key(1), "ann").work[0].progress == "half done"
    other = desk.next_work("w2")
    assert other is not None
    assert (other.id, other.run) == (second, "r")
    assert desk.next_work("w3") is None
    assert not desk.finish_work(first, "w2", "done", "not mine")
    assert desk.finish_work(first, "w1", "done", "accepted", {"score": 0.7})
    assert desk.finish_work(second, "w2", "failed", "no model")
    assert [(w.id, w.state, w.result) for w in desk.work()] == [
        (second, "failed", None),
        (first, "done", {"score": 0.7}),
    ]
    assert desk.add_work("rescore", key(1), "ann", "a label") != first


def test_the_work_of_a_dead_worker_is_taken_over(desk: Desk, clock: Clock) -> None:
    """After it was silent for long enough, and not before; work that kills every worker fails in the end."""
    id = desk.add_work("rescore", key(1), "ann", "a label")
    for i in range(MOST_TRIES):
        taken = desk.next_work(f"w{i}")
        assert taken is not None
        assert taken.tries == i + 1
        clock.now += CLAIM_S - 1
        assert desk.say(id, f"w{i}")
        clock.now += CLAIM_S - 1
        assert desk.next_work("other") is None
        clock.now += 2
    assert desk.next_work("other") is None
    (work,) = desk.work()
    assert (work.state, "ended 3 times" in work.progress) == ("failed", True)


def test_what_waits_for_something_lets_others_pass(desk: Desk, clock: Clock) -> None:
    """Work that is put back comes after what was not tried, says why it waits, and was not tried in vain."""
    first = desk.add_work("rerun", key(1), "ann", "a hint")
    second = desk.add_work("rescore", key(2), "ann", "a label")
    assert desk.next_work("w") is not None
    desk.put_back(first, "w", "waits: a job is running")
    taken = desk.next_work("w")
    assert taken is not None
    assert taken.id == second
    clock.now += 1
    again = desk.next_work("w")
    assert again is not None
    assert (again.id, again.tries) == (first, 1)


def test_saved_queues(desk: Desk) -> None:
    """By name; the last of a name holds, and one without a name or a query is refused."""
    desk.save_queue("b", "SELECT 2", "ann")
    desk.save_queue("a", "SELECT 1", "ann")
    desk.save_queue("b", "SELECT 3", "bob")
    assert desk.queues() == {"a": "SELECT 1", "b": "SELECT 3"}
    desk.drop_queue("a")
    assert desk.queues() == {"b": "SELECT 3"}
    for name, sql in ((" ", "SELECT 1"), ("a", " ")):
        with pytest.raises(UsageError, match="give both"):
            desk.save_queue(name, sql, "ann")


def test_a_damaged_desk_says_so(workspace: Workspace) -> None:
    """It holds nothing that can't be lost, and says what to do."""
    (workspace.root / "review.sqlite").write_bytes(b"no database at all, but long enough to look like one")
    with pytest.raises(WorkspaceDamaged, match=r"delete it; it holds drafts and queued work alone"):
        Desk(workspace)
