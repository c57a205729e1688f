"""Anthropic, by its Messages API, and servers compatible with it.

As in openai.py, one call is one HTTP request and the SDK's retries are off.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from exegete.llm.downgrade import Downgrades
from exegete.llm.failure import body_of, in_body, unreadable
from exegete.llm.llm import Finish, Reply, Request
from exegete.llm.names import ModelName
from exegete.llm.schema import strict, with_schema_in_words
from exegete.llm.wire import conversation, count, deep, key_from, plain, refuse_other_models

if TYPE_CHECKING:
    import anthropic

OFFICIAL = "https://api.anthropic.com"
TIMEOUT_S = 600.0
CONNECT_TIMEOUT_S = 10.0
KEY = "ANTHROPIC_API_KEY"

_WORDS = {
    "temperature": ("temperature",),
    "schema": ("output_config", "output_format", "json_schema", "structured output"),
}
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
        import anthropic

        key = key_from((KEY,), needed=name.url is None, why=f"{name} needs a key")
        self.name = name
        self._timeout_s = timeout_s
        self._downgrades = Downgrades(str(name), _WORDS)
        self._client: anthropic.AsyncAnthropic = anthropic.AsyncAnthropic(
            api_key=key or "none",  # given, so that the SDK looks for no other credentials
            base_url=(name.url or official_url).removesuffix("/v1"),
            max_retries=0,
            timeout=anthropic.Timeout(timeout_s, connect=min(timeout_s, CONNECT_TIMEOUT_S)),
        )

    async def complete(self, request: Request) -> Reply:
        """Answer one request.

        Raises:
            CallFailed: an LLMUnavailable; wrapped in `Retrying`, it is tried again where that helps.
        """
        refuse_other_models(self.name, request)
        used = {"temperature"} if request.temperature is not None else set()
        used |= {"schema"} if request.schema is not None else set()
        started = time.monotonic()
        reply = await self._downgrades.run(lambda left_out: self._send(request, left_out), frozenset(used))
        return replace(reply, latency_s=time.monotonic() - started)

    async def close(self) -> None:
        """Close connections."""
        await self._client.close()

    async def _send(self, request: Request, left_out: frozenset[str]) -> Reply:
        """One message."""
        import anthropic

        texts = conversation(request)
        options: dict[str, Any] = {}
        if request.system:
            # The same for every feature: from the second call on it is read from the cache.
            part = {"type": "text", "text": request.system, "cache_control": {"type": "ephemeral"}}
            options["system"] = [part]
        if request.temperature is not None and "temperature" not in left_out:
            options["extra_body"] = {"temperature": request.temperature}  # no argument of the SDK any more
        if request.schema is not None and "schema" in left_out:
            texts = with_schema_in_words(texts, request.schema)
        elif request.schema is not None:
            schema = anthropic.transform_schema(strict(request.schema))
            options["output_config"] = {"format": {"type": "json_schema", "schema": schema}}
        call = self._client.messages.with_raw_response.create(
            model=self.name.name,
            max_tokens=request.max_tokens,
            messages=[{"role": role, "content": text} for role, text in texts],  # type: ignore[misc]
            **options,
        )
        body, rates = await body_of(str(self.name), call, self._timeout_s)
        return replace(read_message(body, str(self.name)), rates=rates)


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
