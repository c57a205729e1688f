"""Queued work on evidence of known truth: scores as a job's, hints that win when they are better."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from exegete.datastore.store import Store
from exegete.datastore.workspace import Workspace
from exegete.llm import Request
from exegete.review import work as working
from exegete.review.desk import Desk, Work
from exegete.review.keys import Key
from exegete.review.work import Worker
from tests.agent.competent import WRONG
from tests.agent.harness import Runner, competently, known_to_be_able, purpose, rows
from tests.agent.planted import TRUTH


def feature(workspace: Workspace, index: int) -> Key:
    """The key of a planted feature."""
    return Key(workspace.harvests()[0], index, "+")


def do(workspace: Workspace, desk: Desk) -> Work:
    """Do the next piece of work; how it ended."""
    known_to_be_able(workspace, "scripted:function")
    asyncio.run(Worker(workspace, desk, "w").once())
    return desk.work()[0]


def labels(workspace: Workspace, index: int) -> dict[str, Any]:
    """A feature's row of `labels`."""
    (row,) = rows(workspace, f"SELECT * FROM labels WHERE feature_index = {index}")
    return row


def test_a_label_is_rescored_as_the_run_would(run: Runner) -> None:
    """The run's own words get the run's own score; the verdict is what a job would have said."""
    run(features="8", name="night")
    desk = Desk(run.workspace)
    desk.add_work("rescore", feature(run.workspace, 8), "ann", TRUTH[8])
    done = do(run.workspace, desk)
    found = labels(run.workspace, 8)
    assert done.state == "done"
    assert done.result is not None
    assert (done.result["score"], done.result["low"], done.result["why"]) == (
        found["score"],
        found["low"],
        found["why"],
    )
    assert done.progress == f"{found['status']}: {found['why']}"
    assert done.result["looks"] == 2
    assert asyncio.run(Worker(run.workspace, desk).once()) is None


def test_a_hint_is_tried_beside_the_explainers(run: Runner) -> None:
    """A wrong hint is tried, scored and not chosen; only the feature it is about is labelled again."""
    run(features="8,9", name="night")
    before = labels(run.workspace, 8)
    desk = Desk(run.workspace)
    desk.add_work("rerun", feature(run.workspace, 8), "ann", WRONG, run="night")
    done = do(run.workspace, desk)
    assert done.state == "done", done.progress
    after = labels(run.workspace, 8)
    assert (after["label"], after["score"]) == (before["label"], before["score"])
    assert after["run"] != "night"
    assert labels(run.workspace, 9)["run"] == "night"
    tried = rows(run.workspace, f"SELECT label, author FROM scores WHERE run = '{after['run']}'")
    assert {"label": WRONG, "author": "person"} in tried
    (parameters,) = rows(
        run.workspace, f"SELECT parameters->>'hint' AS hint FROM runs WHERE run = '{after['run']}'"
    )
    assert parameters["hint"] == WRONG


def test_a_right_hint_wins(run: Runner) -> None:
    """Where the run chose a poor label, a person's better one is chosen, and its author says so."""

    def mistaken(request: Request) -> str:
        if purpose(request) == "simulate":
            return competently(request)
        return competently(request).replace(TRUTH[8].split('"')[1], "nothing")

    run(mistaken, features="8", name="night")
    poor = labels(run.workspace, 8)
    assert poor["label"] != TRUTH[8]
    desk = Desk(run.workspace)
    desk.add_work("rerun", feature(run.workspace, 8), "ann", TRUTH[8])
    done = do(run.workspace, desk)
    assert done.state == "done", done.progress
    better = labels(run.workspace, 8)
    assert (better["label"], better["author"], poor["status"]) == (TRUTH[8], "person", "rejected")
    assert better["score"] > 0.9


def test_work_waits_while_a_job_runs(run: Runner) -> None:
    """It goes back with the reason, and is done once the job has ended; told to stop, a worker stops."""
    run(features="8", name="night")
    desk = Desk(run.workspace)
    desk.add_work("rerun", feature(run.workspace, 8), "ann", TRUTH[8])
    with run.workspace.job_lock():
        waits = do(run.workspace, desk)
    assert (waits.state, waits.tries) == ("queued", 0)
    assert "another job is running" in waits.progress

    async def until_done() -> None:
        stop = asyncio.Event()
        worker = asyncio.create_task(Worker(run.workspace, desk).run(stop))
        for _ in range(200):
            await asyncio.sleep(0.05)
            if desk.work()[0].state == "done":
                break
        stop.set()
        await asyncio.wait_for(worker, 10)

    asyncio.run(until_done())
    assert desk.work()[0].state == "done"


def test_what_goes_wrong_is_said(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    """A label that can't be scored, a run that is gone, a bug: failed, with a sentence; work goes on."""
    run(features="8", name="night")
    desk, eight = Desk(run.workspace), feature(run.workspace, 8)
    desk.add_work("rescore", eight, "ann", " ")
    assert "can't be scored" in do(run.workspace, desk).progress
    desk.add_work("rescore", eight, "ann", "a label", run="gone")
    assert "there is no run 'gone'" in do(run.workspace, desk).progress
    desk.add_work("rescore", Key("h", 99, "+"), "ann", "a label")
    assert "no result yet" in do(run.workspace, desk).progress

    async def broken(*_: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(working, "score_person", broken)
    desk.add_work("rescore", eight, "ann", "a label")
    failed = do(run.workspace, desk)
    assert (failed.state, failed.progress) == ("failed", "RuntimeError: a bug")
    assert len(Store(run.workspace.labels).read("SELECT * FROM store.labels WHERE author = 'person'")) == 0


def test_a_worker_that_is_stopped_puts_its_work_back(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cancelled in the middle, the piece waits again for whoever comes."""
    run(features="8", name="night")
    desk = Desk(run.workspace)
    desk.add_work("rescore", feature(run.workspace, 8), "ann", "a label")

    async def stop_in_the_middle() -> None:
        begun = asyncio.Event()

        async def long(*_: object) -> None:
            begun.set()
            await asyncio.sleep(60)

        monkeypatch.setattr(working, "score_person", long)
        task = asyncio.create_task(Worker(run.workspace, desk).once())
        await asyncio.wait_for(begun.wait(), 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(stop_in_the_middle())
    (work,) = desk.work()
    assert (work.state, work.tries) == ("queued", 0)


def test_stopping_does_not_wait_for_the_work(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker in the middle of something long ends at once when it is told to, and leaves it queued."""
    run(features="8", name="night")
    desk = Desk(run.workspace)
    desk.add_work("rescore", feature(run.workspace, 8), "ann", "a label")

    async def stop_in_the_middle() -> None:
        begun, stop = asyncio.Event(), asyncio.Event()

        async def long(*_: object) -> None:
            begun.set()
            await asyncio.sleep(60)

        monkeypatch.setattr(working, "score_person", long)
        worker = asyncio.create_task(Worker(run.workspace, desk).run(stop))
        await asyncio.wait_for(begun.wait(), 10)
        stop.set()
        await asyncio.wait_for(worker, 10)

    asyncio.run(stop_in_the_middle())
    assert desk.work()[0].state == "queued"
