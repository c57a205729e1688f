"""OpenAI's batch API, and that of compatible servers that have one.

A batch is a file of requests and an order to work on it; what comes back are two files, one of responses and
one of errors, either of which can be missing. Our uuid goes along as metadata, by which a batch is found
again. https://developers.openai.com/api/docs/guides/batch
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from exegete.llm.batch import BatchState, Limits, Result, counts_in, encoded, objects_in
from exegete.llm.downgrade import Downgrades
from exegete.llm.failure import CallFailed, body_of, failed_with, response_of, unreadable
from exegete.llm.llm import Request
from exegete.llm.names import ModelName
from exegete.llm.openai import (
    OFFICIAL,
    TIMEOUT_S,
    WORDS,
    chat_body,
    client_of,
    parameters,
    read_chat,
    read_response,
    response_body,
)
from exegete.llm.wire import deep, listed

LIMITS = Limits(requests=50_000, size_bytes=199_000_000)
"""The provider's are 50,000 and 200 MB."""
PAGE = 100
_UUID = "exegete"
"""Name of our uuid among a batch's metadata."""
_ENDED = frozenset({"completed", "failed", "expired", "cancelled"})
_NOT_TRIED = {"batch_cancelled": False, "batch_expired": True}
"""By code of an item's error: is it worth another batch? A person who cancelled one wants none."""
_STATUS_OF = {"token_limit_exceeded": 429, "rate_limit_exceeded": 429, "model_not_found": 404}


class OpenAIBatches:
    """A model behind OpenAI's batch API."""

    keeps_uuid = True

    def __init__(
        self, name: ModelName, *, timeout_s: float = TIMEOUT_S, official_url: str = OFFICIAL
    ) -> None:
        """Make a client; arguments and errors as of `OpenAI`."""
        self.name = name
        self.endpoint = "/v1/chat/completions" if name.url else "/v1/responses"
        self.limits = LIMITS
        self.downgrades = Downgrades(str(name), WORDS)
        self._body = chat_body if name.url else response_body
        self._read = read_chat if name.url else read_response
        self._timeout_s = timeout_s
        self._client = client_of(name, timeout_s, official_url)

    def parameters(self, request: Request) -> frozenset[str]:
        """See `Batches.parameters`."""
        return parameters(self.name, request) - self.downgrades.refused

    def line(self, request: Request) -> bytes:
        """See `Batches.line`."""
        body = self._body(self.name.name, request, self.downgrades.refused)
        return encoded({"custom_id": request.key, "method": "POST", "url": self.endpoint, "body": body})

    async def upload(self, uuid: str, lines: Sequence[bytes]) -> str | None:
        """Upload the requests; see `Batches.upload`."""
        content = b"".join(part for line in lines for part in (line, b"\n"))
        call = self._client.files.with_raw_response.create(
            file=(f"exegete-{uuid}.jsonl", content, "application/jsonl"), purpose="batch"
        )
        body, _ = await body_of(str(self.name), call, self._timeout_s)
        return self._id(body)

    async def create(self, uuid: str, lines: Sequence[bytes], file: str | None) -> BatchState:
        """See `Batches.create`."""
        call = self._client.batches.with_raw_response.create(
            completion_window="24h",
            endpoint=self.endpoint,  # type: ignore[arg-type]
            input_file_id=str(file),
            metadata={_UUID: uuid},
        )
        return await self._state(call)

    async def poll(self, batch: str) -> BatchState:
        """See `Batches.poll`."""
        return await self._state(self._client.batches.with_raw_response.retrieve(batch))

    async def page(self, after: str | None) -> Sequence[BatchState]:
        """See `Batches.page`."""
        cursor: dict[str, Any] = {} if after is None else {"after": after}
        call: Any = self._client.batches.with_raw_response.list(limit=PAGE, **cursor)
        body, _ = await body_of(str(self.name), call, self._timeout_s)
        return [self._state_of(batch) for batch in listed(body.get("data")) if deep(batch, "id")]

    async def results(self, state: BatchState) -> Iterator[Result]:
        """See `Batches.results`."""
        contents = []
        for file in state.files:
            call = self._client.files.with_raw_response.content(file)
            contents.append((await response_of(str(self.name), call, self._timeout_s)).content)
        return (self._result(line) for content in contents for line in objects_in(content))

    async def close(self) -> None:
        """Close connections."""
        await self._client.close()

    async def _state(self, call: Any) -> BatchState:
        """The batch that a call returns."""
        body, _ = await body_of(str(self.name), call, self._timeout_s)
        self._id(body)
        return self._state_of(body)

    def _id(self, body: Mapping[str, Any]) -> str:
        """The id in a response.

        Raises:
            CallFailed: it has none, so that nothing can be done with what it tells of.
        """
        if not isinstance(body.get("id"), str) or not body["id"]:
            raise unreadable(str(self.name), "it holds no id")
        return str(body["id"])

    def _state_of(self, body: Mapping[str, Any]) -> BatchState:
        """A batch as the API describes it."""
        state = str(body.get("status"))
        counts = counts_in(body.get("request_counts"))
        created, uuid = body.get("created_at"), deep(body, "metadata", _UUID)
        ends = (body.get(f"{end}_at") for end in ("completed", "expired", "cancelled", "failed"))
        ended = next((at for at in ends if isinstance(at, int | float)), None)
        files = (body.get("output_file_id"), body.get("error_file_id"))
        timed = isinstance(created, int | float)
        return BatchState(
            id=str(body["id"]),
            state=state,
            ended=state in _ENDED,
            counts=counts,
            total=counts.get("total"),
            uuid=uuid if isinstance(uuid, str) else None,
            created=float(created) if timed else None,  # type: ignore[arg-type]
            took_s=max(0.0, ended - created) if timed and ended is not None else None,  # type: ignore[operator]
            rejected=self._rejection(body) if state == "failed" else None,
            files=tuple(file for file in files if isinstance(file, str) and file),
        )

    def _rejection(self, body: Mapping[str, Any]) -> CallFailed:
        """Why a batch was not begun: the first of its errors, in the provider's words."""
        first = deep(body, "errors", "data", 0)
        described = first if isinstance(first, Mapping) else {}
        status = _STATUS_OF.get(str(described.get("code")), 400)
        return failed_with(f"{self.name} rejected a batch", described, status)

    def _result(self, line: Mapping[str, Any]) -> Result:
        """A line of either file."""
        key = str(line.get("custom_id"))
        try:
            return Result(key, self._read(self._answer(line), str(self.name)), None)
        except CallFailed as failed:
            return Result(key, None, failed)

    def _answer(self, line: Mapping[str, Any]) -> Mapping[str, Any]:
        """The body of a successful response.

        Raises:
            CallFailed: it was not successful.
        """
        error, status = line.get("error"), deep(line, "response", "status_code")
        body = deep(line, "response", "body")
        if isinstance(error, Mapping) and error.get("code") in _NOT_TRIED:
            retryable = _NOT_TRIED[str(error["code"])]
            raise CallFailed(f"{self.name} did not try a request of a batch", retryable=retryable)
        if status == 200 and isinstance(body, Mapping):
            return body
        described = deep(body, "error") or error
        raise failed_with(
            f"{self.name} failed at a request of a batch",
            described if isinstance(described, Mapping) else {},
            status if isinstance(status, int) and status >= 400 else 500,
        )
