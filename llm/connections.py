"""Connections to one server, for the calls that a job makes by the thousand.

The SDKs say what a request looks like: its URL, headers and key, taken once from a request that their client
makes and that is sent nowhere. What is sent goes over aiohttp, at an eighth of the SDKs' CPU a call
(`python -m benchmarks.llm`, its floor), and ends as the SDKs' calls do: in a response that was read, or in an
exception of theirs in form (failure.py).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from exegete.llm.compact import compact

if TYPE_CHECKING:
    import ssl

    import aiohttp
    import anthropic
    import httpx2
    import openai

IDLE_S = 4.0
"""A connection that was idle for so long is not used again. Many servers (uvicorn, and with it vLLM) close
one after five seconds, which is the SDKs' own limit too: a request that is sent at that moment is lost, and
nobody can say whether it was answered."""
_OF_THE_CONNECTION = frozenset(
    ("host", "connection", "accept-encoding", "content-length", "transfer-encoding")
)
"""Headers that are aiohttp's to write."""


@dataclass(frozen=True, slots=True)
class Response:
    """A response that was read to its end."""

    content: bytes
    """Decompressed."""
    headers: Mapping[str, str]
    status_code: int

    @property
    def http_response(self) -> Response:
        """Itself: so the SDKs' raw responses hand theirs over."""
        return self


class NoSuccess(Exception):
    """A call without a reply, told as the SDKs tell theirs: `request`, `response` and `body`.

    Without a response, its cause is what happened to the connection.
    """

    request = None
    """What marks an exception as one of a call. The request itself is not here: it holds the key."""

    def __init__(self, response: Response | None = None) -> None:
        super().__init__("no reply")
        self.response = response
        self.body = None if response is None else _parsed(response.content)


@dataclass(frozen=True, slots=True)
class _Target:
    """Where requests of one kind go, and with which headers."""

    url: str
    headers: Mapping[str, str]
    proxy: str | None


class Connections:
    """As many connections to one server as there are calls at once; for one event loop."""

    def __init__(self, client: openai.AsyncOpenAI | anthropic.AsyncAnthropic, connect_s: float) -> None:
        """Nothing is opened yet.

        Args:
            client: of the server's SDK; closed with the connections.
            connect_s: how long to wait for a connection; how long for a reply is the caller's business.
        """
        self._client, self._connect_s = client, connect_s
        self._targets: dict[str, _Target] = {}
        self._session: aiohttp.ClientSession | None = None

    async def post(self, path: str, body: Mapping[str, Any]) -> Response:
        """Send one request, once.

        Args:
            path: below the server's URL, for example "/chat/completions" or "/v1/messages".
            body: as it is on the wire.

        Raises:
            NoSuccess: there was no response, or an error response.
        """
        import aiohttp

        target = self._targets.get(path) or await self._found(path)
        sent = compact(body)
        session = self._session or self._opened(target)
        try:
            call = session.post(target.url, data=sent, headers=target.headers, proxy=target.proxy)
            async with call as got:
                response = Response(await got.read(), got.headers, got.status)
        except (aiohttp.ClientError, OSError) as error:  # time-outs of aiohttp are OSErrors
            raise NoSuccess from error
        if response.status_code >= 400:
            raise NoSuccess(response)
        return response

    async def close(self) -> None:
        """Close all connections, the client's too."""
        if self._session is not None:
            await self._session.close()
        await self._client.close()

    async def _found(self, path: str) -> _Target:
        """Where the SDK would send a request, and with which headers."""
        import httpx2

        seen: list[httpx2.Request] = []

        def see(request: httpx2.Request) -> httpx2.Response:
            seen.append(request)
            return httpx2.Response(200, json={})

        async with httpx2.AsyncClient(transport=httpx2.MockTransport(see)) as nowhere:
            asking = self._client.with_options(http_client=nowhere)
            await asking.post(path, cast_to=httpx2.Response, body={})
        url = str(seen[0].url)
        headers = {k: v for k, v in seen[0].headers.items() if k not in _OF_THE_CONNECTION}
        self._targets[path] = _Target(url, headers, _proxy_of(url))
        return self._targets[path]

    def _opened(self, target: _Target) -> aiohttp.ClientSession:
        """The session, opened in the loop of its first call."""
        import aiohttp

        tls = certificates() if target.url.startswith("https:") else True
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=IDLE_S, ssl=tls),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._connect_s),
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        return self._session


@lru_cache(maxsize=1)
def certificates() -> ssl.SSLContext:
    """What servers are known by: the SDKs' certificates, and not the system's, which can be missing.

    Read once: it takes longer than a hundred calls.
    """
    import httpx2

    return httpx2.create_ssl_context()


def sdk_limits() -> httpx2.Limits:
    """Of the SDKs' own connections, which the rarer calls take: idle ones are dropped as early as ours."""
    import httpx2
    import openai

    usual = openai.DEFAULT_CONNECTION_LIMITS  # Anthropic's are the same
    return httpx2.Limits(
        max_connections=usual.max_connections,
        max_keepalive_connections=usual.max_keepalive_connections,
        keepalive_expiry=IDLE_S,
    )


def _proxy_of(url: str) -> str | None:
    """The proxy that the environment names for a URL, or None.

    aiohttp can look for itself, but then it also puts what ~/.netrc says in the place of the key.
    """
    at = urlsplit(url)
    if proxy_bypass(at.hostname or ""):
        return None
    proxies = getproxies()
    return proxies.get(at.scheme) or proxies.get("all")


def _parsed(content: bytes) -> Any:
    """A body as JSON, or as text where it is none."""
    try:
        return json.loads(content)
    except ValueError:
        return content.decode("utf-8", "replace")
