"""Waiting for a time of day, with clocks and sleeps that the tests own."""

from __future__ import annotations

import asyncio
from datetime import datetime, time, timedelta

from hypothesis import given
from hypothesis import strategies as st

from exegete.agent.deadline import next_time, wait_until
from exegete.datastore.workspace import Workspace
from tests.agent.harness import Runner, competently, statuses


@given(st.datetimes(), st.times())
def test_the_next_time(now: datetime, until: time) -> None:
    """It is in the future, at most a day away, and shows that time of day."""
    if now > datetime.max - timedelta(days=2):
        return
    moment = next_time(until, now)
    assert timedelta(0) < moment - now <= timedelta(days=1)
    assert moment.time() == until


class Clock:
    """Local time, which some sleeps set to something else, as a person or a laptop's lid does."""

    def __init__(self, now: datetime, jumps: dict[int, timedelta]) -> None:
        self.now, self._jumps, self.sleeps = now, jumps, list[float]()

    async def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.now += timedelta(seconds=seconds) + self._jumps.get(len(self.sleeps), timedelta(0))


def waited(jumps: dict[int, timedelta]) -> Clock:
    """A clock after waiting from 06:58 for 07:00."""
    now = datetime(2026, 11, 21, 6, 58)
    clock = Clock(now, jumps)
    asyncio.run(wait_until(next_time(time(7), now), clock=lambda: clock.now, sleep=clock.sleep))
    return clock


def test_it_waits_for_the_clock_on_the_wall() -> None:
    """Two minutes in short sleeps; a lid closed for hours ends it at once, a clock set back prolongs it."""
    assert sum(waited({}).sleeps) == 120
    assert len(waited({1: timedelta(hours=3)}).sleeps) == 1
    assert sum(waited({2: -timedelta(minutes=10)}).sleeps) == 720
    assert max(waited({}).sleeps) <= 20


def test_a_job_that_drains_at_its_time(run: Runner, workspace: Workspace) -> None:
    """No further feature is started, those under way are finished, and it is no interruption."""
    now = (datetime.now() + timedelta(seconds=1.0)).time()
    report = run(_slowly, features="4-12", concurrency=1, until=now)
    assert not report.interrupted
    assert any(message.startswith(f"it is {now:%H:%M}: finishing") for message in run.messages)
    done = statuses(workspace)
    assert 0 < done.total() < 9
    assert report.left == 9 - done.total()
    assert done["failed"] == 0
    run(features="4-12")
    assert statuses(workspace).total() == 9


def _slowly(request: object) -> str:
    import time as clocks

    from exegete.llm import Request

    assert isinstance(request, Request)
    clocks.sleep(0.06)
    return competently(request)
