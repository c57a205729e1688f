"""What servers can do: only what a reply shows counts."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Collection
from typing import Any, get_args

import httpx2
import openai
import pytest

from exegete.errors import LLMStop, LLMUnavailable
from exegete.llm import LLM, ModelName, Request, parse
from exegete.llm import probe as probe_module
from exegete.llm.abilities import ABILITIES, NOT_ASKED, Abilities, Ability, AbilityName, shortfalls
from exegete.llm.anthropic import Anthropic
from exegete.llm.openai import OpenAI
from exegete.llm.probe import Findings, probe
from exegete.llm.retry import Retrying
from tests.provider import Act, Asked, ProviderServer, Said
from tests.provider_abilities import KNOWS

APIS = ("chat", "responses", "messages")
LOGPROBS: tuple[AbilityName, ...] = ("output_logprobs", "prompt_logprobs", "token_id_logprobs")


def greeting(asked: Asked) -> str | dict[str, Any]:
    """What an able model says: the word that a schema allows, or a greeting."""
    if asked.schema is None:
        return "Hello there!"
    (name,) = asked.schema["properties"]
    return {name: asked.schema["properties"][name]["enum"][0]}


@pytest.fixture
def server(running: ProviderServer, monkeypatch: pytest.MonkeyPatch) -> ProviderServer:
    """The server, knowing everything; retries don't wait."""
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY"):
        monkeypatch.setenv(name, "some-key-1234")
    monkeypatch.setattr(Retrying, "_wait_s", lambda *_: 0.0)
    running.acts.clear()
    running.asked.clear()
    running.ledger.clear()
    running.answer, running.knows, running.refuses = greeting, KNOWS, frozenset()
    return running


def name_of(api: str, server: ProviderServer, patch: pytest.MonkeyPatch) -> ModelName:
    """A name whose provider talks to the server by that API."""
    if api == "chat":
        return parse(f"openai:m@{server.url}/v1")
    if api == "messages":
        return parse(f"anthropic:m@{server.url}")
    patch.setattr(
        probe_module, "provider_of", lambda name: OpenAI(name, official_url=f"{server.url}/v1"), raising=True
    )
    return parse("openai:m")


def ask(name: ModelName, *wanted: AbilityName) -> Findings:
    """Probe a model."""
    return asyncio.run(probe(name, wanted))


def has(findings: Findings, names: Collection[AbilityName] = ABILITIES) -> dict[str, bool | None]:
    """What was found of those that were settled or failed."""
    return {n: findings.abilities.of(n).has for n in names if findings.abilities.of(n) != NOT_ASKED}


