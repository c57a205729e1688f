"""Many calls of one model at once: how many connections they take, and what they send on them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from exegete.llm import Message, Request, parse
from exegete.llm.anthropic import Anthropic, message_body
from exegete.llm.failure import CallFailed
from exegete.llm.openai import OpenAI, chat_body, response_body
from tests.provider import ProviderServer

BODY = (  # what both APIs would read a reply from
    b'{"choices": [{"message": {"content": "hello"}, "finish_reason": "stop"}],'
    b' "content": [{"type": "text", "text": "hello"}]}'
)
HEAD = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(BODY)}\r\n\r\n".encode()


@dataclass
class Counting:
    """A server in the test's own loop that counts its connections."""

    url: str = ""
    opened: int = 0
    closed: int = 0
    under_way: int = 0
    go_on: asyncio.Event = field(default_factory=asyncio.Event)
    """Replies wait for it."""
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, until the client hangs up."""
        self.opened += 1
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]
                await reader.readexactly(int(length))
                self.under_way += 1
                self.changed.set()
                await self.go_on.wait()
                self.under_way -= 1
                writer.write(HEAD + BODY)
        except asyncio.IncompleteReadError:
            pass
        finally:
            self.closed += 1
            self.changed.set()
            writer.close()

    async def until(self, reached: Callable[[], bool]) -> None:
        """Wait until something is so."""
        async with asyncio.timeout(30):
            while not reached():
                self.changed.clear()
                await self.changed.wait()


@asynccontextmanager
async def counting() -> AsyncIterator[Counting]:
    """Run such a server."""
    counts = Counting()
    async with await asyncio.start_server(counts.serve, "127.0.0.1", 0, backlog=512) as server:
        counts.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        yield counts


Model = OpenAI | Anthropic
KINDS: dict[str, type[Model]] = {"openai": OpenAI, "anthropic": Anthropic}


def in_loop(
    work: Callable[[Model, Counting], Awaitable[None]], timeout_s: float = 60.0, kind: str = "openai"
) -> Counting:
    """Do something with a model at a counting server, then close the model: the counts."""

    async def main() -> Counting:
        async with counting() as server:
            llm = KINDS[kind](parse(f"{kind}:m@{server.url}"), timeout_s=timeout_s)
            try:
                await work(llm, server)
            finally:
                await llm.close()
            await server.until(lambda: server.closed == server.opened)
            return server

    return asyncio.run(main())


def asking(llm: Model, text: str = "hi", **options: object) -> Request:
    """A request to a model."""
    return Request(model=str(llm.name), system="fixed", messages=(Message("user", text),), **options)  # type: ignore[arg-type]


async def all_at_once(llm: Model, server: Counting, calls: int) -> None:
    """So many calls, none of which is answered before all have arrived."""
    server.go_on.clear()
    made = asyncio.gather(*(llm.complete(asking(llm, str(n))) for n in range(calls)))
    await server.until(lambda: server.under_way == calls)
    server.go_on.set()
    assert [reply.text for reply in await made] == ["hello"] * calls


@pytest.mark.parametrize("kind", KINDS)
def test_calls_in_turn_take_one_connection(kind: str) -> None:
    """One call after the other goes over the connection of the one before."""

    async def work(llm: Model, server: Counting) -> None:
        for _ in range(5):
            await all_at_once(llm, server, 1)

    assert in_loop(work, kind=kind).opened == 1


@pytest.mark.parametrize("kind", KINDS)
def test_no_more_connections_than_calls_at_once(kind: str) -> None:
    """Every call under way has a connection, and none is closed that later calls open again."""

    async def work(llm: Model, server: Counting) -> None:
        for calls in (130, 3, 130):
            await all_at_once(llm, server, calls)
        assert (server.opened, server.closed) == (130, 0)

    assert in_loop(work, kind=kind).closed == 130, "closing the model closes them all"


def test_calls_that_end_otherwise() -> None:
    """A call that is cancelled or given up leaves its place to the next one, and disturbs no other."""

    async def work(llm: Model, server: Counting) -> None:
        left = asyncio.create_task(llm.complete(asking(llm)))
        await server.until(lambda: server.under_way == 1)
        left.cancel()
        late = asyncio.create_task(llm.complete(asking(llm)))
        with pytest.raises(CallFailed, match="did not finish its reply in 2 s"):
            await late
        with pytest.raises(asyncio.CancelledError):
            await left
        server.under_way = 0  # those two stay for ever
        await all_at_once(llm, server, 1)
        server.go_on.set()

    counts = in_loop(work, timeout_s=2.0)
    assert counts.opened == 3


@pytest.mark.parametrize("api", ["chat", "responses"])
def test_the_body_arrives_as_it_was_made(api: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is added to a body, left out or changed, whatever characters are in it.

    The key that is sent is the one for calls, also where there is one for an organisation's administration.
    """
    monkeypatch.setenv("OPENAI_API_KEY", "key-of-openai")
    monkeypatch.setenv("OPENAI_ADMIN_KEY", "key-of-the-administration")
    schema = {"title": "R", "type": "object", "properties": {"strength": {"type": ["number", "null"]}}}
    with ProviderServer(lambda asked: {"strength": None}) as server:
        name = parse(f"openai:m@{server.url}/v1" if api == "chat" else "openai:m")
        llm = OpenAI(name, official_url=f"{server.url}/v1")
        request = asking(llm, "ü \u2028 \x00 𝄞 </s>", schema=schema, temperature=0.0, max_tokens=9)

        async def run() -> None:
            await llm.complete(request)
            await llm.exchange(request, {"temperature": 0.5, "seed": None, "odd": [1, {"x": True}]})
            await llm.close()

        asyncio.run(run())
    made = (chat_body if api == "chat" else response_body)("m", request, frozenset())
    assert [asked.body for asked in server.asked] == [
        made,
        made | {"temperature": 0.5, "seed": None, "odd": [1, {"x": True}]},
    ]
    assert [asked.headers["authorization"] for asked in server.asked] == ["Bearer key-of-openai"] * 2


