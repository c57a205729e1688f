"""What a provider's batch API is to exegete: requests handed over in bulk, answered within a day, for less.

    file = await batches.upload(uuid, lines)          OpenAI's batches begin as a file; nothing at Anthropic
    state = await batches.create(uuid, lines, file)
    while not state.ended:
        state = await batches.poll(state.id)
    for result in await batches.results(state):       in any order
        ...

Every method is one or a few HTTP requests and is not tried again here; what fails raises CallFailed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from exegete.llm.downgrade import Downgrades
from exegete.llm.failure import CallFailed
from exegete.llm.llm import Reply, Request
from exegete.llm.names import ModelName

GONE = frozenset({404, 410})
"""Statuses that say that something is not there, or not any more."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one batch takes."""

    requests: int
    size_bytes: int
    """Of all its lines."""


@dataclass(frozen=True, slots=True)
class BatchState:
    """What the provider says of one batch."""

    id: str
    """The provider's."""
    state: str
    """In the provider's word, for a person to read."""
    ended: bool
    """Nothing more will come of it: its results can be read, unless it was rejected."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """Requests by what became of them, in the provider's words."""
    total: int | None = None
    """Requests in it, where the provider says so."""
    uuid: str | None = None
    """The name we gave it, at providers that keep one."""
    created: float | None = None
    """Unix time by the provider's clock."""
    took_s: float | None = None
    """Seconds from its creation to its end, by the provider's clock."""
    rejected: CallFailed | None = None
    """Why none of it was tried; None when that did not happen."""
    files: tuple[str, ...] = ()
    """Where its results are, at providers that keep them in files."""


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one request: a reply or a failure."""

    key: str
    """The request's key, which was its custom_id."""
    reply: Reply | None
    failed: CallFailed | None


class NotTried(CallFailed):
    """A request whose batch the provider never began: it can go into the next one, and that is no retry."""


class Batches(Protocol):
    """One model behind one provider's batch API."""

    name: ModelName
    endpoint: str
    """Which API the requests are for, as the provider calls it."""
    limits: Limits
    keeps_uuid: bool
    """Does the provider keep the uuid we give a batch? If not, a batch is recognised by what is in it."""
    downgrades: Downgrades
    """Parameters the model was found to refuse: new lines go without them."""

    def parameters(self, request: Request) -> frozenset[str]:
        """The parameters of a request that the model may refuse, and has not refused so far."""

    def line(self, request: Request) -> bytes:
        """A request as a line of a batch: one JSON object, without a line end."""

    async def upload(self, uuid: str, lines: Sequence[bytes]) -> str | None:
        """Hand over what `create` will name; costs nothing. None where batches need no file."""

    async def create(self, uuid: str, lines: Sequence[bytes], file: str | None) -> BatchState:
        """Start a batch: from here on it costs money.

        Raises:
            CallFailed: it was not started, or, if that is `ambiguous`, perhaps it was.
        """

    async def poll(self, batch: str) -> BatchState:
        """Look at a batch, by the provider's id."""

    async def page(self, after: str | None) -> Sequence[BatchState]:
        """Some of the account's batches, as a rule the newest first.

        Args:
            after: provider's id of the last one seen; None for the first page.

        Returns:
            Nothing when there are no more.
        """

    async def results(self, state: BatchState) -> Iterator[Result]:
        """All results of a batch that has ended, each read as it is asked for; unreadable lines are left out.

        Raises:
            CallFailed: they could not be fetched; with a status in `GONE` they are not kept any more.
        """

    async def close(self) -> None:
        """Close connections. Batches go on."""


def encoded(line: Mapping[str, Any]) -> bytes:
    """Compact JSON in UTF-8; halves of surrogate pairs, which no provider takes, as question marks."""
    return json.dumps(line, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def objects_in(content: bytes) -> Iterator[dict[str, Any]]:
    """The JSON objects in a file of lines. Others are skipped: whatever they were meant to answer is missing.

    Lines end at line feeds only: replies hold every other character that Unicode calls a line end.
    """
    start = 0
    while start < len(content):
        end = content.find(b"\n", start)
        end = len(content) if end < 0 else end
        try:
            value = json.loads(content[start:end])
        except ValueError:
            value = None
        if isinstance(value, dict):
            yield value
        start = end + 1


def counts_in(value: Any) -> dict[str, int]:
    """The numbers in what should be a mapping of them."""
    found = value.items() if isinstance(value, Mapping) else ()
    return {str(name): n for name, n in found if isinstance(n, int) and not isinstance(n, bool)}
