"""A whole job against a server of whose calls one in twenty fails: the same numbers, and balanced books."""

from __future__ import annotations

import asyncio
import re
import shutil
from collections import Counter
from functools import partial
from pathlib import Path

import pytest
from starlette.types import Receive, Scope, Send

from exegete import llm
from exegete.datastore.workspace import Workspace
from exegete.llm.record import records
from tests.agent import competent
from tests.agent.harness import FunctionLLM, competently, results, rows, run_job
from tests.provider import Act, Asked, ProviderServer
from tests.reliability.many import make_workspace

CONCURRENCY = 256
N_FEATURES = 260
CROWD = 200
"""Requests that the server lets come before it answers any: so many are there at once, however busy it is."""
ONE_IN = 20

FAULTS: tuple[tuple[str, Act], ...] = (
    ("429", Act(status=429, headers={"retry-after-ms": "20"})),
    ("500", Act(status=500)),
    ("529", Act(status=529)),
    ("reset, not billed", Act(cut="before")),
    ("reset, billed", Act(cut="after")),
    ("mid-body", Act(cut="mid-body")),
    ("gzip", Act(cut="gzip")),
    ("malformed body", Act(body="{")),
    ("malformed text", Act()),
)
LOST = frozenset({"reset, billed", "mid-body", "gzip", "malformed body"})
"""What the server bills and we never see."""
AMBIGUOUS = LOST | {"reset, not billed"}


class FaultyServer(ProviderServer):
    """A competent model; one in twenty requests, chosen by what it asks, fails at its first arrival."""

    def __init__(self) -> None:
        super().__init__(self._answer, delay_s=0.02)
        self._server.config.timeout_keep_alive = 600
        self.faults: Counter[str] = Counter()
        self._seen_by: Counter[str] = Counter()
        self._arrived, self._crowd = 0, asyncio.Event()

    async def handle(self, asked: Asked, scope: Scope, receive: Receive, send: Send) -> None:
        self._arrived += 1
        if self._arrived == CROWD:
            self._crowd.set()
        await self._crowd.wait()
        await super().handle(asked, scope, receive, send)

    def fault_of(self, asked: Asked) -> tuple[str, Act] | None:
        """How a request is to fail, if it is: a function of its words alone."""
        code = int(asked.digest[:12], 16)
        return FAULTS[code // ONE_IN % len(FAULTS)] if code % ONE_IN == 0 else None

    def _act_of(self, asked: Asked) -> Act:
        fault = self.fault_of(asked)
        self._seen_by[asked.digest] += 1
        if fault is None or self._seen_by[asked.digest] > 1:
            return Act()
        self.faults[fault[0]] += 1
        return fault[1]

    def _answer(self, asked: Asked) -> str:
        good = competent.answer(asked.turns[0][1])
        fault = self.fault_of(asked)
        if fault is None or fault[0] != "malformed text" or len(asked.turns) > 1:  # asked again, it is well
            return good
        return good[: 2 * len(good) // 3]  # whoever filled in the rest would make something of it


def without_spending(tables: dict[str, list[str]]) -> dict[str, list[str]]:
    """Results without what they took: a reply that can't be read is asked for again."""
    outcomes = [re.sub(r"'tokens_spent': \d+", "", row) for row in tables["outcomes"]]
    return tables | {"outcomes": sorted(outcomes)}


def job(workspace: Workspace, server: ProviderServer) -> None:
    """Label everything, with a call under way for nearly every feature."""
    report = run_job(
        workspace,
        llm=f"openai:m@{server.url}/v1",
        concurrency=CONCURRENCY,
        candidates=1,
        rounds=0,
        name="night",
    )
    assert (report.left, report.interrupted) == (0, False)


@pytest.mark.slow
def test_one_call_in_twenty_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At 256 features at once, under 429s, 5xx, resets, torn and malformed replies.

    Every feature has a verdict and no number differs from those of a job without faults. Every reply that
    arrived is journalled and in `calls` once, and equals what was billed for it; the bill exceeds our books
    by the replies that were lost on the way, no more and no fewer.
    """
    monkeypatch.setattr("exegete.llm.Account", partial(llm.Account, first=CONCURRENCY))
    monkeypatch.setattr("exegete.llm.account._PAUSE_S", 0.02)
    monkeypatch.setattr("exegete.llm.retry._LONGEST_BACKOFF_S", 0.05)
    workspace = make_workspace(tmp_path, N_FEATURES)
    undisturbed = Workspace.open(shutil.copytree(workspace.root, tmp_path / "undisturbed"))
    with FaultyServer() as server:
        job(workspace, server)
        with monkeypatch.context() as patch:
            patch.setitem(llm.PROVIDERS, "openai", lambda name: FunctionLLM(competently))
            job(undisturbed, server)
    assert server.peak >= CROWD
    assert set(server.faults) == {name for name, _ in FAULTS}, "every kind of failure happened"
    assert server.faults.total() > len(server.asked) / ONE_IN / 1.5, "one in twenty, more or less"

    expected, found = results(undisturbed), results(workspace)
    assert len(found["outcomes"]) == N_FEATURES
    assert not [row for row in found["outcomes"] if "'status': 'failed'" in row]
    assert without_spending(found) == without_spending(expected)

    journal = list(records(workspace.journal))
    lost = sum(server.faults[name] for name in LOST)
    assert len(server.ledger) == len(journal) + lost
    calls = rows(workspace, "SELECT * FROM store.calls WHERE finish != 'ambiguous'")
    assert sorted(call["key"] for call in calls) == sorted(record["key"] for record in journal)
    billed = Counter((entry["input_tokens"], entry["output_tokens"]) for entry in server.ledger)
    booked = Counter((call["input_tokens"], call["output_tokens"]) for call in calls)
    assert booked <= billed
    ambiguous = rows(workspace, "SELECT * FROM store.calls WHERE finish = 'ambiguous'")
    assert len(ambiguous) == sum(server.faults[name] for name in AMBIGUOUS)
