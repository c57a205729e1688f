"""Keys stay where they belong: in the environment and in the request."""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest

from exegete.errors import LLMError
from exegete.llm import Account, Journal, parse
from exegete.llm.anthropic import Anthropic
from exegete.llm.journalled import Journalled, Recorded
from exegete.llm.openai import OpenAI
from exegete.llm.retry import Retrying
from exegete.llm.throttle import Throttled
from tests.llm.fakes import request
from tests.provider import Act, ProviderServer

CANARY = "CANARY-0123456789abcdef"


def everything_about(error: BaseException) -> str:
    """All that a traceback or a careless log could show of an error and of what lies behind it."""
    seen: list[str] = []
    while True:
        seen += traceback.format_exception(error)
        seen += [str(error), repr(error), repr(error.args), repr(vars(error))]
        behind = error.__cause__ or error.__context__
        if behind is None:
            return "\n".join(seen)
        error = behind


@pytest.fixture(scope="module")
def server() -> Iterator[ProviderServer]:
    """One server for all tests here."""
    with ProviderServer() as running:
        yield running


@pytest.mark.parametrize("api", ["chat", "responses", "messages"])
@pytest.mark.parametrize("status", [401, 500, 400])
def test_canary(
    api: str,
    status: int,
    server: ProviderServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """After a server echoes the key in its error, the key is in no log (at any level), error or journal."""
    monkeypatch.setenv("OPENAI_API_KEY", CANARY)
    monkeypatch.setenv("ANTHROPIC_API_KEY", CANARY)
    caplog.set_level(logging.DEBUG)

    async def no_wait(seconds: float) -> None:
        pass

    provider = {
        "chat": lambda: OpenAI(parse(f"openai:m@{server.url}/v1")),
        "responses": lambda: OpenAI(parse("openai:m"), official_url=f"{server.url}/v1"),
        "messages": lambda: Anthropic(parse("anthropic:m"), official_url=server.url),
    }[api]()
    echo = {
        "error": {
            "message": f"Incorrect key provided: {CANARY} temperature",
            "type": CANARY,
            "code": CANARY,
        }
    }
    server.acts.extend([Act(status=status, body=echo)] * (1 if status == 401 else 2))

    async def run() -> str:
        with Journal(tmp_path) as journal:
            llm = Journalled(
                Throttled(Recorded(Retrying(provider, attempts=2, sleep=no_wait), journal), Account(1)),
                journal,
            )
            try:
                with pytest.raises(LLMError) as error:
                    await llm.complete(request(model=str(provider.name), temperature=0.5))
                await llm.complete(request("again", model=str(provider.name)))
            finally:
                await llm.close()
            return everything_about(error.value)

    about = asyncio.run(run())
    assert any(CANARY in value for value in server.asked[-1].headers.values()), "the key was not even sent"
    assert CANARY not in about
    assert str(status) in about
    assert CANARY not in caplog.text
    assert CANARY not in "".join(repr(vars(record)) for record in caplog.records)
    for path in tmp_path.iterdir():
        assert CANARY.encode() not in path.read_bytes()
    assert (tmp_path / "000001.jsonl").stat().st_size > 0
