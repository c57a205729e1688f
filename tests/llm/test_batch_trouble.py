"""Batches when a connection, a provider's memory or a disk fails: nothing is bought twice on a guess."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from exegete.errors import LLMStop, LLMUnavailable, WorkspaceError
from exegete.llm import BatchLog, Budget, Reply, ambiguous_calls, wave_states
from exegete.llm.batch import BatchState
from exegete.llm.batch_search import LOOKS
from exegete.llm.batching import REQUEUES
from exegete.llm.failure import CallFailed
from exegete.llm.openai_batch import OpenAIBatches
from tests.llm.batch_questions import ANSWERS, QUESTIONS, TWO_APIS, answered, kinds
from tests.llm.batches import APIS, billed, journalled, opened, texts, until
from tests.provider import ProviderServer
from tests.provider_batches import Tricks


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("lag", [0, 3])
def test_lost_response(server: ProviderServer, tmp_path: Path, api: str, lag: int) -> None:
    """A batch that was accepted while the connection broke is found, even if it is listed late; paid once."""

    async def main() -> None:
        async with opened(server, api, tmp_path) as model:
            await model.ask("before")  # so that there is an older one
            server.desk.tricks = Tricks(lose_create=1, polls=2, lag=lag)
            assert texts(await model.ask(*QUESTIONS)) == ANSWERS

    asyncio.run(main())
    assert [len(batch.items) for batch in server.desk.batches] == [1, 6]
    assert set(billed(server).values()) == {1}


@pytest.mark.parametrize("api", APIS)
def test_never_accepted(server: ProviderServer, tmp_path: Path, api: str) -> None:
    """When the connection broke before a batch was accepted, it is ordered again after a search in vain."""

    async def main() -> None:
        async with opened(server, api, tmp_path) as model:
            server.desk.tricks.refuse_create = [0]
            replies = await model.ask(*QUESTIONS)
            assert texts(replies) == ANSWERS
            assert {reply.attempts for reply in replies} == {2}
            assert ambiguous_calls(model.llm) == 6
            assert sum("lost" in entry for entry in model.journal.entries()) == 6

    asyncio.run(main())
    assert len(server.desk.batches) == 1
    assert server.desk.listed >= 6


def test_somebody_elses_batch(server: ProviderServer, tmp_path: Path) -> None:
    """Where batches have no names, a stranger's of the same size is recognised by what is in it."""
    server.desk.tricks = Tricks(refuse_create=[0], impostor=True, polls=3)
    replies = answered(server, tmp_path, "messages")
    assert [len(batch.items) for batch in server.desk.batches] == [6, 6]
    assert set(billed(server).values()) == {1}
    assert {reply.attempts for reply in replies} == {1}
    assert "msgbatch_stranger" not in {row.id for row in wave_states(tmp_path / "batches")}


def test_another_one_of_ours(server: ProviderServer, tmp_path: Path) -> None:
    """A batch of ours whose id is known is not waited for when another one of the same size is looked for."""

    async def main() -> None:
        async with opened(server, "messages", tmp_path) as model:
            server.desk.tricks.endless = frozenset({0})
            slow = asyncio.create_task(model.ask(*(f"slow {n}" for n in range(6))))
            await until(lambda: server.desk.polled)
            server.desk.tricks.lose_create = 1
            assert texts(await model.ask(*QUESTIONS)) == ANSWERS
            assert not slow.done()
            server.desk.tricks.endless = frozenset()
            assert len(await slow) == 6

    asyncio.run(main())
    assert set(billed(server).values()) == {1}


@pytest.mark.parametrize("api", APIS)
def test_failing_creation(server: ProviderServer, tmp_path: Path, api: str) -> None:
    """A server in trouble is asked again."""
    server.desk.tricks.refuse_create = [503, 429, 500]
    replies = answered(server, tmp_path, api)
    assert {reply.attempts for reply in replies} == {1}
    assert len(server.desk.batches) == 1


@pytest.mark.parametrize("api", APIS)
def test_failing_polls(server: ProviderServer, tmp_path: Path, api: str) -> None:
    """A poll that fails is made again."""
    server.desk.tricks.failing_polls = 12
    answered(server, tmp_path, api)
    assert server.desk.polled == 13
    assert len(server.desk.batches) == 1


