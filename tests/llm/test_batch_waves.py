"""Batches as a caller sees them: waves, what replies carry, leaving, closing and coming back."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from exegete.llm import Reply, wave_states
from exegete.llm.batch import Limits
from exegete.llm.record import records
from tests.llm.batches import APIS, batch_api, bill, billed, journalled, opened, texts, until
from tests.llm.fakes import request
from tests.provider import ProviderServer, Said

QUESTIONS = [f"question {n}" for n in range(7)]
ANSWERS = [f"re: {question}" for question in QUESTIONS]


@pytest.mark.parametrize("api", APIS)
def test_one_wave(server: ProviderServer, tmp_path: Path, api: str) -> None:
    """What is asked at once goes in one batch; replies carry its id and price, and are journalled once."""
    server.desk.tricks.polls = 3

    async def main() -> list[Reply]:
        async with opened(server, api, tmp_path) as model:
            return await model.ask(*QUESTIONS)

    replies = asyncio.run(main())
    assert texts(replies) == ANSWERS
    (batch,) = server.desk.batches
    assert {reply.batch for reply in replies} == {batch.id}
    assert {(reply.attempts, reply.journalled, reply.prices) for reply in replies} == {(1, False, "v")}
    assert sum(reply.usd or 0.0 for reply in replies) == pytest.approx(bill(server), rel=1e-9)
    assert billed(server) == dict.fromkeys(QUESTIONS, 1)
    assert set(journalled(tmp_path).values()) == {1}
    assert {record["reply"]["batch"] for record in records(tmp_path / "journal")} == {batch.id}
    (row,) = wave_states(tmp_path / "batches")
    assert (row.id, row.requests, row.open) == (batch.id, 7, False)
    assert row.state in ("completed", "ended")
    assert row.submitted_at is not None
    assert row.ended_at is not None
    assert sum(row.counts.values()) >= 7
    assert asyncio.run(main()) != replies, "journalled now"
    assert len(server.desk.batches) == 1


@pytest.mark.parametrize("api", APIS)
def test_lines_are_calls(server: ProviderServer, tmp_path: Path, api: str) -> None:
    """What stands in a line of a batch is what a call of its own would send; ids are the requests' keys."""
    from exegete.llm.anthropic import Anthropic
    from exegete.llm.openai import OpenAI

    schema = {"title": "Level", "type": "object", "properties": {"level": {"type": "integer"}}}
    options = {"temperature": 0.5, "schema": schema, "max_tokens": 77}
    name = batch_api(api, server.url).name

    async def main() -> str:
        async with opened(server, api, tmp_path) as model:
            await model.ask("line ü\u2028", **options)
        direct = Anthropic(name) if api == "messages" else OpenAI(name, official_url=f"{server.url}/v1")
        asked = request("line ü\u2028", model=str(name), **options)
        await direct.complete(asked)
        await direct.close()
        return asked.key

    key = asyncio.run(main())
    in_batch, alone = server.asked
    assert in_batch.body == alone.body
    assert in_batch.body["temperature"] == 0.5
    assert server.desk.batches[0].items == [(key, in_batch.body)]
    assert len(key) == 64


def test_waves_end_when_nothing_comes(server: ProviderServer, tmp_path: Path) -> None:
    """Requests that come while others still come are in their batch; later ones are in another."""

    async def main() -> None:
        async with opened(server, "chat", tmp_path, linger_s=0.3) as model:
            first = asyncio.create_task(model.ask("a"))
            await asyncio.sleep(0.05)
            await asyncio.gather(first, model.ask("b"))
            await model.ask("c")

    asyncio.run(main())
    assert [len(batch.items) for batch in server.desk.batches] == [2, 1]


@pytest.mark.parametrize("api", ["chat", "messages"])
def test_size_limits(server: ProviderServer, tmp_path: Path, api: str) -> None:
    """More than one batch takes goes in several, by number and by bytes, without waiting for more."""

    async def main(limits: Limits, folder: str, wait_s: float) -> list[str]:
        from exegete.llm import BatchLog, Journal
        from exegete.llm.batching import Batched
        from tests.llm.batches import PRICES, no_time

        with Journal(tmp_path / folder / "j") as journal, BatchLog(tmp_path / folder / "b") as log:
            api_ = batch_api(api, server.url)
            api_.limits = limits
            llm = Batched(api_, log=log, journal=journal, prices=PRICES, linger_s=wait_s, sleep=no_time)
            asked = [request(question, model=str(api_.name)) for question in QUESTIONS]
            try:
                return texts(await asyncio.gather(*(llm.complete(one) for one in asked)))
            finally:
                await llm.close()

    assert asyncio.run(main(Limits(3, 10**9), "by number", 0.05)) == ANSWERS
    assert [len(batch.items) for batch in server.desk.batches] == [3, 3, 1]
    server.desk.clear()
    line = len(batch_api(api, server.url).line(request(QUESTIONS[0], model="m"))) + 1
    assert asyncio.run(main(Limits(10**9, 2 * line), "by bytes", 0.05)) == ANSWERS
    assert [len(batch.items) for batch in server.desk.batches] == [2, 2, 2, 1]
    server.desk.clear()
    assert asyncio.run(main(Limits(7, 10**9), "full", 3600.0)) == ANSWERS


