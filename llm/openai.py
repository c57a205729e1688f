"""OpenAI, by its Responses API, and every server that speaks its chat completions.

One call here is one HTTP request (and one more for each parameter a model turns out to refuse): trying again
is retry.py's business, so the SDK's own retries are off.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from exegete.llm.connections import Connections, certificates, sdk_limits
from exegete.llm.downgrade import Downgrades, optional_in
from exegete.llm.failure import body_of, in_body, unreadable
from exegete.llm.llm import Finish, Reply, Request
from exegete.llm.names import ModelName
from exegete.llm.openai_slots import FEWER, SlotReader, echo_of, reply_of
from exegete.llm.rates import Rates
from exegete.llm.schema import known, name_of, with_schema_in_words
from exegete.llm.wire import (
    conversation,
    count,
    deep,
    key_from,
    listed,
    plain,
    refuse_other_models,
    refuse_slots,
)

if TYPE_CHECKING:
    import openai

OFFICIAL = "https://api.openai.com/v1"
CHAT = "/chat/completions"
RESPONSES = "/responses"
TIMEOUT_S = 600.0
CONNECT_TIMEOUT_S = 10.0
KEY = "OPENAI_API_KEY"

WORDS = {
    "temperature": ("temperature",),
    "schema": ("response_format", "json_schema", "text.format", "structured output"),
    "max_tokens": ("max_completion_tokens",),
}
"""By parameter, the words by which servers name it when they refuse it."""
_FINISH: Mapping[str, Finish] = {"length": "length", "content_filter": "filtered"}
_BROKEN_OFF = frozenset({"abort", "error"})


class OpenAI:
    """A model at OpenAI or at a server compatible with it."""

    def __init__(
        self, name: ModelName, *, timeout_s: float = TIMEOUT_S, official_url: str = OFFICIAL
    ) -> None:
        """Make a client; nothing is sent yet.

        Args:
            name: with a URL, that server's chat completions are used; without, OpenAI's Responses API.
            timeout_s: for one whole exchange.
            official_url: where the Responses API is.

        Raises:
            UsageError: OPENAI_API_KEY is not set (compatible servers don't need it), or can't be a key.
        """
        self.name = name
        self._timeout_s = timeout_s
        self._downgrades = Downgrades(str(name), WORDS)
        self._client = client_of(name, timeout_s, official_url)
        self._connections = Connections(self._client, min(timeout_s, CONNECT_TIMEOUT_S))
        self._slots = SlotReader(name, self._client, timeout_s)

    async def complete(self, request: Request) -> Reply:
        """Answer one request.

        Raises:
            CallFailed: an LLMUnavailable; wrapped in `Retrying`, it is tried again where that helps.
            UsageError: it asks for probabilities at slots, and the server tells none.
        """
        refuse_other_models(self.name, request)
        started = time.monotonic()
        if request.slots is not None and self.name.url:
            reply = await self._slots.complete(request)
            return replace(reply, latency_s=time.monotonic() - started)
        refuse_slots(self.name, request)
        send = self._chat if self.name.url else self._respond
        used = parameters(self.name, request)
        reply = await self._downgrades.run(lambda left_out: send(request, left_out), used)
        return replace(reply, latency_s=time.monotonic() - started)

    async def close(self) -> None:
        """Close connections."""
        await self._connections.close()

    async def exchange(self, request: Request, more: Mapping[str, Any]) -> dict[str, Any]:
        """Send one request with further parameters as they are on the wire, and return the body as it came.

        Nothing is left out and nothing is sent again: this is for finding out what the server takes.

        Raises:
            CallFailed: there was no response, or an error response.
        """
        make, path = (chat_body, CHAT) if self.name.url else (response_body, RESPONSES)
        asked = make(self.name.name, request, self._downgrades.refused & {"max_tokens"})
        call = self._connections.post(path, asked | dict(more))
        return (await body_of(str(self.name), call, self._timeout_s))[0]

    def read(self, body: Mapping[str, Any]) -> Reply:
        """What `exchange` returned as a Reply.

        Raises:
            CallFailed: it is none.
        """
        return (read_chat if self.name.url else read_response)(body, str(self.name))

    async def echo(self, text: str) -> tuple[dict[str, Any], Reply]:
        """The body of a completion that repeats a text and tells of its tokens, as it came and as a Reply.

        Raises:
            CallFailed: there was no response, or an error response.
        """
        call = echo_of(self._client, self.name.name, text, FEWER)
        body = (await body_of(str(self.name), call, self._timeout_s))[0]
        return body, reply_of(body, str(self.name))

    async def batches(self) -> dict[str, Any]:
        """The body of a list of the account's batches, one at most: it shows whether there can be any.

        Raises:
            CallFailed: there was no response, or an error response.
        """
        call = self._client.batches.with_raw_response.list(limit=1)
        return (await body_of(str(self.name), call, self._timeout_s))[0]

    async def _chat(self, request: Request, left_out: frozenset[str]) -> Reply:
        """One chat completion."""
        asked = chat_body(self.name.name, request, left_out)
        call = self._connections.post(CHAT, asked)
        body, rates = await body_of(str(self.name), call, self._timeout_s)
        return _with_rates(read_chat(body, str(self.name)), rates)

    async def _respond(self, request: Request, left_out: frozenset[str]) -> Reply:
        """One call of the Responses API."""
        asked = response_body(self.name.name, request, left_out)
        call = self._connections.post(RESPONSES, asked)
        body, rates = await body_of(str(self.name), call, self._timeout_s)
        return _with_rates(read_response(body, str(self.name)), rates)


def _with_rates(reply: Reply, rates: Rates | None) -> Reply:
    """A reply and what came with it of rate limits, if anything did."""
    return reply if rates is None else replace(reply, rates=rates)


def client_of(name: ModelName, timeout_s: float, official_url: str = OFFICIAL) -> openai.AsyncOpenAI:
    """A client of the SDK that never tries again by itself; arguments and errors as of `OpenAI`."""
    import openai

    key = key_from((KEY,), needed=name.url is None, why=f"{name} needs a key")
    return openai.AsyncOpenAI(
        api_key=key or "none",  # the SDK insists on one
        base_url=name.url or official_url,
        max_retries=0,
        timeout=openai.Timeout(timeout_s, connect=min(timeout_s, CONNECT_TIMEOUT_S)),
        http_client=openai.DefaultAsyncHttpxClient(limits=sdk_limits(), verify=certificates()),
    )


def parameters(name: ModelName, request: Request) -> frozenset[str]:
    """The parameters of a request that a model may refuse."""
    return optional_in(request) | (frozenset({"max_tokens"}) if name.url else frozenset())


def chat_body(model: str, request: Request, left_out: frozenset[str]) -> dict[str, Any]:
    """What is sent for a request to chat completions, without the parameters the model refuses."""
    texts = conversation(request, system_role="system")
    limit = "max_completion_tokens" if "max_tokens" in left_out else "max_tokens"
    options: dict[str, Any] = {limit: request.max_tokens}
    if request.temperature is not None and "temperature" not in left_out:
        options["temperature"] = request.temperature
    if request.schema is not None and "schema" in left_out:
        texts = with_schema_in_words(texts, request.schema)
    elif request.schema is not None:
        schema = {"name": name_of(request.schema), "schema": known(request.schema).strict, "strict": True}
        options["response_format"] = {"type": "json_schema", "json_schema": schema}
    turns = [{"role": role, "content": text} for role, text in texts]
    return {"model": model, "messages": turns, **options}


def response_body(model: str, request: Request, left_out: frozenset[str]) -> dict[str, Any]:
    """What is sent for a request to the Responses API. Nothing is kept at the server."""
    texts = conversation(request)
    options: dict[str, Any] = {"max_output_tokens": request.max_tokens, "store": False}
    if request.system:
        options["instructions"] = request.system
    if request.temperature is not None and "temperature" not in left_out:
        options["temperature"] = request.temperature
    if request.schema is not None and "schema" in left_out:
        texts = with_schema_in_words(texts, request.schema)
    elif request.schema is not None:
        schema = {"name": name_of(request.schema), "schema": known(request.schema).strict, "strict": True}
        options["text"] = {"format": {"type": "json_schema", **schema}}
    turns = [{"role": role, "content": text} for role, text in texts]
    return {"model": model, "input": turns, **options}


def read_chat(body: Mapping[str, Any], model: str) -> Reply:
    """A chat completion as a Reply.

    Raises:
        CallFailed: the body describes an error, or holds no choice.
    """
    if body.get("error"):
        raise in_body(model, body["error"])
    message = deep(body, "choices", 0, "message")
    if not isinstance(message, Mapping):
        raise unreadable(model, "it holds no choice")
    reason = str(deep(body, "choices", 0, "finish_reason"))
    if reason in _BROKEN_OFF:
        raise in_body(model, f"the server broke off (finish_reason {reason})")
    refusal = plain(message.get("refusal"))
    usage = body.get("usage")
    return Reply(
        text=refusal or plain(message.get("content")),
        finish="refusal" if refusal else _FINISH.get(reason, "stop"),
        served_by=str(body.get("model") or model),
        input_tokens=count(usage, "prompt_tokens"),
        output_tokens=count(usage, "completion_tokens"),
        cached_tokens=count(usage, "prompt_tokens_details", "cached_tokens"),
        latency_s=0.0,
        cache_write_tokens=count(usage, "prompt_tokens_details", "cache_write_tokens"),
    )


def read_response(body: Mapping[str, Any], model: str) -> Reply:
    """A response of the Responses API as a Reply.

    Raises:
        CallFailed: the response failed, or holds no output.
    """
    error = body.get("error")
    if error and "policy" not in str(deep(error, "code")):
        raise in_body(model, error)
    if not error and not isinstance(body.get("output"), list):
        raise unreadable(model, "it holds no output")
    parts = _parts(body)
    refusal = "".join(plain(part.get("refusal")) for part in parts if part.get("type") == "refusal")
    text = "".join(plain(part.get("text")) for part in parts if part.get("type") == "output_text")
    usage = body.get("usage")
    return Reply(
        text=refusal or text,
        finish=_finish_of(body, bool(refusal)),
        served_by=str(body.get("model") or model),
        input_tokens=count(usage, "input_tokens"),
        output_tokens=count(usage, "output_tokens"),
        cached_tokens=count(usage, "input_tokens_details", "cached_tokens"),
        latency_s=0.0,
        cache_write_tokens=count(usage, "input_tokens_details", "cache_write_tokens"),
    )


def _parts(body: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Content parts of all messages of a response; reasoning and tool calls have none that matter here."""
    messages = (item for item in listed(body.get("output")) if deep(item, "type") == "message")
    parts = (part for message in messages for part in listed(deep(message, "content")))
    return [part for part in parts if isinstance(part, Mapping)]


def _finish_of(body: Mapping[str, Any], refused: bool) -> Finish:
    """Why a response ended."""
    if body.get("error"):
        return "filtered"
    if refused:
        return "refusal"
    if body.get("status") == "incomplete":
        return "filtered" if deep(body, "incomplete_details", "reason") == "content_filter" else "length"
    return "stop"