def test_a_thousand_failing_polls(
    server: ProviderServer,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Polls are free: they are made until one succeeds, and said ever more rarely."""
    real, failures = OpenAIBatches.poll, iter(range(1000))

    async def poll(self: OpenAIBatches, batch: str) -> BatchState:
        if next(failures, None) is not None:
            raise CallFailed("the connection to m failed", ambiguous=True, retryable=True)
        return await real(self, batch)

    monkeypatch.setattr(OpenAIBatches, "poll", poll)
    answered(server, tmp_path, "responses")
    assert next(failures, None) is None
    assert (server.desk.polled, len(server.desk.batches)) == (1, 1)
    said = [one for one in caplog.records if one.levelno >= logging.WARNING]
    assert 5 <= len(said) <= 11


@pytest.mark.parametrize("api", APIS)
def test_results_are_gone(server: ProviderServer, tmp_path: Path, api: str) -> None:
    """Results that are not kept any more are bought again, a few times; each time is counted."""
    server.desk.tricks.gone = True

    async def main() -> None:
        async with opened(server, api, tmp_path) as model:
            assert kinds(await model.outcomes("a", "b")) == {LLMUnavailable}
            assert ambiguous_calls(model.llm) == len(server.ledger) == 2 * (REQUEUES + 1)

    asyncio.run(main())


@pytest.mark.parametrize("api", TWO_APIS)
def test_unknown_batch(server: ProviderServer, tmp_path: Path, api: str) -> None:
    """A batch that the provider denies is not bought again: the key may be another account's."""
    server.desk.tricks.forgotten = LOOKS

    async def main() -> None:
        async with opened(server, api, tmp_path) as model:
            (outcome,) = await model.outcomes("a")
            assert isinstance(outcome, LLMStop)
            assert "use the key it was submitted with" in str(outcome)
            assert server.desk.tricks.forgotten == 0
            assert texts(await model.ask("a")) == ["re: a"]

    asyncio.run(main())
    assert len(server.desk.batches) == 1


@pytest.mark.parametrize("api", APIS)
def test_not_known_yet(server: ProviderServer, tmp_path: Path, api: str) -> None:
    """A new batch may be unknown for a moment."""
    server.desk.tricks.forgotten = 2
    answered(server, tmp_path, api)
    assert len(server.desk.batches) == 1


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("breaks", [5, 10**6])
def test_before_the_order(server: ProviderServer, tmp_path: Path, api: str, breaks: int) -> None:
    """What breaks before a batch is ordered costs nothing: it is tried again, and never counted as lost."""
    server.desk.tricks.drop_uploads = breaks

    async def main() -> None:
        async with opened(server, api, tmp_path, budget=Budget(usd=1.0)) as model:
            (outcome,) = await model.outcomes("a")
            assert isinstance(outcome, Reply if breaks == 5 else LLMUnavailable)
            assert ambiguous_calls(model.llm) == 0
            assert len(list(model.journal.entries())) == (breaks == 5)

    asyncio.run(main())
    assert len(server.desk.batches) == (breaks == 5)


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("step", ["intend", "submitted", "seen", "ingested"])
def test_log_fails(
    server: ProviderServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, api: str, step: str
) -> None:
    """When the log can't be written the callers hear of it, and asking again buys nothing a second time."""
    real, failures = getattr(BatchLog, step), iter([WorkspaceError("no room left")])

    async def failing(self: BatchLog, *args: object) -> None:
        for failure in failures:
            raise failure
        await real(self, *args)

    monkeypatch.setattr(BatchLog, step, failing)

    async def main() -> None:
        async with opened(server, api, tmp_path) as model:
            first = await model.outcomes(*QUESTIONS)
            assert kinds(first) == ({Reply} if step == "ingested" else {WorkspaceError})
            assert texts(await model.ask(*QUESTIONS)) == ANSWERS

    asyncio.run(main())
    assert len(server.desk.batches) == 1
    assert set(billed(server).values()) == set(journalled(tmp_path).values()) == {1}
    assert not any(row.open for row in wave_states(tmp_path / "batches"))
