"""Clocks that jump by a day, either way: nothing changes but timestamps."""

from __future__ import annotations

import asyncio
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from exegete.datastore.workspace import Workspace
from exegete.llm import Account, Reply, parse
from exegete.llm.openai import OpenAI
from exegete.llm.retry import Retrying
from exegete.llm.throttle import Paced
from tests.agent.harness import Runner, competently, results, rows, run_job
from tests.agent.processes import ROOT, competent_server
from tests.llm.fakes import request
from tests.provider import Act, ProviderServer

DAY_S = 86_400.0


@contextmanager
def jumping(by: Callable[[], float]) -> Iterator[list[datetime]]:
    """Have the wall clock, wherever we look at it, be wrong by so many seconds; the times that were told."""
    told: list[datetime] = []
    wall = time.time

    class AnyDatetime(type):
        def __instancecheck__(cls, instance: object) -> bool:
            return isinstance(instance, datetime)

    class Jumping(datetime, metaclass=AnyDatetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            told.append(datetime.fromtimestamp(wall() + by(), tz))
            return told[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "time", lambda: wall() + by())
        for name, module in list(sys.modules.items()):
            if name.startswith("exegete.") and getattr(module, "datetime", None) is datetime:
                patch.setattr(module, "datetime", Jumping)
        yield told


def back_and_forth() -> Callable[[], float]:
    """A day ahead, a day back, and so on, changing with every look."""
    looks = iter(range(10**9))
    return lambda: DAY_S * (1 if next(looks) % 2 else -1)


def test_what_makes_prompts_and_scores_looks_at_no_clock() -> None:
    """Nor does it draw numbers without a seed."""
    words = ("datetime.now", "utcnow", "time.time", "monotonic", "perf_counter", "default_rng()", "uuid")
    for folder in ("datastore", "prompts", "simulators", "explainers", "scorers"):
        files = list((ROOT / folder).rglob("*.py"))
        assert files
        for file in files:
            text = file.read_text(encoding="utf-8")
            assert not [word for word in words if word in text], file


def test_a_job_under_a_jumping_clock(run: Runner, template: Path, tmp_path: Path) -> None:
    """Its results are those of a job with a steady clock; its records and rows bear the wrong dates."""
    run(competently, features="0-10")
    other = Runner(Workspace.open(shutil.copytree(template, tmp_path / "other")), run._patch)
    with jumping(back_and_forth()) as told:
        other(competently, features="0-10")
    assert len(told) > 50
    assert results(other.workspace) == results(run.workspace)
    days = {row["day"] for row in rows(other.workspace, "SELECT called_at::DATE AS day FROM calls")}
    assert len(days) == 2, "the clock was looked at, and did jump"


def test_waits_under_a_jumping_clock(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """A storm of 429s whose waits are dates: they are measured by the server's own clock, not by ours."""
    waits: list[float | None] = []
    real = Account.too_many

    def too_many(self: Account, attempt: Any, rates: Any, wait_s: float | None) -> None:
        waits.append(wait_s)
        real(self, attempt, rates, wait_s)

    monkeypatch.setattr(Account, "too_many", too_many)
    now = datetime.now(UTC)
    dates = {"date": format_datetime(now, usegmt=True)}
    dates["retry-after"] = format_datetime(now + timedelta(seconds=1), usegmt=True)
    started = time.monotonic()
    with competent_server() as server, jumping(back_and_forth()):
        server.acts += [Act(status=429, headers=dates)] * 4
        report = run_job(workspace, llm=f"openai:m@{server.url}/v1", features="8-11", concurrency=4)
        assert len(server.asked) == len(server.ledger) + 4
    assert report.progress.by_status == {"accepted": 4}
    assert waits == [1.0] * 4
    assert 1.0 <= time.monotonic() - started < 30.0


@pytest.mark.parametrize(("by", "longest"), [(DAY_S, 2.0), (-DAY_S, 132.0)])
def test_a_date_without_the_servers_own(by: float, longest: float) -> None:
    """Without a Date header our clock is all there is: a wait is capped, and one in the past is none."""
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    async def main() -> Reply:
        account = Account(1, clock=lambda: sum(waits), sleep=sleep)
        provider = OpenAI(parse(f"openai:m@{server.url}/v1"))
        llm = Retrying(Paced(provider, account), sleep=sleep)
        reply = await llm.complete(request(model=str(provider.name)))
        await llm.close()
        return reply

    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=1), usegmt=True)
    with ProviderServer() as server, jumping(lambda: by):
        server.acts.append(Act(status=429, headers={"retry-after": soon}))
        assert asyncio.run(main()).attempts == 2
    assert 0.5 <= sum(waits) <= longest
