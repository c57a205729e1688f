"""What can become of one request on its way, by all three wire protocols and through the whole stack."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from exegete import llm as package
from exegete.errors import LLMStop, LLMUnavailable
from exegete.llm import LLM, Account, Budget, Journal, ModelName, ambiguous_calls, open_llm, parse
from exegete.llm.account import account_key
from exegete.llm.anthropic import Anthropic
from exegete.llm.openai import OpenAI
from exegete.llm.record import records
from tests.llm.fakes import request
from tests.provider import Act, ProviderServer

APIS = ("chat", "responses", "messages")


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits before another attempt are of milliseconds."""
    monkeypatch.setattr("exegete.llm.retry._LONGEST_BACKOFF_S", 0.002)
    monkeypatch.setattr("exegete.llm.account._PAUSE_S", 0.002)


@pytest.fixture(scope="module")
def running() -> Iterator[ProviderServer]:
    """One server for all tests here."""
    with ProviderServer() as found:
        yield found


@pytest.fixture
def server(running: ProviderServer) -> ProviderServer:
    """The server, as new."""
    running.acts.clear()
    running.asked.clear()
    running.ledger.clear()
    return running


@pytest.fixture(params=APIS)
def api(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each of the three APIs."""
    monkeypatch.setenv("OPENAI_API_KEY", "key-of-openai")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "key-of-anthropic")
    return str(request.param)


def pointed_at(url: str, api: str, patch: pytest.MonkeyPatch, timeout_s: float = 20.0) -> str:
    """Have the providers talk to a server by one of the APIs; the model's name."""

    def openai(name: ModelName) -> LLM:
        return OpenAI(name, timeout_s=timeout_s, official_url=f"{url}/v1")

    def anthropic(name: ModelName) -> LLM:
        return Anthropic(name, timeout_s=timeout_s, official_url=url)

    patch.setitem(package.PROVIDERS, "openai", openai)
    patch.setitem(package.PROVIDERS, "anthropic", anthropic)
    return {"chat": f"openai:m@{url}/v1", "responses": "openai:m", "messages": "anthropic:m"}[api]


def sitting(
    name: str,
    folder: Path,
    work: Callable[[LLM], Awaitable[object]],
    *,
    concurrency: int = 4,
    budget: Budget | None = None,
) -> tuple[Account, int]:
    """Open a journal and a model, work with it, close both: the account, and ambiguous attempts."""

    async def main() -> tuple[Account, int]:
        account = Account(concurrency, first=concurrency)
        with Journal(folder) as journal:
            llm = open_llm(name, journal=journal, accounts={account_key(parse(name)): account}, budget=budget)
            try:
                await work(llm)
            finally:
                await llm.close()
            return account, ambiguous_calls(llm)

    return asyncio.run(main())


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 529])
def test_tried_again(
    api: str, status: int, server: ProviderServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three failures cost three requests of ours, none of the SDK's, and nothing on the bill."""
    server.acts += [Act(status=status)] * 3
    name = pointed_at(server.url, api, monkeypatch)
    _, ambiguous = sitting(name, tmp_path, lambda llm: llm.complete(request(model=name)))
    assert (len(server.asked), len(server.ledger), ambiguous) == (4, 1, 0)
    (record,) = records(tmp_path)
    assert record["reply"]["attempts"] == 4


@pytest.mark.parametrize("status", [400, 401, 402, 403, 413, 422])
def test_not_tried_again(
    api: str, status: int, server: ProviderServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One request, one sentence; what concerns every other call too ends the job."""
    server.acts.append(Act(status=status))
    name = pointed_at(server.url, api, monkeypatch)
    expected = LLMStop if status in (401, 402, 403) else LLMUnavailable
    with pytest.raises(LLMUnavailable if expected is LLMUnavailable else LLMStop) as caught:
        sitting(name, tmp_path, lambda llm: llm.complete(request(model=name)))
    assert type(caught.value) is expected
    assert "\n" not in str(caught.value)
    assert (len(server.asked), len(server.ledger), len(list(records(tmp_path)))) == (1, 0, 0)


def test_a_spend_limit(
    api: str, server: ProviderServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A 429 that says that the money is gone is no rate limit: one request, and the job ends."""
    said = {"message": "You exceeded your current quota", "type": "insufficient_quota"}
    server.acts.append(Act(status=429, headers={"retry-after": "1"}, body={"error": said}))
    name = pointed_at(server.url, api, monkeypatch)
    with pytest.raises(LLMStop, match="no credit left, or has reached its spend limit"):
        sitting(name, tmp_path, lambda llm: llm.complete(request(model=name)))
    assert len(server.asked) == 1


def test_recovery_after_a_storm(
    api: str, server: ProviderServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A volley of 429s: one cut; with clean rounds all places are back, and everything is billed once."""
    server.acts += [Act(status=429, headers={"retry-after-ms": "2"})] * 10
    name = pointed_at(server.url, api, monkeypatch)

    async def work(llm: LLM) -> None:
        await asyncio.gather(*(llm.complete(request(str(n), model=name)) for n in range(150)))

    with monkeypatch.context() as patch:
        patch.setattr(server, "delay_s", 0.005)
        account, _ = sitting(name, tmp_path, work, concurrency=10)
    assert (account.cuts, account.refused) == (1, 10)
    assert account.limit == 10
    assert len(server.asked) == 160
    assert sorted(entry["asked"] for entry in server.ledger) == sorted(str(n) for n in range(150))


def test_late_and_billed(
    api: str, server: ProviderServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that completes after we gave up bills twice; we count one ambiguous call, at its most."""
    warm = pointed_at(server.url, api, monkeypatch)
    sitting(warm, tmp_path / "warm", lambda llm: llm.complete(request("warm", model=warm)))
    server.acts.append(Act(delay_s=1.0))
    name = pointed_at(server.url, api, monkeypatch, timeout_s=0.4)
    budget = Budget(tokens=100_000)
    asked = request("late", model=name, max_tokens=500)
    _, ambiguous = sitting(name, tmp_path / "late", lambda llm: llm.complete(asked), budget=budget)
    deadline = time.monotonic() + 10
    while len(server.ledger) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    late = [entry for entry in server.ledger if entry["asked"] == "late"]
    assert len(late) == 2, "billed for the reply that nobody waited for"
    assert (ambiguous, budget.ambiguous) == (1, 1)
    (record,) = records(tmp_path / "late")
    assert record["reply"]["attempts"] == 2
    assert sum(e["input_tokens"] + e["output_tokens"] for e in late) <= budget.spent_tokens
    assert budget.spent_tokens >= 500, "the lost one counts as the most it can have cost"


@contextlib.contextmanager
def deaf_port() -> Iterator[int]:
    """A port whose queue of connections is full: whoever connects hears nothing."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = int(listener.getsockname()[1])
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(("127.0.0.1", port))
        yield port


@pytest.mark.parametrize("module", ["openai", "anthropic"])
def test_nobody_takes_the_call(module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that is never taken is given up soon, tried again, and surely not billed."""
    monkeypatch.setattr(f"exegete.llm.{module}.CONNECT_TIMEOUT_S", 0.1)
    with deaf_port() as port:
        name = f"{module}:m@http://127.0.0.1:{port}"
        budget = Budget(tokens=100_000)
        started = time.monotonic()
        with pytest.raises(LLMUnavailable, match=r"the connection to .* failed"):
            sitting(name, tmp_path, lambda llm: llm.complete(request(model=name)), budget=budget)
        assert time.monotonic() - started < 10
    assert (budget.ambiguous, budget.spent_tokens) == (0, 0)


def test_a_connection_that_was_closed_while_idle(
    api: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that hangs up between calls costs no attempt: a new connection is made."""
    server = ProviderServer()
    server._server.config.timeout_keep_alive = 0
    with server:
        name = pointed_at(server.url, api, monkeypatch)

        async def work(llm: LLM) -> None:
            for n in range(3):
                await llm.complete(request(str(n), model=name))
                await asyncio.sleep(0.1)

        _, ambiguous = sitting(name, tmp_path, work)
    assert [record["reply"]["attempts"] for record in records(tmp_path)] == [1, 1, 1]
    assert (ambiguous, len(server.ledger)) == (0, 3)


@pytest.mark.parametrize("cut", ["before", "after", "mid-body", "gzip"])
def test_a_kept_connection_that_breaks(
    api: str, cut: str, server: ProviderServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a connection that has served before: one more attempt, counted as ambiguous, and no more."""
    name = pointed_at(server.url, api, monkeypatch)
    server.acts += [Act(), Act(cut=cut)]  # type: ignore[arg-type]

    async def work(llm: LLM) -> None:
        for n in range(3):
            await llm.complete(request(str(n), model=name))

    _, ambiguous = sitting(name, tmp_path, work)
    assert [record["reply"]["attempts"] for record in records(tmp_path)] == [1, 2, 1]
    assert ambiguous == 1
    assert len(server.ledger) == 3 + (cut != "before")


def test_no_such_name(tmp_path: Path) -> None:
    """A name that can't be looked up: tried again, unavailable in one sentence, surely not billed."""
    for provider in ("openai", "anthropic"):
        name = f"{provider}:m@http://no-such-host.invalid:80/v1"
        budget = Budget(tokens=100_000)
        with pytest.raises(LLMUnavailable, match=r"the connection to .* failed") as caught:
            sitting(
                name,
                tmp_path / provider,
                lambda llm, name=name: llm.complete(request(model=name)),  # type: ignore[misc]
                budget=budget,
            )
        assert "\n" not in str(caught.value)
        assert (budget.ambiguous, budget.spent_tokens) == (0, 0)
