"""A client of a provider's SDK for every call under way, so that many connections cost no more than one.

Whenever a call begins or ends, a client's pool goes through all of its connections and looks at the socket of
every idle one, and it closes those that idle beyond 100. With one connection each, there is nothing to go
through and nothing is closed that the next call would open again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import ssl

    import anthropic
    import httpx2
    import openai


@dataclass(frozen=True, slots=True)
class Raw:
    """A response as the SDK's own `with_raw_response` hands it over."""

    http_response: httpx2.Response


def limits() -> httpx2.Limits:
    """A connection that was idle for four seconds is not used again.

    Many servers (uvicorn, and with it vLLM) close one after five, which is the SDK's own limit too: a request
    that is sent at that moment is lost, and nobody can say whether it was answered.
    """
    import httpx2
    import openai

    usual = openai.DEFAULT_CONNECTION_LIMITS  # Anthropic's are the same
    return httpx2.Limits(
        max_connections=usual.max_connections,
        max_keepalive_connections=usual.max_keepalive_connections,
        keepalive_expiry=4.0,
    )


class Clients:
    """As many clients of one server as there were calls at once."""

    def __init__(
        self, first: openai.AsyncOpenAI | anthropic.AsyncAnthropic, pool: Callable[..., httpx2.AsyncClient]
    ) -> None:
        """Begin with one client; the others are made like it.

        Args:
            first: a client of the server.
            pool: the `DefaultAsyncHttpxClient` of its SDK.
        """
        self._pool = pool
        self._all: list[openai.AsyncOpenAI | anthropic.AsyncAnthropic] = [first]
        self._free = list(self._all)

    async def post(self, path: str, body: Mapping[str, Any]) -> Raw:
        """Send one request.

        The SDK's own method would first go through the body by its types, at a cost at every call, and that
        changes nothing in a body that is as the wire wants it.

        Args:
            path: below the server's URL, for example "/chat/completions" or "/v1/messages".
            body: as it is on the wire.

        Returns:
            A successful response that was read to its end.

        Raises:
            openai.APIError, anthropic.APIError: as the SDK's own methods do.
        """
        import httpx2

        client = self._free.pop() if self._free else self._another()
        try:
            return Raw(await client.post(path, cast_to=httpx2.Response, body=body))
        finally:
            self._free.append(client)  # and the next call takes it first: its connection is open

    async def close(self) -> None:
        """Close the connections of all clients, the first one's too."""
        for client in self._all:
            await client.close()

    def _another(self) -> openai.AsyncOpenAI | anthropic.AsyncAnthropic:
        """One more client, with a connection of its own."""
        connections = self._pool(verify=self._certificates, limits=limits())
        self._all.append(self._all[0].with_options(http_client=connections))
        return self._all[-1]

    @cached_property
    def _certificates(self) -> ssl.SSLContext:
        """Shared by all clients but the first: reading them takes as long as many calls."""
        import httpx2

        return httpx2.create_ssl_context()