@pytest.mark.parametrize("api", APIS)
def test_an_able_server(api: str, server: ProviderServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every ability that the API has is found at a server that has it, by few counted tokens."""
    findings = ask(name_of(api, server, monkeypatch), *ABILITIES)
    logs = {"chat": (True, True, True), "responses": (True, False, False), "messages": (False, False, False)}
    assert has(findings) == {
        "structured_output": True,
        "temperature": True,
        "caching": True,
        "batch": True,
        **dict(zip(LOGPROBS, logs[api], strict=True)),
    }
    assert findings.hello is not None
    assert findings.spent.calls == len(server.ledger)
    assert findings.spent.input_tokens == sum(entry["input_tokens"] for entry in server.ledger)
    assert findings.spent.output_tokens == sum(entry["output_tokens"] for entry in server.ledger)
    assert findings.spent.unreported == 0
    assert findings.spent.input_tokens + findings.spent.output_tokens < 200
    limits = ("max_tokens", "max_output_tokens")
    assert all(
        16 <= next(one.body[name] for name in limits if name in one.body) <= 64 for one in server.asked
    )


@pytest.mark.parametrize("api", APIS)
def test_a_server_that_ignores_what_it_does_not_know(
    api: str, server: ProviderServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A parameter that is taken and changes nothing in the reply is no ability; temperature stays unknown."""
    server.knows, server.answer = frozenset(), lambda asked: "Hello there!"
    name = name_of(api, server, monkeypatch)
    findings = ask(name, "structured_output", "temperature", *LOGPROBS)
    assert has(findings) == {
        "structured_output": False,
        "temperature": None,
        **dict.fromkeys(LOGPROBS, False),
    }
    assert findings.abilities.structured_output.seen == "taken, and ignored"
    assert findings.abilities.temperature == Ability(None, "taken, and so is -1: perhaps ignored")
    assert findings.abilities.refused == {"schema"}


@pytest.mark.parametrize("api", APIS)
def test_a_server_that_refuses(api: str, server: ProviderServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A refusal settles an ability, with the server's words, and costs nothing."""
    server.refuses = frozenset(
        {"temperature", "response_format", "text", "output_config", "logprobs", "include"}
    )
    findings = ask(name_of(api, server, monkeypatch), "structured_output", "temperature", "output_logprobs")
    assert set(has(findings).values()) == {False}
    assert findings.abilities.temperature.seen == "refused: unsupported parameter: temperature"
    assert findings.abilities.refused == {"schema", "temperature"}
    assert (findings.spent.calls, len(server.ledger)) == (1, 1)


def test_only_what_is_wanted_is_asked(server: ProviderServer) -> None:
    """One plain request, and one an ability; nothing of others."""
    name = parse(f"openai:m@{server.url}/v1")
    findings = ask(name, "prompt_logprobs")
    assert has(findings) == {"prompt_logprobs": True}
    plain, other = (dict(asked.body) for asked in server.asked)
    assert set(other) - set(plain) == {"prompt_logprobs"}
    assert len(server.asked) == 2
    assert set(has(ask(name))) == set()


def test_a_server_that_repeats_prompts(server: ProviderServer) -> None:
    """Where chat tells nothing of a prompt, and completions that repeat one do, that is the same ability."""
    server.knows = frozenset({"echo"})
    name = parse(f"openai:m@{server.url}/v1")
    found = ask(name, "prompt_logprobs").abilities.prompt_logprobs
    assert found == Ability(True, "completions repeat them")
    assert [asked.api for asked in server.asked] == ["chat", "chat", "completions"]
    server.knows, server.refuses = KNOWS, frozenset({"prompt"})
    assert ask(name, "prompt_logprobs").abilities.prompt_logprobs == Ability(True, "they came back")


@pytest.mark.parametrize(
    "reply",
    [
        {"logprobs": None},
        {"logprobs": {"content": []}},
        {"logprobs": {"content": [{"token": "a", "logprob": None, "top_logprobs": []}]}},
        {"logprobs": {"content": [{"token": "a", "logprob": -1.0, "top_logprobs": []}]}},
        {
            "logprobs": {
                "content": [{"token": "a", "logprob": -1.0, "top_logprobs": [{"token": "a", "logprob": -1}]}]
            }
        },
        {"logprobs": "yes"},
    ],
)
def test_half_an_answer_is_none(server: ProviderServer, reply: dict[str, Any]) -> None:
    """Logprobs that are empty, without numbers, without other tokens, or not of chosen ones don't count."""
    message = {"role": "assistant", "content": "hi"}
    choice = {"message": message, "finish_reason": "stop", **reply}
    body = {"model": "m", "choices": [choice], "prompt_logprobs": [None, {}, {"1": {"logprob": "low"}}]}
    server.acts += [Act(body=body)] * 5
    found = has(ask(parse(f"openai:m@{server.url}/v1"), *LOGPROBS))
    tops = bool(reply["logprobs"] and '"a", "logprob": -1}' in json.dumps(reply))
    assert found == {"output_logprobs": tops, "prompt_logprobs": False, "token_id_logprobs": False}


@pytest.mark.parametrize(("enough", "expected"), [(1000, True), (2000, None)])
def test_models_that_think_first_get_more_room(
    enough: int, expected: bool | None, server: ProviderServer
) -> None:
    """A reply cut before it said anything is asked for once more with more room; cut again, it is unknown."""

    def thinking(asked: Asked) -> Any:
        return Said("", "length") if asked.body["max_tokens"] < enough else greeting(asked)

    server.answer = thinking
    findings = ask(parse(f"openai:m@{server.url}/v1"), "structured_output")
    assert findings.abilities.structured_output.has is expected
    assert [asked.body["max_tokens"] for asked in server.asked] == [16, 64, 1024]


def test_a_refusal_of_the_model_shows_nothing(server: ProviderServer) -> None:
    """A model that refuses to answer leaves its server's abilities unknown."""
    server.answer = lambda asked: Said("no", "refusal")
    assert (
        ask(parse(f"openai:m@{server.url}/v1"), "structured_output").abilities.structured_output.has is None
    )


def test_trouble_is_tried_again_and_settles_nothing(server: ProviderServer) -> None:
    """A 503 is tried again; a server that stays in trouble leaves an ability open for another time."""
    server.acts += [Act(), Act(status=503)]
    name = parse(f"openai:m@{server.url}/v1")
    assert ask(name, "output_logprobs").abilities.output_logprobs.has is True
    server.acts += [Act(), *[Act(status=503)] * 3]
    found = ask(name, "output_logprobs").abilities.output_logprobs
    assert (found.has, found.settled) == (None, False)
    assert found.seen.startswith("no answer: openai:m@")


def test_a_server_that_can_not_be_used(server: ProviderServer) -> None:
    """Without a reply to the plain request nothing else is asked; a spent account ends the asking."""
    name = parse(f"openai:m@{server.url}/v1")
    server.acts += [Act(status=401)]
    with pytest.raises(LLMStop):
        ask(name, *ABILITIES)
    assert len(server.asked) == 1
    server.acts += [Act(), Act(status=402)]
    with pytest.raises(LLMStop):
        ask(name, *ABILITIES)
    with pytest.raises(LLMUnavailable, match="no server answers"):
        ask(parse("openai:m@http://127.0.0.1:9/v1"), *ABILITIES)


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (200, {"object": "list", "data": []}, True),
        (200, {"hello": 1}, False),
        (404, {"detail": "Not Found"}, False),
        (503, {}, None),
    ],
)
@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_batch(
    provider: str,
    status: int,
    body: Any,
    expected: bool | None,
    server: ProviderServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A batch API is one whose list comes back; asking for it makes no call that costs."""
    paths: list[str] = []

    def handler(request: httpx2.Request) -> httpx2.Response:
        paths.append(request.url.path)
        return httpx2.Response(status, json=body)

    def opened(name: ModelName) -> LLM:
        made: Any = (OpenAI if provider == "openai" else Anthropic)(name)
        transport = openai.DefaultAsyncHttpxClient(transport=httpx2.MockTransport(handler))
        other = made._client.with_options(http_client=transport)
        monkeypatch.setattr(made, "batches", type(made).batches.__get__(_with_client(made, other)))
        return made  # type: ignore[no-any-return]

    monkeypatch.setattr(probe_module, "provider_of", opened)
    name = parse(f"{provider}:m@{server.url}" + ("/v1" if provider == "openai" else ""))
    findings = ask(name, "batch")
    assert findings.abilities.batch.has is expected
    assert paths == ["/v1/batches" if provider == "openai" else "/v1/messages/batches"]
    assert len(server.ledger) == findings.spent.calls == 1


def _with_client(llm: Any, client: Any) -> Any:
    """A provider that uses another client."""
    other = object.__new__(type(llm))
    other.__dict__ |= llm.__dict__ | {"_client": client}
    return other


def test_models_without_a_server(tmp_path: Any) -> None:
    """A script's abilities are known without a call."""
    script = tmp_path / "s.jsonl"
    script.write_text('{"reply": "x"}')
    findings = ask(parse(f"scripted:{script}"), *ABILITIES)
    assert has(findings) == {
        "structured_output": True,
        "temperature": True,
        "caching": False,
        "batch": False,
        **dict.fromkeys(LOGPROBS, False),
    }
    assert (findings.hello, findings.spent.calls) == (None, 0)


def test_shortfalls() -> None:
    """One line for each thing that is needed and not had, saying what is done instead; nothing else."""
    no, yes = Ability(False, "refused"), Ability(True, "seen")
    lacking = Abilities("openai:m@http://h/v1", no, no, yes, no, no, no, no)
    assert shortfalls(lacking, {"structured_output", "output_logprobs"}) == [
        "openai:m@http://h/v1: no structured output (refused): the schema is written into the prompt and "
        "replies are read leniently"
    ]
    assert shortfalls(lacking, {"temperature", "structured_output"})[1] == (
        "openai:m@http://h/v1: no temperature (refused): it is left out, and the server's own setting holds"
    )
    assert shortfalls(lacking, set()) == []
    (line,) = shortfalls(Abilities("m"), {"temperature"})
    assert line.startswith(
        "m: temperature unknown (not asked): it is asked for, and if it is refused, it is left out"
    )


def test_abilities_have_one_order() -> None:
    """Names, fields and what is built from them agree."""
    assert get_args(AbilityName) == ABILITIES == tuple(Abilities.__dataclass_fields__)[1:]
    one = {name: Ability(True, name) for name in ABILITIES}
    updated = Abilities("m").updated(one)
    assert {name: updated.of(name) for name in ABILITIES} == one
    assert updated.unsettled(ABILITIES) == []


def test_requests_are_what_jobs_send(server: ProviderServer) -> None:
    """The schema is asked for in the very form of a job's requests."""
    name = parse(f"openai:m@{server.url}/v1")
    ask(name, "structured_output")
    probed = server.asked[-1]
    assert probed.schema is not None

    async def run() -> None:
        llm = OpenAI(name)
        await llm.complete(
            Request(str(name), "", tuple(probed.as_request().messages), schema=probed.schema, max_tokens=64)
        )
        await llm.close()

    asyncio.run(run())
    assert server.asked[-1].body["response_format"].keys() == probed.body["response_format"].keys()
    assert server.asked[-1].schema == probed.schema
