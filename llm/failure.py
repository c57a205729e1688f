"""One request that failed, told the same way for every provider.

Providers raise `CallFailed` and nothing else; whether to try again is decided in one place (retry.py), and
the SDKs' own exceptions, which hold the key in their request's headers, go no further than this file.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Mapping
from datetime import UTC, datetime
from typing import Any, Protocol

from exegete.errors import LLMUnavailable
from exegete.llm.compact import parsed
from exegete.llm.rates import Rates, rates_of
from exegete.llm.redact import redact
from exegete.llm.retry_after import retry_after_s

_LONGEST_MESSAGE = 400

_NEVER_ARRIVED = frozenset(
    (
        "ConnectError",
        "ConnectTimeout",
        "PoolTimeout",
        "UnsupportedProtocol",
        "LocalProtocolError",
        "ProxyError",
        "ClientConnectorCertificateError",
        "ClientConnectorDNSError",
        "ClientConnectorError",
        "ClientConnectorSSLError",
        "ClientHttpProxyError",
        "ClientProxyConnectionError",
        "ConnectionTimeoutError",
        "InvalidUrlClientError",
        "NonHttpUrlClientError",
    )
)
"""httpx2's exceptions, and aiohttp's, after which the server can't have seen a whole request."""

_MAYBE_COMPLETED = frozenset({504, 524})
"""A gateway gave up waiting: the model behind it may have gone on."""


class CallFailed(LLMUnavailable):
    """One call that gave no reply. Its text is redacted."""

    def __init__(
        self,
        message: str,
        *,
        said: str = "",
        status: int | None = None,
        codes: frozenset[str] = frozenset(),
        parameter: str = "",
        wait_s: float | None = None,
        ambiguous: bool = False,
        retryable: bool | None = None,
    ) -> None:
        super().__init__(redact(message))
        self.said = redact(said)
        """The server's own words, or empty."""
        self.status = status
        """HTTP status, or None when there was no response."""
        self.codes = frozenset(redact(code) for code in codes)
        """What the server calls the error: its type and code."""
        self.parameter = redact(parameter)
        """The request's parameter that the server says is wrong, or empty."""
        self.wait_s = wait_s
        """How long the server asks us to wait; can be negative or absurd."""
        self.ambiguous = ambiguous
        """True when the request was sent and the server may have completed, and billed, it."""
        self.retryable = retryable
        """Set when the status alone doesn't say whether to try again."""
        self.rates: Rates | None = None
        """The account's limits as the server stated them."""
        self.requests = 1
        """Requests sent before this was raised, the failed one included."""


class HasContent(Protocol):
    """An HTTP response that was read to its end."""

    @property
    def content(self) -> bytes:
        """The body, decompressed."""

    @property
    def headers(self) -> Mapping[str, str]:
        """Its headers."""


class RawResponse(Protocol):
    """What both SDKs' `with_raw_response` calls return."""

    @property
    def http_response(self) -> HasContent:
        """The response itself."""


async def body_of(
    model: str, call: Awaitable[RawResponse], timeout_s: float
) -> tuple[dict[str, Any], Rates | None]:
    """Await one SDK call and return its body, and what its headers say of rate limits.

    Args:
        model: named in messages.
        call: a `with_raw_response` call of an SDK.
        timeout_s: for the whole exchange: a server that drips bytes never runs into a read timeout.

    Raises:
        CallFailed: there was no response, an error response, or one that is no JSON object.
    """
    response = await response_of(model, call, timeout_s)
    try:
        body = parsed(response.content)
    except ValueError as error:  # JSON or text that can't be decoded
        raise unreadable(model, f"its body is no JSON ({error})") from None
    if not isinstance(body, dict):
        raise unreadable(model, "its body is no JSON object")
    return body, rates_of(_lower(response.headers), datetime.now(UTC)) or None


