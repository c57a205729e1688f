"""OpenAI and Anthropic over real HTTP: what is sent, what is read, and what fails how."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Literal

import pytest
from pydantic import BaseModel

from exegete.errors import LLMStop, LLMUnavailable, UsageError
from exegete.llm import LLM, Message, ModelName, Reply, Request, parse
from exegete.llm.anthropic import Anthropic
from exegete.llm.failure import CallFailed
from exegete.llm.openai import OpenAI
from exegete.llm.retry import Retrying
from exegete.llm.structured import ask
from tests.provider import Act, ProviderServer, Said

APIS = ("chat", "responses", "messages")


class Level(BaseModel):
    """How strongly."""

    level: int
    sure: bool | None = None


@pytest.fixture
def server(running: ProviderServer) -> ProviderServer:
    """The server, as new."""
    running.acts.clear()
    running.asked.clear()
    running.ledger.clear()
    running.answer = lambda asked: {"level": 7, "sure": None}
    return running


@pytest.fixture(params=APIS)
def api(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each of the three APIs; two need keys."""
    monkeypatch.setenv("OPENAI_API_KEY", "key-of-openai")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "key-of-anthropic")
    return str(request.param)


def provider(api: str, server: ProviderServer, timeout_s: float = 20.0) -> OpenAI | Anthropic:
    """A provider that talks to the server by one of the APIs."""
    if api == "chat":
        return OpenAI(parse(f"openai:some/model@{server.url}/v1"), timeout_s=timeout_s)
    if api == "responses":
        return OpenAI(parse("openai:gpt-x"), timeout_s=timeout_s, official_url=f"{server.url}/v1")
    return Anthropic(parse("anthropic:claude-x"), timeout_s=timeout_s, official_url=server.url)


def asking(llm: OpenAI | Anthropic, **options: Any) -> Request:
    """A request to a provider's model."""
    turns = (Message("user", "first"), Message("assistant", "said"), Message("user", "now ü"))
    return Request(**({"model": str(llm.name), "system": "fixed words", "messages": turns} | options))


def complete(llm: LLM, *requests: Request) -> list[Reply]:
    """Complete requests one after the other, then close."""

    async def run() -> list[Reply]:
        try:
            return [await llm.complete(request) for request in requests]
        finally:
            await llm.close()

    return asyncio.run(run())


def retrying(llm: LLM, attempts: int = 3) -> Retrying:
    """With retries that don't wait."""

    async def no_wait(seconds: float) -> None:
        pass

    return Retrying(llm, attempts=attempts, sleep=no_wait)


def test_round_trip(api: str, server: ProviderServer) -> None:
    """System, turns, limits and temperature arrive as they were given; text and usage come back."""
    server.answer = lambda asked: Said("résumé", cached_tokens=4)
    llm = provider(api, server)
    (reply,) = complete(llm, asking(llm, max_tokens=77, temperature=0.5))
    (asked,) = server.asked
    assert (asked.api, asked.system) == (api, "fixed words")
    assert asked.turns == (("user", "first"), ("assistant", "said"), ("user", "now ü"))
    assert asked.model == llm.name.name
    assert asked.body["temperature"] == 0.5
    limit = "max_output_tokens" if api == "responses" else "max_tokens"
    assert asked.body[limit] == 77
    assert (reply.text, reply.finish, reply.attempts) == ("résumé", "stop", 1)
    assert reply.served_by == f"{llm.name.name}-0001"
    bill = server.ledger[0]
    assert (reply.input_tokens, reply.output_tokens) == (bill["input_tokens"], bill["output_tokens"])
    assert reply.cached_tokens == 4
    assert reply.latency_s > 0


def test_what_is_not_sent(api: str, server: ProviderServer) -> None:
    """No sample, tags or prompt version; no system part, temperature or schema unless there is one."""
    llm = provider(api, server)
    request = asking(llm, system="", sample=3, prompt_version="p@1", tags={"feature": "9"})
    complete(llm, request)
    (asked,) = server.asked
    sent = {"model", "messages", "max_tokens"}
    assert set(asked.body) == (
        {"model", "input", "max_output_tokens", "store"} if api == "responses" else sent
    )
    assert asked.body.get("store", False) is False


