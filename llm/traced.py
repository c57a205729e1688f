"""Spans for whoever listens: OpenTelemetry's, if this process has set up a tracer provider; else nothing.

    with span("case", feature=str(feature)) as case:
        ...
        case.set(status="accepted")

No exporter is set up here: that is done by the program that uses exegete, or by `opentelemetry-instrument
exegete label …`. Names and attributes of calls are those of OpenTelemetry's semantic conventions for
generative AI; our own begin with "exegete.". No span holds a word of a prompt, a corpus, a reply or a label,
nor an exception's message: only its type.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Mapping
from types import ModuleType, TracebackType
from typing import Any, Literal
from urllib.parse import urlsplit

from exegete import __version__
from exegete.llm.llm import LLM, Reply, Request
from exegete.llm.names import ModelName

Value = str | int | float | bool | tuple[str, ...] | None
_TAGS = ("run", "feature", "purpose")


class Span:
    """A span under way; this one is nobody's, and does nothing."""

    __slots__ = ()

    def set(self, **attributes: Value) -> None:
        """Add attributes; None is left out, and a name without a dot becomes exegete.NAME."""

    def __enter__(self) -> Span:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it."""


_NOBODYS = Span()


class _Live(Span):
    """A span somebody listens to."""

    __slots__ = ("_manager", "_span")

    def __init__(self, manager: Any) -> None:
        self._manager = manager

    def set(self, **attributes: Value) -> None:
        self._span.set_attributes(_named(attributes))

    def __enter__(self) -> Span:
        self._span = self._manager.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            from opentelemetry.trace import StatusCode

            self._span.set_attribute("error.type", type(error).__name__)
            self._span.set_status(StatusCode.ERROR)
        self._manager.__exit__(kind, error, trace)


def span(name: str, **attributes: Value) -> Span:
    """A span around a piece of work, a child of the one that is current in this task.

    Args:
        name: one of few; what differs from one piece of work to the next is an attribute.
        attributes: as for `Span.set`.

    Returns:
        A context manager; what `with` gives can be told more while the work goes on.
    """
    return _opened(name, "INTERNAL", attributes)


def listened_to() -> bool:
    """Has this process set up a tracer provider?"""
    return _tracer() is not None


def traced(llm: LLM, name: ModelName) -> LLM:
    """An LLM with a span a call if somebody listens by now, else the LLM as it is."""
    return Traced(llm, name) if listened_to() else llm


class Traced:
    """An LLM whose calls are spans: the whole of each, the wait for its turn and its retries included."""

    def __init__(self, inner: LLM, name: ModelName) -> None:
        """Wrap an LLM; it belongs outermost, so that replies from the journal are seen as such."""
        self.inner = inner
        self._title = f"chat {name.name}"
        server = urlsplit(name.url or "")
        self._same: dict[str, Value] = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": name.provider,
            "gen_ai.request.model": name.name,
            "server.address": server.hostname,
            "server.port": server.port,
        }

    async def complete(self, request: Request) -> Reply:
        """Complete a request; see `LLM.complete`."""
        with _opened(self._title, "CLIENT", {**self._same, **_of_request(request)}) as call:
            reply = await self.inner.complete(request)
            call.set(**_of_reply(reply))
            return reply

    async def close(self) -> None:
        """Close what is wrapped."""
        await self.inner.close()


def _of_request(request: Request) -> dict[str, Value]:
    """Attributes that are known before a call."""
    return {
        "gen_ai.request.max_tokens": request.max_tokens,
        "gen_ai.request.temperature": request.temperature,
        "gen_ai.output.type": "text" if request.schema is None else "json",
        "prompt": request.prompt_version or None,
        **{tag: request.tags.get(tag) for tag in _TAGS},
    }


def _of_reply(reply: Reply) -> dict[str, Value]:
    """Attributes that are known after it."""
    return {
        "gen_ai.response.model": reply.served_by,
        "gen_ai.response.finish_reasons": (reply.finish,),
        "gen_ai.usage.input_tokens": reply.input_tokens,
        "gen_ai.usage.output_tokens": reply.output_tokens,
        "gen_ai.usage.cache_read.input_tokens": reply.cached_tokens,
        "gen_ai.usage.cache_creation.input_tokens": reply.cache_write_tokens,
        "journalled": reply.journalled,
        "attempts": reply.attempts,
        "usd": reply.usd,
    }


def _opened(name: str, kind: Literal["INTERNAL", "CLIENT"], attributes: Mapping[str, Value]) -> Span:
    """A span that has not begun."""
    tracer = _tracer()
    if tracer is None:
        return _NOBODYS
    from opentelemetry.trace import SpanKind

    return _Live(
        tracer.start_as_current_span(
            name,
            kind=SpanKind[kind],
            attributes=_named(attributes),
            record_exception=False,  # its message can hold what a server, and so a prompt, said
            set_status_on_exception=False,
        )
    )


def _named(attributes: Mapping[str, Value]) -> dict[str, Any]:
    """Attributes as they are told."""
    return {
        name if "." in name else f"exegete.{name}": value
        for name, value in attributes.items()
        if value is not None
    }


def _tracer() -> Any:
    """Our tracer, or None. Who has set up a provider has imported the package: nobody else pays for that."""
    api = sys.modules.get("opentelemetry.trace")
    if api is None:
        return None
    provider = api.get_tracer_provider()
    return None if isinstance(provider, api.ProxyTracerProvider) else _tracer_of(api, provider)


@functools.lru_cache(maxsize=4)
def _tracer_of(api: ModuleType, provider: Any) -> Any:
    """A provider's tracer, made once."""
    return api.get_tracer("exegete", __version__, provider)
