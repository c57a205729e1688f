"""Anthropic, by its Messages API, and servers compatible with it.

As in openai.py, one call is one HTTP request and the SDK's retries are off.
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
from exegete.llm.rates import Rates
from exegete.llm.schema import known, with_schema_in_words
from exegete.llm.wire import (
    conversation,
    count,
    deep,
    key_from,
    plain,
    refuse_other_models,
    refuse_slots,
)

if TYPE_CHECKING:
    import anthropic

OFFICIAL = "https://api.anthropic.com"
TIMEOUT_S = 600.0
CONNECT_TIMEOUT_S = 10.0
KEY = "ANTHROPIC_API_KEY"
MESSAGES = "/v1/messages"

WORDS = {
    "temperature": ("temperature",),
    "schema": ("output_config", "output_format", "json_schema", "structured output"),
}
"""By parameter, the words by which servers name it when they refuse it."""
_FINISH: Mapping[str, Finish] = {
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "pause_turn": "length",
    "refusal": "refusal",
}


class Anthropic:
    """A model at Anthropic or at a server compatible with it."""

    def __init__(
        self, name: ModelName, *, timeout_s: float = TIMEOUT_S, official_url: str = OFFICIAL
    ) -> None:
        """Make a client; nothing is sent yet.

        Args:
            name: with a URL, that server is used (with or without "/v1" at its end).
            timeout_s: for one whole exchange.
            official_url: where Anthropic is.

        Raises:
            UsageError: ANTHROPIC_API_KEY is not set (compatible servers don't need it), or can't be a key.
        """
        self.name = name
        self._timeout_s = timeout_s
        self._downgrades = Downgrades(str(name), WORDS)
        self._client = client_of(name, timeout_s, official_url)
        self._connections = Connections(self._client, min(timeout_s, CONNECT_TIMEOUT_S))

    async def complete(self, request: Request) -> Reply:
        """Answer one request.

        Raises:
            CallFailed: an LLMUnavailable; wrapped in `Retrying`, it is tried again where that helps.
        """
        refuse_other_models(self.name, request)
        refuse_slots(self.name, request)
        used = optional_in(request)
        started = time.monotonic()
        reply = await self._downgrades.run(lambda left_out: self._send(request, left_out), used)
        return replace(reply, latency_s=time.monotonic() - started)

    async def close(self) -> None:
        """Close connections."""
        await self._connections.close()

    async def exchange(self, request: Request, more: Mapping[str, Any]) -> dict[str, Any]:
        """Send one request with further parameters; see `OpenAI.exchange`."""
        return (await self._body(request, frozenset(), more))[0]

    def read(self, body: Mapping[str, Any]) -> Reply:
        """What `exchange` returned as a Reply; see `OpenAI.read`."""
        return read_message(body, str(self.name))

    async def batches(self) -> dict[str, Any]:
        """The body of a list of the account's batches; see `OpenAI.batches`."""
        call = self._client.messages.batches.with_raw_response.list(limit=1)
        return (await body_of(str(self.name), call, self._timeout_s))[0]

    async def _send(self, request: Request, left_out: frozenset[str]) -> Reply:
        """One message."""
        body, rates = await self._body(request, left_out, {})
        return replace(read_message(body, str(self.name)), rates=rates)

    async def _body(
        self, request: Request, left_out: frozenset[str], more: Mapping[str, Any]
    ) -> tuple[dict[str, Any], Rates | None]:
        """The body that comes back for a request, and what is said of rate limits."""
        call = self._connections.post(MESSAGES, message_body(self.name.name, request, left_out) | dict(more))
        return await body_of(str(self.name), call, self._timeout_s)


def client_of(name: ModelName, timeout_s: float, official_url: str = OFFICIAL) -> anthropic.AsyncAnthropic:
    """A client of the SDK that never tries again by itself; arguments and errors as of `Anthropic`."""
    import anthropic

    key = key_from((KEY,), needed=name.url is None, why=f"{name} needs a key")
    return anthropic.AsyncAnthropic(
        api_key=key or "none",  # given, so that the SDK looks for no other credentials
        base_url=(name.url or official_url).removesuffix("/v1"),
        max_retries=0,
        timeout=anthropic.Timeout(timeout_s, connect=min(timeout_s, CONNECT_TIMEOUT_S)),
        http_client=anthropic.DefaultAsyncHttpxClient(limits=sdk_limits(), verify=certificates()),
    )


def message_body(model: str, request: Request, left_out: frozenset[str]) -> dict[str, Any]:
    """What is sent for a request, without the parameters the model refuses."""
    import anthropic

    texts = conversation(request)
    options: dict[str, Any] = {}
    if request.system:
        # The same for every feature: from the second call on it is read from the cache.
        part = {"type": "text", "text": request.system, "cache_control": {"type": "ephemeral"}}
        options["system"] = [part]
    if request.temperature is not None and "temperature" not in left_out:
        options["temperature"] = request.temperature
    if request.schema is not None and "schema" in left_out:
        texts = with_schema_in_words(texts, request.schema)
    elif request.schema is not None:
        schema = anthropic.transform_schema(dict(known(request.schema).strict))
        options["output_config"] = {"format": {"type": "json_schema", "schema": schema}}
    turns = [{"role": role, "content": text} for role, text in texts]
    return {"model": model, "max_tokens": request.max_tokens, "messages": turns, **options}


def read_message(body: Mapping[str, Any], model: str) -> Reply:
    """A message as a Reply.

    Anthropic counts input tokens that were written to or read from its cache apart; here they are part of
    `input_tokens`, as they are everywhere else.

    Raises:
        CallFailed: the body describes an error, or holds no content.
    """
    if body.get("type") == "error":
        raise in_body(model, body.get("error"))
    content = body.get("content")
    if not isinstance(content, list):
        raise unreadable(model, "it holds no content")
    usage = body.get("usage")
    cached = count(usage, "cache_read_input_tokens")
    fresh = count(usage, "input_tokens")
    written = count(usage, "cache_creation_input_tokens")
    return Reply(
        text="".join(plain(deep(block, "text")) for block in content if deep(block, "type") == "text"),
        finish=_FINISH.get(str(body.get("stop_reason")), "stop"),
        served_by=str(body.get("model") or model),
        input_tokens=None if fresh is None else fresh + (written or 0) + (cached or 0),
        output_tokens=count(usage, "output_tokens"),
        cached_tokens=cached,
        latency_s=0.0,
        cache_write_tokens=written,
    )
