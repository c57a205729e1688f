"""Slots at servers: whichever way a server tells of its prompts, the same probabilities are read, or none."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import pytest

from exegete.errors import LLMStop, LLMUnavailable, UsageError
from exegete.llm import LLM, BatchLog, Journal, Message, Reply, Request, open_llm, parse
from exegete.llm.anthropic import Anthropic
from exegete.llm.openai import OpenAI
from exegete.llm.retry import Retrying
from exegete.llm.scripted import Scripted
from exegete.llm.slots import Slots, table
from tests import provider as provider_module
from tests.provider import Act, ProviderServer
from tests.provider_abilities import KNOWS
from tests.provider_slots import prompt_logprobs, usual_odds

LEVELS = tuple("0123456789")
WORDS = ("the", "terribly", "?", "日本", "ĉ?", "9", "(", "unlikely", "\u202e")
WAYS = {
    "prompt_logprobs": KNOWS,
    "echo": frozenset({"echo"}),
    "logprob_token_ids": frozenset({"logprob_token_ids"}),
}


@pytest.fixture
def server(running: ProviderServer, monkeypatch: pytest.MonkeyPatch) -> ProviderServer:
    """The server as new, knowing everything; retries don't wait."""
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY"):
        monkeypatch.setenv(name, "some-key-1234")
    monkeypatch.setattr(Retrying, "_wait_s", lambda *_: 0.0)
    running.acts.clear()
    running.asked.clear()
    running.ledger.clear()
    running.knows, running.refuses, running.odds = KNOWS, frozenset(), usual_odds
    return running


def asking(model: str, words: Collection[str] = WORDS) -> Request:
    """A request whose earlier turns have tabs and placeholders too."""
    turns = (Message("user", "label\t?\nof\t?"), Message("assistant", table(words)))
    return Request(model, "be\t?", turns, slots=Slots(LEVELS), max_tokens=len(words))


def complete(server: ProviderServer, *requests: Request, llm: LLM | None = None) -> list[Reply]:
    """Answer requests one after the other by one provider."""

    async def run() -> list[Reply]:
        opened = OpenAI(parse(f"openai:m@{server.url}/v1")) if llm is None else llm
        try:
            return [await opened.complete(request) for request in requests]
        finally:
            await opened.close()

    return asyncio.run(run())


def true(words: Collection[str]) -> list[list[float]]:
    """Probabilities of the levels after each word, as the server's model has them."""
    found = []
    for word in words:
        odds = usual_odds(f"{word}\t")
        found.append([odds.get(level, 0.0) + odds.get(f" {level}", 0.0) for level in LEVELS])
    return found


def read(reply: Reply) -> list[list[float | None]]:
    """Probabilities in a reply."""
    assert reply.slots is not None
    return [[None if p is None else math.exp(p) for p in odds or ()] for odds in reply.slots]


@pytest.mark.parametrize("way", WAYS)
def test_each_way(way: str, server: ProviderServer) -> None:
    """What is told is read at the right places; of what is not told there is nothing; it is billed once."""
    server.knows = WAYS[way]
    asked = asking(f"openai:m@{server.url}/v1")
    first, second = complete(server, asked, asked)
    for found, expected in zip(read(first), true(WORDS), strict=True):
        for got, p in zip(found, expected, strict=True):
            if way == "logprob_token_ids":
                bare = {0.625: 0.5}.get(p, p)  # it tells of the very token, and not of that with a blank
                assert got == pytest.approx(bare, abs=1e-6)
            else:
                assert got == (pytest.approx(p, abs=1e-6) if p else None)
    assert second.slots == first.slots
    assert second.attempts == 1
    assert (first.text, first.finish) == ("", "stop")
    assert first.input_tokens == server.ledger[-1]["input_tokens"]
    assert server.asked[-1].api == ("chat" if way == "prompt_logprobs" else "completions")
    before = len(server.asked)
    assert before - 1 == {"prompt_logprobs": 1, "echo": 2, "logprob_token_ids": 4}[way], "found once"


def test_what_is_sent(server: ProviderServer) -> None:
    """The model's turn goes as its own, begun; one token is made; the likeliest twenty are asked for."""
    complete(server, asking(f"openai:m@{server.url}/v1"))
    (asked,) = server.asked
    body = dict(asked.body)
    assert [turn["role"] for turn in body.pop("messages")] == ["system", "user", "assistant"]
    assert body == {
        "model": "m",
        "max_tokens": 1,
        "prompt_logprobs": 20,
        "return_token_ids": True,
        "add_generation_prompt": False,
        "continue_final_message": True,
    }


@pytest.mark.parametrize("closed", [False, True])
def test_a_server_that_says_less(closed: bool, server: ProviderServer) -> None:
    """Without the prompt's ids the first of each place is its own; a turn the server ended is read too."""
    asked = asking("m")
    texts = [asked.system, *(message.text for message in asked.messages)]
    prompt = "\n".join(texts) + ("<end>\n<assistant>\n" if closed else "")
    places = prompt_logprobs(prompt, 20, usual_odds)
    choice = {"message": {"role": "assistant", "content": "x"}, "finish_reason": "length"}
    server.acts += [Act(body={"model": "m", "choices": [choice], "prompt_logprobs": places})]
    (reply,) = complete(server, asking(f"openai:m@{server.url}/v1"))
    assert [[p or 0.0 for p in row] for row in read(reply)] == [pytest.approx(row) for row in true(WORDS)]
    assert reply.input_tokens is None