def test_equal_requests(server: ProviderServer, tmp_path: Path) -> None:
    """Equal requests in one wave, with the journal's help or without, are bought once."""

    async def main() -> None:
        async with opened(server, "chat", tmp_path) as model:
            one = model.asking("same")
            replies = await asyncio.gather(
                *(model.llm.complete(one) for _ in range(3)), *(model.batched.complete(one) for _ in range(3))
            )
            assert set(texts(replies)) == {"re: same"}

    asyncio.run(main())
    assert billed(server) == {"same": 1}
    assert [len(batch.items) for batch in server.desk.batches] == [1]


def test_refusals_are_replies(server: ProviderServer, tmp_path: Path) -> None:
    """What a model refused, or what was cut, was paid for: it is journalled, and a reply like any."""
    server.answer = lambda asked: Said("no", finish="refusal" if "bad" in asked.text else "length")

    async def main() -> list[Reply]:
        async with opened(server, "chat", tmp_path) as model:
            return await model.ask("bad", "long")

    assert [reply.finish for reply in asyncio.run(main())] == ["refusal", "length"]
    assert len(server.desk.batches) == 1
    assert len(journalled(tmp_path)) == 2


def test_leaving_before_the_wave(server: ProviderServer, tmp_path: Path) -> None:
    """A request that nobody waits for any more when its wave is sent is not bought."""

    async def main() -> None:
        async with opened(server, "chat", tmp_path, linger_s=0.2) as model:
            calls = [asyncio.create_task(model.ask(text)) for text in ("goes", "stays")]
            await asyncio.sleep(0.02)
            calls[0].cancel()
            await calls[1]

    asyncio.run(main())
    assert billed(server) == {"stays": 1}


def test_leaving_a_batch(server: ProviderServer, tmp_path: Path) -> None:
    """A caller that leaves does not stop its batch: the reply is journalled, and who asks again gets it."""
    server.desk.tricks.polls = 10**9

    async def main() -> None:
        async with opened(server, "chat", tmp_path) as model:
            calls = [asyncio.create_task(model.ask(text)) for text in ("goes", "stays")]
            await until(lambda: server.desk.polled)
            calls[0].cancel()
            again = asyncio.create_task(model.ask("goes"))
            await asyncio.sleep(0.02)
            server.desk.tricks.polls = 1
            assert texts(await again) == ["re: goes"]
            await calls[1]

    asyncio.run(main())
    assert billed(server) == {"goes": 1, "stays": 1}
    assert len(journalled(tmp_path)) == 2


@pytest.mark.parametrize("api", APIS)
def test_closed_and_opened(server: ProviderServer, tmp_path: Path, api: str) -> None:
    """Closing leaves the batch; the next to open waits for it, and ingests what nobody asks for any more."""
    server.desk.tricks.polls = 10**9

    async def leave() -> None:
        async with opened(server, api, tmp_path) as model:
            call = asyncio.create_task(model.ask("asked again", "forgotten"))
            await until(lambda: server.desk.polled)
            call.cancel()
        (row,) = wave_states(tmp_path / "batches")
        assert (row.id, row.open, row.requests) == (server.desk.batches[0].id, True, 2)

    async def come_back() -> None:
        async with opened(server, api, tmp_path) as model:
            assert texts(await model.ask("asked again", "new")) == ["re: asked again", "re: new"]

    asyncio.run(leave())
    server.desk.tricks.polls = 1
    asyncio.run(come_back())
    assert billed(server) == {"asked again": 1, "forgotten": 1, "new": 1}
    assert [len(batch.items) for batch in server.desk.batches] == [2, 1]
    assert len(journalled(tmp_path)) == 3
    assert not any(row.open for row in wave_states(tmp_path / "batches"))


def test_no_prompt_in_the_log(
    server: ProviderServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither the log of batches nor what is logged holds what was asked."""
    caplog.set_level("DEBUG", "exegete")

    async def main() -> None:
        async with opened(server, "chat", tmp_path) as model:
            await model.ask("secret corpus")

    asyncio.run(main())
    assert "batch" in caplog.text
    assert "secret corpus" not in caplog.text
    lines = "".join(path.read_text() for path in (tmp_path / "batches").glob("*.jsonl"))
    assert json.loads(lines.splitlines()[0])["asked"]["messages"]
    assert "secret corpus" not in lines
