"""What a language model is to exegete: one method, `complete`.

Everything that adds to it (retries, the journal, limits) wraps it and has the same method:

    Journalled(Throttled(Retrying(OpenAI(name))))
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, Protocol

from exegete.llm.compact import compact
from exegete.llm.rates import Rates
from exegete.llm.schema import known
from exegete.llm.slots import Odds, Slots

Finish = Literal["stop", "length", "refusal", "filtered"]
"""Why a reply ended: complete; cut at max_tokens; the model refused; a content filter stopped it."""


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: Literal["user", "assistant"]
    text: str


@dataclass(frozen=True)
class Request:
    """One call, complete: two equal requests ask for the same thing."""

    model: str
    """Model as named on the command line, for example "openai:NAME@http://host:port/v1"."""
    system: str
    """Fixed instructions: the part that is the same for every feature, so that providers can cache it."""
    messages: tuple[Message, ...]
    schema: Mapping[str, Any] | None = None
    """JSON schema of the reply, or None for free text. Its "title" names it."""
    max_tokens: int = 2048
    temperature: float | None = None
    """None leaves the provider's default."""
    sample: int = 0
    """Which of several independent replies to the same words this is."""
    prompt_version: str = ""
    """name@version of the prompt template."""
    slots: Slots | None = None
    """What is asked at the slots of the last message, which is then the model's own, begun; None: the request
    wants a reply in words."""
    tags: Mapping[str, str] = field(default_factory=dict, compare=False)
    """What the call is for ("run", "feature", "purpose"): recorded beside it, not part of its key."""

    def __post_init__(self) -> None:
        if self.schema is not None:
            object.__setattr__(self, "schema", known(self.schema))

    @cached_property
    def key(self) -> str:
        """sha256 of the canonical request: equal requests have equal keys, on every machine.

        The request is one JSON object, its names in order, with nothing between its parts.
        """
        facts = {
            b"max_tokens": compact(self.max_tokens),
            b"messages": compact([[message.role, message.text] for message in self.messages]),
            b"model": compact(self.model),
            b"prompt_version": compact(self.prompt_version),
            b"sample": compact(self.sample),
            b"schema": b"null" if self.schema is None else known(self.schema).keyed,
        }
        if self.slots is not None:  # a request without slots keeps the key it had before there were any
            facts[b"slots"] = compact(self.slots.facts)
        facts[b"system"] = compact(self.system)
        # Keys have always had floats in Python's notation.
        facts[b"temperature"] = b"null" if self.temperature is None else json.dumps(self.temperature).encode()
        canonical = b"{%b}" % b",".join([b'"%b":%b' % fact for fact in facts.items()])
        return hashlib.sha256(canonical).hexdigest()

    def tagged(self, tags: Mapping[str, str]) -> Request:
        """The same request with these tags beside its own; its key is the same, and worked out once."""
        tagged = object.__new__(Request)
        vars(tagged).update(vars(self), key=self.key, tags={**self.tags, **tags})
        return tagged


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back. Only `finish == "stop"` replies may be read for their content."""

    text: str
    finish: Finish
    served_by: str
    """The model that answered, as the server names it."""
    input_tokens: int | None
    """None when the server did not say."""
    output_tokens: int | None
    cached_tokens: int | None
    """Input tokens read from the provider's prompt cache."""
    latency_s: float
    attempts: int = 1
    """Requests sent for it, failures included."""
    journalled: bool = False
    """True when it was read from the journal and cost nothing now."""
    cache_write_tokens: int | None = None
    """Input tokens written to the provider's prompt cache."""
    usd: float | None = None
    """What it cost when it was paid for; None when that is not known."""
    prices: str | None = None
    """Version of the price table behind `usd`."""
    batch: str | None = None
    """The provider's id of the batch that bought it; None when it was asked for by itself."""
    slots: tuple[Odds | None, ...] | None = None
    """For every slot of the request, in order, what the model made of each level, or None where the server's
    tokens could not be aligned with the prompt; None as a whole when the request asks for no slots."""
    rates: Rates | None = field(default=None, compare=False, repr=False)
    """The account's limits as the server stated them; for the throttle, and not kept."""


class LLM(Protocol):
    """A model that completes requests."""

    async def complete(self, request: Request) -> Reply:
        """Answer one request.

        Raises:
            LLMUnavailable: no reply after all retries.
            LLMStop: no later request can succeed either.
        """

    async def close(self) -> None:
        """Let go of connections and files."""