async def response_of(model: str, call: Awaitable[RawResponse], timeout_s: float) -> HasContent:
    """Await one SDK call and return the response, whatever is in it; arguments as of `body_of`.

    Raises:
        CallFailed: there was no response, or an error response.
    """
    failed: CallFailed
    try:
        async with asyncio.timeout(timeout_s):
            return (await call).http_response
    except TimeoutError:
        late = f"{model} did not finish its reply in {timeout_s:g} s"
        failed = CallFailed(late, ambiguous=True, retryable=True)
    except Exception as error:
        if not hasattr(error, "request"):  # neither SDK's: a bug, not a failure of the server
            raise
        failed = _translated(model, error)
    # Raised here, outside of `except`, so that no traceback can hold the SDK's exception and its headers.
    raise failed


def unreadable(model: str, why: str) -> CallFailed:
    """The failure of a server that completed, and probably billed, a call and sent something unusable."""
    return CallFailed(f"{model} sent a reply that can't be read: {why}", ambiguous=True, retryable=True)


def in_body(model: str, error: object) -> CallFailed:
    """The failure that a response with status 200 describes in its body."""
    described = error if isinstance(error, Mapping) else {"message": str(error)}
    code = described.get("code")
    if isinstance(code, int):
        status = code
    else:
        status = 429 if code == "rate_limit_exceeded" else 400 if code == "invalid_prompt" else 500
    said = _message(described)
    return CallFailed(
        f"{model} answered with error {code}: {said}", said=said, status=status, codes=_codes(described)
    )


def failed_with(what: str, described: Mapping[str, Any], status: int) -> CallFailed:
    """The failure that a provider describes of one item of many.

    Args:
        what: happened, for a person.
        described: the error as the provider words it; may be empty.
        status: that a response of its own would have had.
    """
    said = _message(described)
    return CallFailed(
        f"{what}: {said}",
        said=said,
        status=status,
        codes=_codes(described),
        parameter=str(described.get("param") or ""),
    )


def _translated(model: str, error: Exception) -> CallFailed:
    """An SDK's exception (openai's and anthropic's have the same attributes) as a CallFailed."""
    response = getattr(error, "response", None)
    if response is None:
        cause = error.__cause__ or error
        kind = type(cause).__name__
        return CallFailed(
            f"the connection to {model} failed: {_shortened(str(cause) or kind)} ({kind})",
            ambiguous=kind not in _NEVER_ARRIVED,
            retryable=True,
        )
    status = int(response.status_code)
    body = getattr(error, "body", None)
    described = body if isinstance(body, Mapping) else {"message": body or ""}
    inner = described.get("error")
    described = inner if isinstance(inner, Mapping) else described
    headers, now = _lower(response.headers), datetime.now(UTC)
    said = _message(described)
    failed = CallFailed(
        f"{model} answered {status}: {said}",
        said=said,
        status=status,
        codes=_codes(described),
        parameter=str(described.get("param") or ""),
        wait_s=retry_after_s(headers, now),
        ambiguous=status in _MAYBE_COMPLETED,
    )
    failed.rates = rates_of(headers, now) or None
    return failed


def _lower(headers: Mapping[str, str]) -> dict[str, str]:
    """Headers with lower-case names."""
    return {str(name).lower(): str(value) for name, value in headers.items()}


def _codes(described: Mapping[str, Any]) -> frozenset[str]:
    """Type and code of a server's error, and the code in its details."""
    details = described.get("details")
    nested = details.get("error_code") if isinstance(details, Mapping) else None
    return frozenset(str(code) for code in (described.get("type"), described.get("code"), nested) if code)


def _message(described: Mapping[str, Any]) -> str:
    """The server's sentence for its error."""
    for name in ("message", "error", "detail"):
        if described.get(name):
            value = described[name]
            return _shortened(value if isinstance(value, str) else json.dumps(value, default=str))
    if set(described) <= {"message"}:
        return "no reason given"
    return _shortened(json.dumps(described, default=str))


def _shortened(text: str) -> str:
    """One line of at most 400 characters. Redacted before it is cut: half a key is not recognised."""
    line = " ".join(redact(text).split())
    return line if len(line) <= _LONGEST_MESSAGE else line[:_LONGEST_MESSAGE] + "…"
