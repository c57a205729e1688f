"""What batches survive: rejection, expiry, lost responses, failing polls, results that are not right."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from exegete.errors import LLMStop, LLMUnavailable, UsageError
from exegete.llm import BatchLog, Journal, Reply, open_llm, wave_states
from exegete.llm.batching import REQUEUES
from tests.llm.batch_questions import QUESTIONS, answered, ask, kinds
from tests.llm.batches import APIS, billed, opened, texts
from tests.llm.fakes import request
from tests.provider import ProviderServer
from tests.provider_batches import Tricks


def test_rejected_whole(server: ProviderServer, tmp_path: Path) -> None:
    """A batch that is rejected for what it is ends in the provider's words, and is not ordered again."""
    server.desk.tricks.reject = {"code": "invalid_json_line", "message": "Line 3 is bad"}
    outcomes = ask(server, tmp_path, "responses")
    assert kinds(outcomes) == {LLMUnavailable}
    assert "rejected a batch: Line 3 is bad" in str(outcomes[0])
    assert len(server.desk.batches) == 1
    assert not server.ledger


@pytest.mark.parametrize("code", ["billing_hard_limit_reached", "model_not_found"])
def test_rejected_for_good(server: ProviderServer, tmp_path: Path, code: str) -> None:
    """A rejection that every later batch would meet too ends the job."""
    server.desk.tricks.reject = {"code": code, "message": "no such model, or no money"}
    assert kinds(ask(server, tmp_path, "responses")) == {LLMStop}
    assert len(server.desk.batches) == 1


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize(("status", "kind"), [(401, LLMStop), (402, LLMStop), (400, LLMUnavailable)])
def test_refused_at_the_door(
    server: ProviderServer, tmp_path: Path, api: str, status: int, kind: type
) -> None:
    """A batch that is not accepted costs nothing, fails as a call would, and leaves nothing open."""
    server.desk.tricks.refuse_create = [status]
    assert kinds(ask(server, tmp_path, api)) == {kind}
    assert not server.desk.batches
    (row,) = wave_states(tmp_path / "batches")
    assert (row.state, row.id) == ("dropped", None)


def test_too_much_queued(server: ProviderServer, tmp_path: Path) -> None:
    """A provider that queues only so much gets smaller batches, one when another has ended."""
    server.desk.tricks = Tricks(most=2, polls=30)
    replies = answered(server, tmp_path, "responses")
    assert billed(server) == dict.fromkeys(QUESTIONS, 1)
    assert {reply.attempts for reply in replies} == {1}
    accepted = [len(batch.items) for batch in server.desk.batches if not batch.rejected]
    assert max(accepted) <= 2
    assert len(server.desk.batches) <= 19, "it did not wait"


def test_too_much_alone(server: ProviderServer, tmp_path: Path) -> None:
    """Requests that are too much each by itself are given up."""
    server.desk.tricks.most = 0
    assert kinds(ask(server, tmp_path, "responses", "huge", "vast")) == {LLMUnavailable}
    assert [len(batch.items) for batch in server.desk.batches] == [2, *[1] * 2 * (REQUEUES + 1)]


@pytest.mark.parametrize("api", APIS)
def test_expired_in_part(server: ProviderServer, tmp_path: Path, api: str) -> None:
    """What a batch did before it expired is kept, and only the rest is asked again."""
    server.desk.tricks.answered = 4
    replies = answered(server, tmp_path, api)
    assert [len(batch.items) for batch in server.desk.batches] == [6, 2]
    assert sorted(reply.attempts for reply in replies) == [1, 1, 1, 1, 2, 2]
    assert billed(server) == dict.fromkeys(QUESTIONS, 1)


@pytest.mark.parametrize("api", APIS)
def test_expired_for_ever(server: ProviderServer, tmp_path: Path, api: str) -> None:
    """What expires in every batch is given up after a few, and was not billed."""
    server.desk.tricks.answered = 0
    outcomes = ask(server, tmp_path, api)
    assert kinds(outcomes) == {LLMUnavailable}
    assert "did not try" in str(outcomes[0])
    assert [len(batch.items) for batch in server.desk.batches] == [6] * (REQUEUES + 1)
    assert not server.ledger


@pytest.mark.parametrize("api", APIS)
def test_cancelled_by_a_person(server: ProviderServer, tmp_path: Path, api: str) -> None:
    """A batch that a person cancelled is not ordered again; what it did is kept."""
    server.desk.tricks = Tricks(answered=2, cancelled=True)
    outcomes = ask(server, tmp_path, api)
    assert [type(outcome) for outcome in outcomes] == [Reply, Reply, *[LLMUnavailable] * 4]
    assert len(server.desk.batches) == 1


