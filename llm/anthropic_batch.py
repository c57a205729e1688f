"""Anthropic's Message Batches API, and that of servers compatible with it.

A batch is one request with all others in it. It takes no name and no metadata of ours, so it is recognised
by how many requests it has and, once it has ended, by their custom_ids.
https://platform.claude.com/docs/en/build-with-claude/batch-processing
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from exegete.llm.anthropic import OFFICIAL, TIMEOUT_S, WORDS, client_of, message_body, read_message
from exegete.llm.batch import BatchState, Limits, Result, counts_in, encoded, objects_in
from exegete.llm.downgrade import Downgrades, optional_in
from exegete.llm.failure import CallFailed, body_of, failed_with, response_of, unreadable
from exegete.llm.llm import Request
from exegete.llm.names import ModelName
from exegete.llm.wire import deep, listed

LIMITS = Limits(requests=100_000, size_bytes=255_000_000)
"""The provider's are 100,000 and 256 MB, with what is around the lines."""
PAGE = 100
_NOT_TRIED = {"canceled": False, "expired": True}
"""By type of an item's result: is it worth another batch? A person who cancelled one wants none."""
_STATUS_OF = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "timeout_error": 504,
    "overloaded_error": 529,
}
"""Statuses that errors have outside of batches."""


class AnthropicBatches:
    """A model behind the Message Batches API."""

    keeps_uuid = False

    def __init__(
        self, name: ModelName, *, timeout_s: float = TIMEOUT_S, official_url: str = OFFICIAL
    ) -> None:
        """Make a client; arguments and errors as of `Anthropic`."""
        self.name = name
        self.endpoint = "/v1/messages"
        self.limits = LIMITS
        self.downgrades = Downgrades(str(name), WORDS)
        self._timeout_s = timeout_s
        self._client = client_of(name, timeout_s, official_url)

    def parameters(self, request: Request) -> frozenset[str]:
        """See `Batches.parameters`."""
        return optional_in(request) - self.downgrades.refused

    def line(self, request: Request) -> bytes:
        """See `Batches.line`."""
        body = message_body(self.name.name, request, self.downgrades.refused)
        return encoded({"custom_id": request.key, "params": body})

    async def upload(self, uuid: str, lines: Sequence[bytes]) -> str | None:
        """There is nothing to upload."""
        return None

    async def create(self, uuid: str, lines: Sequence[bytes], file: str | None) -> BatchState:
        """See `Batches.create`."""
        requests = [json.loads(line) for line in lines]
        return await self._state(self._client.messages.batches.with_raw_response.create(requests=requests))

    async def poll(self, batch: str) -> BatchState:
        """See `Batches.poll`."""
        return await self._state(self._client.messages.batches.with_raw_response.retrieve(batch))

    async def page(self, after: str | None) -> Sequence[BatchState]:
        """See `Batches.page`."""
        cursor: dict[str, Any] = {} if after is None else {"after_id": after}
        call: Any = self._client.messages.batches.with_raw_response.list(limit=PAGE, **cursor)
        body, _ = await body_of(str(self.name), call, self._timeout_s)
        return [_state_of(batch) for batch in listed(body.get("data")) if deep(batch, "id")]

    async def results(self, state: BatchState) -> Iterator[Result]:
        """See `Batches.results`."""
        import anthropic

        # Not the SDK's own method: it asks at the URL that the batch names, with the key, wherever that is.
        call = self._client.get(
            f"/v1/messages/batches/{state.id}/results", cast_to=anthropic.AsyncAPIResponse[bytes]
        )
        content = (await response_of(str(self.name), call, self._timeout_s)).content
        return (self._result(line) for line in objects_in(content))

    async def close(self) -> None:
        """Close connections."""
        await self._client.close()

    async def _state(self, call: Any) -> BatchState:
        """The batch that a call returns.

        Raises:
            CallFailed: it has no id, so that nothing can be done with it.
        """
        body, _ = await body_of(str(self.name), call, self._timeout_s)
        if not isinstance(body.get("id"), str) or not body["id"]:
            raise unreadable(str(self.name), "it holds no id")
        return _state_of(body)

    def _result(self, line: Mapping[str, Any]) -> Result:
        """A line of the results."""
        key, result = str(line.get("custom_id")), line.get("result")
        kind, message = deep(result, "type"), deep(result, "message")
        try:
            if kind == "succeeded" and isinstance(message, Mapping):
                return Result(key, read_message(message, str(self.name)), None)
        except CallFailed as failed:
            return Result(key, None, failed)
        if kind in _NOT_TRIED:
            said = f"{self.name} did not try a request of a batch"
            return Result(key, None, CallFailed(said, retryable=_NOT_TRIED[kind]))
        error = deep(result, "error")
        described = deep(error, "error") or error
        described = described if isinstance(described, Mapping) else {}
        status = _STATUS_OF.get(str(described.get("type")), 500)
        return Result(
            key, None, failed_with(f"{self.name} failed at a request of a batch", described, status)
        )


def _state_of(body: Mapping[str, Any]) -> BatchState:
    """A batch as the API describes it."""
    state = str(body.get("processing_status"))
    counts = counts_in(body.get("request_counts"))
    created, ended = _time(body.get("created_at")), _time(body.get("ended_at"))
    return BatchState(
        id=str(body["id"]),
        state=state,
        ended=state == "ended",
        counts=counts,
        total=sum(counts.values()) if counts else None,
        created=created,
        took_s=None if created is None or ended is None else max(0.0, ended - created),
    )


def _time(value: Any) -> float | None:
    """An RFC 3339 time in Unix seconds, or None."""
    try:
        return datetime.fromisoformat(value).timestamp()
    except (TypeError, ValueError):
        return None