def test_schema(api: str, server: ProviderServer) -> None:
    """The schema is sent in the provider's strict form, and the answer is read by it."""
    llm = provider(api, server)

    async def run() -> Level | None:
        try:
            return (await ask(llm, asking(llm), Level)).value
        finally:
            await llm.close()

    assert asyncio.run(run()) == Level(level=7)
    (asked,) = server.asked
    assert asked.schema is not None
    assert asked.schema["required"] == ["level", "sure"]
    assert asked.schema["additionalProperties"] is False
    assert asked.schema_name == "Level"
    described = asked.body.get("response_format", asked.body).get("json_schema") or asked.body.get(
        "text", {}
    ).get("format")
    assert api == "messages" or described["strict"] is True


def test_system_is_cached_by_anthropic(server: ProviderServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The part that is the same for every feature is marked for the cache."""
    monkeypatch.setenv("ANTHROPIC_API_KEY", "key-of-anthropic")
    llm = provider("messages", server)
    complete(llm, asking(llm))
    assert server.asked[0].body["system"] == [
        {"type": "text", "text": "fixed words", "cache_control": {"type": "ephemeral"}}
    ]


@pytest.mark.parametrize("finish", ["length", "refusal", "filtered"])
def test_finish(api: str, server: ProviderServer, finish: Literal["length", "refusal", "filtered"]) -> None:
    """Every way in which a reply ends is told apart from a complete one."""
    server.answer = lambda asked: Said("I won't", finish)
    llm = provider(api, server)
    (reply,) = complete(llm, asking(llm))
    expected = "refusal" if api == "messages" and finish == "filtered" else finish  # it has one word for both
    assert (reply.finish, reply.text) == (expected, "I won't")


def test_usage_unknown(api: str, server: ProviderServer) -> None:
    """What the server does not say is None, never 0."""
    server.answer = lambda asked: Said("hello", usage=False)
    llm = provider(api, server)
    (reply,) = complete(llm, asking(llm))
    assert (reply.input_tokens, reply.output_tokens, reply.cached_tokens) == (None, None, None)


def test_temperature_refused(api: str, server: ProviderServer, caplog: pytest.LogCaptureFixture) -> None:
    """A model that refuses a temperature is asked without one from then on, and that is said once."""
    refusal = {"error": {"message": "Unsupported value: 'temperature'", "type": "invalid_request_error"}}
    server.acts.append(Act(status=400, body=refusal))
    llm = provider(api, server)
    with caplog.at_level(logging.WARNING):
        first, second = complete(llm, asking(llm, temperature=0.5), asking(llm, temperature=0.7))
    assert ["temperature" in asked.body for asked in server.asked] == [True, False, False]
    assert (first.attempts, second.attempts) == (2, 1)
    assert len([record for record in caplog.records if "refuses temperature" in record.getMessage()]) == 1


def test_schema_refused(api: str, server: ProviderServer, caplog: pytest.LogCaptureFixture) -> None:
    """A server that refuses schemas is asked in words from then on, and that is said once."""
    words = "output_config: unknown field" if api == "messages" else "'response_format' is not supported"
    server.acts.append(Act(status=400, body={"error": {"message": words, "param": None}}))
    server.answer = lambda asked: 'Here it is:\n```json\n{"level": 3, "sure": true}\n```'
    llm = provider(api, server)

    async def run() -> list[Level | None]:
        values = [(await ask(llm, asking(llm, sample=n), Level)).value for n in range(2)]
        await llm.close()
        return values

    with caplog.at_level(logging.WARNING):
        assert asyncio.run(run()) == [Level(level=3, sure=True)] * 2
    assert [asked.schema is None for asked in server.asked] == [False, True, True]
    for asked in server.asked[1:]:
        assert asked.text.startswith("now ü\n\n")
        assert '"required": ["level", "sure"]' in asked.text
    assert len([record for record in caplog.records if "refuses schema" in record.getMessage()]) == 1


def test_both_refused(api: str, server: ProviderServer) -> None:
    """Refusals can follow each other; each leaves out one thing more."""
    server.acts.extend(
        Act(status=status, body={"error": {"message": words}})
        for status, words in [(400, "temperature?"), (422, "json_schema, text.format, output_format?")]
    )
    llm = provider(api, server)
    (reply,) = complete(llm, asking(llm, temperature=1.0, schema=Level.model_json_schema()))
    assert reply.attempts == 3
    assert "temperature" not in server.asked[-1].body
    assert server.asked[-1].schema is None


def test_what_was_not_sent_is_not_refused(api: str, server: ProviderServer) -> None:
    """A 400 that names a parameter the request does not have is a plain failure."""
    server.acts.append(
        Act(status=400, body={"error": {"message": "temperature, json_schema, output_config"}})
    )
    llm = provider(api, server)
    with pytest.raises(CallFailed, match="answered 400: temperature"):
        complete(llm, asking(llm))
    assert len(server.asked) == 1


def test_a_refusal_that_does_not_help_is_not_remembered(api: str, server: ProviderServer) -> None:
    """If the request fails without the parameter too, nothing was learnt about the parameter."""
    body = {"error": {"message": "the word temperature can't be said here"}}
    server.acts.extend([Act(status=400, body=body)] * 2)
    llm = provider(api, server)

    async def run() -> None:
        with pytest.raises(CallFailed):
            await llm.complete(asking(llm, temperature=0.5))
        await llm.complete(asking(llm, temperature=0.5))
        await llm.close()

    asyncio.run(run())
    assert ["temperature" in asked.body for asked in server.asked] == [True, False, True]


def test_max_tokens_by_its_other_name(server: ProviderServer) -> None:
    """Some compatible servers know the limit by its newer name only."""
    words = "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."
    server.acts.append(Act(status=400, body={"error": {"message": words, "param": "max_tokens"}}))
    llm = provider("chat", server)
    complete(llm, asking(llm, max_tokens=9))
    assert server.asked[-1].body["max_completion_tokens"] == 9
    assert "max_tokens" not in server.asked[-1].body


@pytest.mark.parametrize(
    ("act", "billed", "ambiguous"),
    [
        (Act(status=503), 0, 0),
        (Act(status=529), 0, 0),
        (Act(status=504), 0, 1),
        (Act(cut="before"), 0, 1),
        (Act(cut="after"), 1, 1),
        (Act(cut="mid-body"), 1, 1),
        (Act(cut="gzip"), 1, 1),
        (Act(body="<html>all good</html>", headers={"content-type": "text/html"}), 1, 1),
        (Act(body="{"), 1, 1),
        (Act(body=[]), 1, 1),
        (Act(body={}), 1, 1),
        (Act(body=""), 1, 1),
    ],
)
def test_failures_that_pass(api: str, server: ProviderServer, act: Act, billed: int, ambiguous: int) -> None:
    """Each of these is one failed attempt; whatever the server may have billed is counted as ambiguous."""
    server.acts.append(act)
    inner = provider(api, server)
    llm = retrying(inner)
    (reply,) = complete(llm, asking(inner))
    assert reply.attempts == 2
    assert len(server.asked) == 2, "the SDK retried by itself"
    assert len(server.ledger) == billed + 1
    assert llm.ambiguous == ambiguous
    assert llm.ambiguous >= len(server.ledger) - 1


@pytest.mark.parametrize(
    ("api", "act"),
    [("chat", Act(cut="hang")), ("messages", Act(cut="drip")), ("responses", Act(delay_s=1.5))],
    indirect=["api"],
)
def test_servers_that_never_end(api: str, server: ProviderServer, act: Act) -> None:
    """A server that hangs after its headers, drips, or is late, is given up after the time for one call."""
    warm = provider(api, server)
    complete(warm, asking(warm))  # the first call of an SDK imports for seconds
    server.acts.append(act)
    inner = provider(api, server, timeout_s=1.0)
    llm = retrying(inner)
    (reply,) = complete(llm, asking(inner))
    assert (reply.attempts, llm.ambiguous) == (2, 1)
    assert len(server.ledger) == 3 - bool(act.delay_s)


@pytest.mark.parametrize(
    "headers",
    [{"retry-after": "7"}, {"retry-after-ms": "7000"}, {"Retry-After": "Sat, 21 Nov 2026 12:00:07 GMT"}],
)
def test_retry_after(api: str, server: ProviderServer, headers: dict[str, str]) -> None:
    """What the server asks for is what is waited, in every form."""
    server.acts.append(Act(status=429, headers={"date": "Sat, 21 Nov 2026 12:00:00 GMT"} | headers))
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    inner = provider(api, server)
    complete(Retrying(inner, sleep=sleep), asking(inner))
    assert len(waits) == 1
    assert 7.0 <= waits[0] <= 7.7


@pytest.mark.parametrize("host", ["127.0.0.1:1", "no-such-host.invalid:80"])
def test_nobody_there(host: str) -> None:
    """Nothing listens, or the name is unknown: unavailable, and certainly not billed."""
    for name in (f"openai:m@http://{host}/v1", f"anthropic:m@http://{host}"):
        inner = (OpenAI if name.startswith("openai") else Anthropic)(parse(name))
        llm = retrying(inner)
        with pytest.raises(LLMUnavailable, match=r"(?s)the connection to .* failed: .* \(after 3 attempts\)"):
            complete(llm, asking(inner))
        assert llm.ambiguous == 0


def test_wrong_key(api: str, server: ProviderServer) -> None:
    """A refused key ends the job at once."""
    server.acts.append(Act(status=401))
    inner = provider(api, server)
    with pytest.raises(LLMStop, match="the key was refused"):
        complete(retrying(inner), asking(inner))
    assert len(server.asked) == 1


def test_no_key() -> None:
    """A key that is missing, or can't be one, is said before anything is sent, by its variable's name."""
    with pytest.raises(UsageError, match="set the environment variable OPENAI_API_KEY"):
        OpenAI(ModelName("openai", "gpt-x"))
    with pytest.raises(UsageError, match="set the environment variable ANTHROPIC_API_KEY"):
        Anthropic(ModelName("anthropic", "claude-x"))
    with pytest.MonkeyPatch.context() as patch:
        for bad in ("two words", "schlüssel", "a\nb"):
            patch.setenv("OPENAI_API_KEY", bad)
            with pytest.raises(UsageError, match="no key has") as error:
                OpenAI(ModelName("openai", "gpt-x"))
            assert bad not in str(error.value)


def test_keys_are_sent(api: str, server: ProviderServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The key of the environment is sent, less the blanks around it; a compatible server needs none."""
    monkeypatch.setenv("OPENAI_API_KEY", " key-of-openai\n")
    llm = provider(api, server)
    complete(llm, asking(llm))
    assert server.asked[0].headers["authorization"] == f"Bearer key-of-{llm.name.provider}"
    monkeypatch.delenv("OPENAI_API_KEY")
    monkeypatch.delenv("ANTHROPIC_API_KEY")
    if api == "chat":
        llm = provider(api, server)
        complete(llm, asking(llm))
        assert server.asked[1].headers["authorization"] == "Bearer none"


def test_anthropic_compatible_servers(server: ProviderServer) -> None:
    """They need no key, and their URL may end in /v1 or not."""
    for url in (server.url, f"{server.url}/v1"):
        llm = Anthropic(parse(f"anthropic:m@{url}"))
        complete(llm, asking(llm))
    assert [asked.api for asked in server.asked] == ["messages"] * 2


def test_requests_for_other_models(api: str, server: ProviderServer) -> None:
    """A request made for another model is a bug: its reply would be journalled under a wrong name."""
    llm = provider(api, server)
    with pytest.raises(ValueError, match="bug"):
        complete(llm, asking(llm, model="openai:another"))
    assert not server.asked


def test_many_at_once(api: str, server: ProviderServer) -> None:
    """Replies are not mixed up when calls overlap."""
    server.answer = lambda asked: f"re: {asked.text}"
    llm = provider(api, server)

    async def run() -> list[str]:
        requests = [asking(llm, messages=(Message("user", str(n)),)) for n in range(40)]
        replies = await asyncio.gather(*(llm.complete(request) for request in requests))
        await llm.close()
        return [reply.text for reply in replies]

    assert asyncio.run(run()) == [f"re: {n}" for n in range(40)]