@pytest.mark.parametrize("api", APIS)
def test_only_errors(server: ProviderServer, tmp_path: Path, api: str) -> None:
    """A batch in which everything failed is asked again; a server that fails for good is given up."""
    broken = {"status": 500, "type": "api_error", "message": "internal"}
    server.desk.tricks.fail = lambda text, body: broken if len(server.desk.batches) == 1 else None
    replies = answered(server, tmp_path / "once", api)
    assert {reply.attempts for reply in replies} == {2}
    if api != "messages":
        assert "batch_0-output" not in server.desk.files
    server.desk.clear()
    server.desk.tricks.fail = lambda text, body: broken
    assert kinds(ask(server, tmp_path / "always", api)) == {LLMUnavailable}
    assert len(server.desk.batches) == REQUEUES + 1


@pytest.mark.parametrize("api", APIS)
def test_bad_request(server: ProviderServer, tmp_path: Path, api: str) -> None:
    """A request that is refused for what is in it is given up at once, and alone."""
    bad = {"status": 400, "type": "invalid_request_error", "message": "too long"}
    server.desk.tricks.fail = lambda text, body: bad if text.endswith("3") else None
    outcomes = ask(server, tmp_path, api)
    assert [type(outcome) for outcome in outcomes] == [*[Reply] * 3, LLMUnavailable, *[Reply] * 2]
    assert "too long" in str(outcomes[3])
    assert len(server.desk.batches) == 1


def test_spent_quota(server: ProviderServer, tmp_path: Path) -> None:
    """An item that failed for a spent quota ends the job."""
    spent = {"status": 429, "type": "insufficient_quota", "code": "insufficient_quota", "message": "-"}
    server.desk.tricks.fail = lambda text, body: spent
    assert kinds(ask(server, tmp_path, "responses")) == {LLMStop}


@pytest.mark.parametrize("api", APIS)
def test_refused_parameter(server: ProviderServer, tmp_path: Path, api: str) -> None:
    """A parameter the model refuses is left out of the next batch, and of every later one."""

    def fail(text: str, body: Mapping[str, Any]) -> dict[str, Any] | None:
        message = "temperature is not supported with this model"
        error = {"status": 400, "type": "invalid_request_error", "message": message}
        return error if "temperature" in body else None

    server.desk.tricks.fail = fail

    async def main() -> None:
        async with opened(server, api, tmp_path) as model:
            assert texts(await model.ask("a", "b", temperature=0.5)) == ["re: a", "re: b"]
            await model.ask("c", temperature=0.5)

    asyncio.run(main())
    assert [len(batch.items) for batch in server.desk.batches] == [2, 2, 1]


@pytest.mark.parametrize("api", APIS)
def test_odd_results(
    server: ProviderServer, tmp_path: Path, api: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Results twice, of nobody, and lines that are no results are counted, said and not used."""
    server.desk.tricks = Tricks(duplicates=True, unknown=True)
    answered(server, tmp_path, api)
    assert len(server.desk.batches) == 1
    (said,) = [record for record in caplog.records if "nobody asked for" in record.getMessage()]
    assert said.args == (server.desk.batches[0].id, 2, 6)


@pytest.mark.parametrize("api", APIS)
def test_missing_results(server: ProviderServer, tmp_path: Path, api: str) -> None:
    """What is missing in the results is asked again, and nothing else is."""
    server.desk.tricks.missing = frozenset({0, 5})
    outcomes = ask(server, tmp_path, api)
    # Its place in the second batch is 0 again, in the third too: one of the two comes through in the second.
    assert [type(outcome) for outcome in outcomes].count(Reply) == 5
    assert [len(batch.items) for batch in server.desk.batches] == [6, 2, 1]


def test_no_batch_api(server: ProviderServer, tmp_path: Path) -> None:
    """A model without a batch API is a usage error before anything is sent."""
    server.desk.tricks.no_api = True
    (tmp_path / "script").write_text('{"reply": "x"}')
    with Journal(tmp_path / "journal") as journal, BatchLog(tmp_path / "batches") as log:
        with pytest.raises(UsageError, match="has no batch API"):
            open_llm(f"scripted:{tmp_path / 'script'}", journal=journal, batches=log)
        with pytest.raises(UsageError, match="without a journal"):
            open_llm("openai:m", batches=log)
    assert kinds(ask(server, tmp_path, "chat", "a")) == {UsageError}
    assert not server.desk.files
    assert not server.desk.batches


def test_opened_by_name(server: ProviderServer, tmp_path: Path) -> None:
    """A model opened with a log of batches is asked in batches; opened twice, it is refused."""
    name = f"openai:m@{server.url}/v1"

    async def main() -> None:
        with Journal(tmp_path / "journal") as journal, BatchLog(tmp_path / "batches") as log:
            llm = open_llm(name, journal=journal, batches=log)
            with pytest.raises(UsageError, match="share that one"):
                open_llm(name, journal=journal, batches=log)
            llm.inner._wave._linger_s = 0.01  # type: ignore[attr-defined]
            reply = await llm.complete(request("x", model=name))
            assert (reply.text, reply.batch) == ("re: x", "batch_0")
            await llm.close()
            await open_llm(name, journal=journal, batches=log).close()

    asyncio.run(main())