def test_a_message_arrives_as_it_was_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """Anthropic gets the body of a request and no more, with the key and the version it asks for."""
    monkeypatch.setenv("ANTHROPIC_API_KEY", "key-of-anthropic")
    schema = {"title": "R", "type": "object", "properties": {"strength": {"type": "number"}}}
    with ProviderServer(lambda asked: {"strength": 1.0}) as server:
        llm = Anthropic(parse("anthropic:m"), official_url=server.url)
        request = asking(llm, "ü \u2028 \x00 𝄞 </s>", schema=schema, temperature=0.0, max_tokens=9)

        async def run() -> None:
            await llm.complete(request)
            await llm.exchange(request, {"top_k": 5, "odd": [1, {"x": True}]})
            await llm.close()

        asyncio.run(run())
    made = message_body("m", request, frozenset())
    assert [asked.body for asked in server.asked] == [made, made | {"top_k": 5, "odd": [1, {"x": True}]}]
    for asked in server.asked:
        assert asked.headers["authorization"] == "Bearer key-of-anthropic"
        assert asked.headers["anthropic-version"]


def test_a_proxy_and_a_netrc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call goes by the environment's proxy, unless it names the host as near; ~/.netrc replaces no key."""
    netrc = tmp_path / "netrc"
    netrc.write_text("default login somebody password something\n")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("OPENAI_API_KEY", "key-of-openai")
    for name in ("NO_PROXY", "no_proxy", "ALL_PROXY", "all_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)

    async def call(url: str) -> str:
        llm = OpenAI(parse(f"openai:m@{url}"), timeout_s=20.0)
        try:
            return (await llm.complete(asking(llm))).text
        finally:
            await llm.close()

    with ProviderServer(lambda asked: {"by": "itself"}) as server:
        proxied: list[bytes] = []

        async def by_proxy() -> None:
            async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                proxied.append(await reader.readuntil(b"\r\n\r\n"))
                writer.write(HEAD + BODY)
                await writer.drain()
                writer.close()

            async with await asyncio.start_server(proxy, "127.0.0.1", 0) as running:
                port = running.sockets[0].getsockname()[1]
                monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{port}")
                assert await call("http://models.invalid/v1") == "hello"
                monkeypatch.setenv("no_proxy", "127.0.0.1")
                await call(f"{server.url}/v1")

        asyncio.run(by_proxy())
        (far,), (near,) = proxied, server.asked
    assert far.startswith(b"POST http://models.invalid/v1/chat/completions HTTP/1.1")
    assert b"Bearer key-of-openai" in far
    assert near.headers["authorization"] == "Bearer key-of-openai"