def damaged(how: str) -> list[Any]:
    """A reply's places in which something is wrong."""
    asked = asking("m")
    text = "\n".join(message.text for message in asked.messages)
    if how == "another word":
        return prompt_logprobs(text.replace("unlikely", "likely"), 20, usual_odds)
    places: list[Any] = prompt_logprobs(text, 20, usual_odds)
    if how == "cut":
        return places[:-3]
    if how == "more":
        return [*places, *prompt_logprobs(" x\t?", 20, usual_odds)]
    if how == "no texts":
        return [place and {token: {"logprob": -1.0} for token in place} for place in places]
    return [place if i % 5 else "?" for i, place in enumerate(places)]


@pytest.mark.parametrize("how", ["another word", "cut", "more", "no texts", "broken"])
def test_what_does_not_align(how: str, server: ProviderServer) -> None:
    """Tokens that don't show the table are not guessed at: every slot is missing."""
    choice = {"message": {"role": "assistant", "content": "x"}, "finish_reason": "length"}
    server.acts += [Act(body={"model": "m", "choices": [choice], "prompt_logprobs": damaged(how)})]
    (reply,) = complete(server, asking(f"openai:m@{server.url}/v1"))
    assert reply.slots == (None,) * len(WORDS)


def test_tokens_that_do_not_align(server: ProviderServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a tokenizer makes something else of a prompt, its slots are missing, and nothing is paid."""
    server.knows = WAYS["logprob_token_ids"]
    asked = asking(f"openai:m@{server.url}/v1")
    complete(server, asked)
    paid = len(server.ledger)
    real = provider_module.tokenized

    def without_tabs(body: Mapping[str, Any]) -> dict[str, Any]:
        told = real(body)
        return told if "prompt" in body else told | {"token_strs": ["x"] * len(told["tokens"])}

    monkeypatch.setattr(provider_module, "tokenized", without_tabs)
    server.refuses = frozenset({"messages", "echo"})
    (reply,) = complete(server, asked)
    assert reply.slots == (None,) * len(WORDS)
    assert (reply.input_tokens, reply.output_tokens) == (0, 0)
    assert len(server.ledger) == paid


def test_a_server_that_can_not(server: ProviderServer) -> None:
    """A server that ignores or refuses all of it is said to, with what can; one that is in trouble is not."""
    asked = asking(f"openai:m@{server.url}/v1")
    server.knows = frozenset()
    with pytest.raises(UsageError, match=r"tells no probabilities .*hf:FOLDER.* vLLM; --simulator sparse"):
        complete(server, asked)
    server.refuses = frozenset({"prompt_logprobs", "echo"})
    with pytest.raises(LLMUnavailable, match="unsupported parameter: prompt_logprobs"):
        complete(server, asked)
    server.knows, server.refuses = KNOWS, frozenset()
    server.acts += [Act(status=503)]
    with pytest.raises(LLMUnavailable, match="503"):
        complete(server, asked)
    server.acts += [Act(status=401)]
    with pytest.raises(LLMStop):
        complete(server, asked, llm=Retrying(OpenAI(parse(asked.model))))


def test_a_server_that_changes(server: ProviderServer) -> None:
    """A server that told of its prompt and suddenly doesn't is asked again, as after any unreadable reply."""
    asked = asking(f"openai:m@{server.url}/v1")
    choice = {"message": {"role": "assistant", "content": "x"}, "finish_reason": "length"}
    server.acts += [Act(), Act(body={"model": "m", "choices": [choice]})]
    first, second = complete(server, asked, asked, llm=Retrying(OpenAI(parse(asked.model))))
    assert second.slots == first.slots
    assert second.attempts == 2


def test_fewer_likeliest(server: ProviderServer) -> None:
    """A server that repeats prompts with five likeliest tokens at most is asked for five."""
    server.knows = frozenset({"echo"})
    limit = {"error": {"message": "logprobs: at most 5", "param": "logprobs"}}
    server.acts += [Act(), Act(status=400, body=limit)]
    (reply,) = complete(server, asking(f"openai:m@{server.url}/v1"))
    assert [asked.body.get("logprobs") for asked in server.asked] == [None, 20, 5]
    assert [[p or 0.0 for p in row] for row in read(reply)] == [pytest.approx(row) for row in true(WORDS)]
    assert reply.attempts == 3


def test_models_that_can_not(server: ProviderServer, tmp_path: Any) -> None:
    """Providers without such probabilities refuse in words, and send nothing."""
    (tmp_path / "script").write_text('{"reply": "x"}')
    models: Mapping[str, LLM] = {
        "openai:m": OpenAI(parse("openai:m"), official_url=f"{server.url}/v1"),
        f"anthropic:m@{server.url}": Anthropic(parse(f"anthropic:m@{server.url}")),
        f"scripted:{tmp_path / 'script'}": Scripted(tmp_path / "script"),
    }
    for name, llm in models.items():
        with pytest.raises(UsageError, match=r"tells no probabilities at places of a prompt: local models"):
            complete(server, asking(name), llm=llm)
    assert server.asked == []


def test_not_in_batches(server: ProviderServer, tmp_path: Path) -> None:
    """A batch API is not asked for them either: what it sent would be paid for and unreadable."""
    asked = asking(f"openai:m@{server.url}/v1")

    async def run() -> None:
        with Journal(tmp_path / "journal") as journal, BatchLog(tmp_path / "batches") as log:
            llm = open_llm(asked.model, journal=journal, batches=log)
            try:
                await llm.complete(asked)
            finally:
                await llm.close()

    with pytest.raises(UsageError, match="in batches tells no probabilities"):
        asyncio.run(run())
    assert server.asked == []
