"""Calls that may have been paid for in vain are noted: what was asked, what happened, the most it cost."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from exegete import __version__, llm
from exegete.errors import LLMUnavailable
from exegete.llm import LLM, Budget, Journal, Reply, Request, open_llm
from exegete.llm.failure import CallFailed
from exegete.llm.record import entries, records
from exegete.llm.retry import Retrying
from tests.llm.fakes import FakeLLM, reply, request
from tests.provider import Act, ProviderServer

MODEL = "openai:gpt-5-nano"


def failed(ambiguous: bool = True) -> CallFailed:
    """A time-out after the request was sent, or a refusal to connect."""
    return CallFailed("it did not finish\n in time", ambiguous=ambiguous, retryable=True)


def opened(patch: pytest.MonkeyPatch, provider: LLM, journal: Journal, budget: Budget | None = None) -> LLM:
    """A whole stack around a provider of ours, under the name of a model whose price is known."""
    patch.setitem(llm.PROVIDERS, "openai", lambda name: provider)

    patch.setattr(Retrying, "_wait_s", lambda *_: 0.0)
    return open_llm(MODEL, journal=journal, budget=budget)


def test_what_is_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two attempts that may have been billed and one that was not, then a reply: two notes, then a record."""
    asked = request(model=MODEL, prompt_version="p@1", tags={"run": "r", "feature": "7"}, max_tokens=100)
    fake = FakeLLM([failed(), failed(ambiguous=False), failed(), reply()])
    with Journal(tmp_path) as journal:
        asyncio.run(opened(monkeypatch, fake, journal).complete(asked))
        again = list(journal.entries())
    first, second, third = entries(tmp_path)
    assert again == [first, second, third]
    assert {
        name: first[name] for name in ("lost", "model", "prompt_version", "sample", "tags", "version")
    } == {
        "lost": asked.key,
        "model": MODEL,
        "prompt_version": "p@1",
        "sample": 0,
        "tags": {"run": "r", "feature": "7"},
        "version": __version__,
    }
    assert first["why"] == "it did not finish in time"
    assert first["at"].endswith("+00:00")
    # 0.4 dollars a million tokens of output, and something for the input.
    assert 100 * 0.4e-6 < first["most_usd"] < 100 * 0.4e-6 + 1e-4
    assert second["lost"] == asked.key
    assert "reply" not in second
    assert third["key"] == asked.key
    assert [entry["next"] for entry in entries(tmp_path, first["next"])] == [second["next"], third["next"]]
    assert [entry["key"] for entry in records(tmp_path)] == [asked.key]


def test_it_is_no_reply(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lost call answers nothing: opened again, the journal holds no reply, and the call is made."""
    with Journal(tmp_path) as journal:
        fake = FakeLLM([failed()])
        with pytest.raises(LLMUnavailable):
            asyncio.run(opened(monkeypatch, fake, journal).complete(request(model=MODEL)))
    assert len(list(entries(tmp_path))) == len(fake.asked) == 8
    with Journal(tmp_path) as journal:
        assert (len(journal), journal.damaged) == (0, 0)
        assert journal.get(request(model=MODEL).key) is None
        done = asyncio.run(
            opened(monkeypatch, FakeLLM([reply("now")]), journal).complete(request(model=MODEL))
        )
    assert done.text == "now"


def test_without_a_price(tmp_path: Path) -> None:
    """Where no price is known, what it can have cost is not known either, and not zero."""
    with Journal(tmp_path) as journal:
        journal.lost(request(), "sk-CANARY123456 was not answered " + "x" * 1000, None)
    (entry,) = entries(tmp_path)
    assert entry["most_usd"] is None
    assert "CANARY" not in entry["why"]
    assert len(entry["why"]) <= 301


def test_nobody_waits_for_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A note is made while the disk does not answer, and is there once the journal is closed."""
    go = threading.Event()
    journal = Journal(tmp_path)
    monkeypatch.setattr("os.fsync", lambda file: go.wait(10))
    journal.lost(request(), "late", 0.5)
    assert not go.is_set()
    go.set()
    journal.close()
    assert [entry["most_usd"] for entry in entries(tmp_path)] == [0.5]
    journal.lost(request(), "too late to be noted, and no error of whoever was cancelled", 0.5)


@pytest.mark.parametrize("budget", [None, Budget(tokens=10**6)])
def test_cancelled_under_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, budget: Budget | None) -> None:
    """A request that was sent and is cancelled is noted; one that was waiting for its turn was not sent."""

    async def run(journal: Journal) -> None:
        fake = FakeLLM([reply()])
        fake.gate = asyncio.Event()
        monkeypatch.setitem(llm.PROVIDERS, "openai", lambda name: fake)
        model = open_llm(MODEL, journal=journal, concurrency=1, budget=budget)
        callers = [asyncio.create_task(model.complete(request(str(n), model=MODEL))) for n in range(3)]
        await asyncio.sleep(0.01)
        assert len(fake.asked) == 1
        for caller in callers:
            caller.cancel()
        await asyncio.gather(*callers, return_exceptions=True)
        await asyncio.sleep(0)

    with Journal(tmp_path) as journal:
        asyncio.run(run(journal))
    (entry,) = entries(tmp_path)
    assert entry["lost"] == request("0", model=MODEL).key
    assert "nobody waited for its reply" in entry["why"]
    assert entry["most_usd"] > 0


def test_against_a_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a server billed and never delivered is what the journal's notes say, and no less."""
    monkeypatch.setenv("OPENAI_API_KEY", "k" * 20)

    async def run(name: str, journal: Journal) -> list[Reply]:
        model = open_llm(name, journal=journal)
        try:
            asked: list[Request] = [request(str(n), model=name) for n in range(4)]
            return await asyncio.gather(*(model.complete(one) for one in asked))
        finally:
            await model.close()

    with ProviderServer() as server, Journal(tmp_path) as journal:
        server.acts += [Act(cut="after")] * 2
        replies = asyncio.run(run(f"openai:m@{server.url}/v1", journal))
        billed = len(server.ledger)
    noted = [entry for entry in entries(tmp_path) if "lost" in entry]
    assert len(replies) == 4
    assert len(noted) == 2
    assert billed == len(list(records(tmp_path))) + len(noted)
