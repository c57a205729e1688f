"""A provider of language models on loopback: real HTTP, failures on demand, a ledger of what it would bill.

In a test:

    with ProviderServer(lambda asked: {"label": asked.text[-5:]}) as server:
        server.acts += [Act(status=429, headers={"retry-after": "1"}), Act(cut="mid-body")]
        llm = open_llm(f"openai:any@{server.url}/v1")
        ...
        assert len(server.ledger) == 1

On its own, so that a job can be killed and run again against it:

    python -m tests.provider --port 0 --rules FILE --ledger FILE [--acts FILE] [--delay-s 0.05] [--flaky 0.1]
    python -m tests.provider --port 0 --reply tests.some_module:function --ledger FILE

Its first line of output is its URL. It speaks OpenAI's chat completions (URL/v1/chat/completions) and
responses (URL/v1/responses) and Anthropic's messages (URL/v1/messages), and both their batch APIs
(provider_batches.py; `server.desk`); of completions, and of vLLM's /tokenize, what shows a prompt's
probabilities (provider_slots.py; `server.odds`). GET URL/ledger returns the ledger;
POST URL/acts adds acts. Rules are those of a scripted LLM's file; tags don't travel, so a rule's "purpose" is
compared with the name of the schema that was asked for.

A call is in the ledger once the reply is complete, whether or not the client is still there to receive it.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import importlib
import json
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request as HTTPRequest
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from exegete.llm.scripted import Rule, read_rules
from tests.provider_abilities import complaint, with_extras
from tests.provider_batches import BatchDesk
from tests.provider_forms import BODIES, Api, Asked, Said, asked_in, input_tokens
from tests.provider_slots import Odds, tokenized, usual_odds

Cut = Literal["", "before", "after", "mid-body", "hang", "drip", "gzip"]
__all__ = ["Api", "Asked", "Said"]
PATHS: Mapping[str, Api] = {
    "/v1/chat/completions": "chat",
    "/v1/responses": "responses",
    "/v1/messages": "messages",
    "/v1/completions": "completions",
}


@dataclass(frozen=True)
class Act:
    """What happens to one request instead of the usual."""

    status: int = 200
    """Anything else: an error response, and nothing is billed."""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    """Sent in the place of the usual body; text as it is, anything else as JSON."""
    delay_s: float = 0.0
    cut: Cut = ""
    """before: the connection is dropped before the model ran. The others are billed: after: dropped instead
    of a response; mid-body: dropped halfway; hang: nothing after the headers; drip: blanks; gzip: cut."""


Answer = Callable[[Asked], "Said | str | dict[str, Any] | list[Any]"]


def by_rules(rules: tuple[Rule, ...]) -> Answer:
    """Answer by a script's rules; a request without a rule is a bad request."""

    def answer(asked: Asked) -> Said:
        request = asked.as_request()
        for rule in rules:
            if rule.fits(request):
                return Said(rule.text(request), rule.finish)
        raise LookupError(f"no rule for {asked.schema_name or 'free text'}: {asked.text[:200]}")

    return answer


class ProviderServer:
    """The server; a context manager that runs it in a thread."""

    def __init__(
        self,
        answer: Answer = lambda asked: "ok",
        *,
        ledger: Path | None = None,
        port: int = 0,
        delay_s: float = 0.0,
        flaky: float = 0.0,
    ) -> None:
        """Bind the port.

        Args:
            answer: what the model says.
            ledger: file to which billed calls are appended, one JSON object a line.
            port: 0 picks a free one.
            delay_s: how long each call takes.
            flaky: share of requests (chosen by digest) whose first arrival fails with a 503.
        """
        self.answer = answer
        self.acts: deque[Act] = deque()
        self.asked: list[Asked] = []
        """All requests in order of arrival, failed ones too."""
        self.ledger: list[dict[str, Any]] = []
        self.peak = 0
        """Most requests that were under way at once."""
        self.delay_s = delay_s
        self.knows: frozenset[str] = frozenset()
        """Parameters it does something about, of provider_abilities.KNOWS; others are ignored."""
        self.odds: Odds = usual_odds
        """What the model thinks comes next."""
        self.refuses: frozenset[str] = frozenset()
        """Parameters that make a request a bad one."""
        self._flaky = flaky
        self._seen: set[str] = set()
        self.under_way = 0
        """Requests under way now."""
        self._file = ledger
        self._socket = socket.create_server(("127.0.0.1", port))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        routes = [Route(path, _Endpoint(self, api)) for path, api in PATHS.items()]
        self.desk = BatchDesk(self._complete_body, _drop)
        routes += self.desk.routes()
        routes += [Route("/tokenize", self._tokenize, methods=["POST"])]
        routes += [Route("/ledger", self._show_ledger), Route("/acts", self._add_acts, methods=["POST"])]
        config = uvicorn.Config(
            Starlette(routes=routes),
            log_config=None,
            log_level="critical",  # broken connections are wanted here
            lifespan="off",
            ws="none",
            date_header=False,  # acts can bring their own
            timeout_graceful_shutdown=1,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self.run, daemon=True)

    def run(self) -> None:
        """Serve until stopped."""
        self._server.run(sockets=[self._socket])

    def __enter__(self) -> ProviderServer:
        self._thread.start()
        deadline = time.monotonic() + 20
        while not self._server.started:
            if time.monotonic() > deadline or not self._thread.is_alive():
                raise RuntimeError("the provider server did not start")
            time.sleep(0.005)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.should_exit = True
        self._server.force_exit = True
        self._thread.join(10)
        self._socket.close()

    async def handle(self, asked: Asked, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or do what an act says."""
        self.asked.append(asked)
        act = self.acts.popleft() if self.acts else self._act_of(asked)
        self.under_way += 1
        self.peak = max(self.peak, self.under_way)
        try:
            await asyncio.sleep(self.delay_s + act.delay_s)
            if act.cut == "before":
                _drop(receive)
                return
            if act.status != 200:
                await _response(asked.api, act)(scope, receive, send)
                return
            refused = complaint(asked.body, self.knows, self.refuses)
            if refused is not None:
                said = {"message": f"unsupported parameter: {refused}", "type": "bad", "param": refused}
                act = Act(status=400, body={"type": "error", "error": said})
                await _response(asked.api, act)(scope, receive, send)
                return
            try:
                body = self._complete(asked)
            except LookupError as error:
                act = Act(status=400, body={"error": {"message": str(error), "type": "no_rule"}})
                await _response(asked.api, act)(scope, receive, send)
                return
            content = _encoded(act.body) if act.body is not None else json.dumps(body).encode()
            await _deliver(content, act, scope, receive, send)
        finally:
            self.under_way -= 1

    def _complete_body(self, path: str, body: Mapping[str, Any], more: Mapping[str, str]) -> dict[str, Any]:
        """Let the model answer one request of a batch; `more` goes into the ledger."""
        asked = asked_in(PATHS[path], body, {})
        self.asked.append(asked)
        return self._complete(asked, more)

    def _complete(self, asked: Asked, more: Mapping[str, str] = {}) -> dict[str, Any]:
        """Let the model run, and bill for it."""
        value = self.answer(asked)
        if not isinstance(value, Said):
            value = Said(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
        entry = {
            "n": len(self.ledger),
            "digest": asked.digest,
            "api": asked.api,
            "model": asked.model,
            "asked": asked.text,
            "input_tokens": input_tokens(asked),
            "output_tokens": len(value.text) // 4,
            "cached_tokens": value.cached_tokens,
            **more,
        }
        self.ledger.append(entry)
        if self._file is not None:
            with self._file.open("a", encoding="utf-8") as file:
                file.write(json.dumps(entry) + "\n")
        body = BODIES[asked.api](asked, value)
        return with_extras(asked.api, asked.body, value.text, body, self.knows, self.odds)

    def _act_of(self, asked: Asked) -> Act:
        """Usually nothing special; for a share of requests, a first failure."""
        first = asked.digest not in self._seen
        self._seen.add(asked.digest)
        unlucky = int(asked.digest[:8], 16) / 2**32 < self._flaky
        return Act(status=503) if first and unlucky else Act()

    async def _show_ledger(self, request: HTTPRequest) -> Response:
        return JSONResponse(self.ledger)

    async def _tokenize(self, request: HTTPRequest) -> Response:
        if "logprob_token_ids" not in self.knows:
            return Response(status_code=404)
        return JSONResponse(tokenized(await request.json()))

    async def _add_acts(self, request: HTTPRequest) -> Response:
        self.acts.extend(Act(**act) for act in await request.json())
        return Response(status_code=204)


class _Endpoint:
    """One API of the server as an ASGI application: only those can break a connection."""

    def __init__(self, server: ProviderServer, api: Api) -> None:
        self._server = server
        self._api = api

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        http = HTTPRequest(scope, receive)
        asked = asked_in(self._api, await http.json(), dict(http.headers))
        await self._server.handle(asked, scope, receive, send)


def _encoded(body: Any) -> bytes:
    """A body of an act as bytes."""
    return body.encode() if isinstance(body, str) else json.dumps(body).encode()


def _response(api: Api, act: Act) -> Response:
    """An error response in the manner of an API."""
    error = {
        "message": f"made to fail with {act.status}",
        "type": "made_to_fail",
        "code": None,
        "param": None,
    }
    body = act.body if act.body is not None else {"error": error}
    if api == "messages" and act.body is None:
        body = {"type": "error", "error": error}
    return Response(_encoded(body), act.status, dict(act.headers), media_type="application/json")


async def _deliver(content: bytes, act: Act, scope: Scope, receive: Receive, send: Send) -> None:
    """Send a reply, or break off in the way an act says."""
    if act.cut == "after":
        _drop(receive)
        return
    headers = {"content-type": "application/json", **act.headers}
    if act.cut == "gzip":
        content = gzip.compress(content)[:-20]
        headers["content-encoding"] = "gzip"
    if act.cut in ("", "gzip"):
        await Response(content, 200, headers)(scope, receive, send)
        return
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    raw.append((b"content-length", str(len(content) + 1_000_000).encode()))
    await send({"type": "http.response.start", "status": 200, "headers": raw})
    if act.cut == "mid-body":
        await send({"type": "http.response.body", "body": content[: len(content) // 2], "more_body": True})
        await asyncio.sleep(0.02)
        _drop(receive)
        return
    gone = asyncio.create_task(receive())
    while not gone.done():
        blank = b" " if act.cut == "drip" else b""
        await send({"type": "http.response.body", "body": blank, "more_body": True})
        await asyncio.wait({gone}, timeout=0.02)


def _drop(receive: Receive) -> None:
    """Break the connection. uvicorn offers no way, but its `receive` is bound to what holds the transport."""
    receive.__self__.transport.abort()  # type: ignore[attr-defined]


def main() -> None:
    """Run the server until it is killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--rules", type=Path)
    parser.add_argument("--reply", help="MODULE:FUNCTION, taking an Asked")
    parser.add_argument("--ledger", type=Path)
    parser.add_argument("--acts", type=Path, help="JSON list of acts for the first requests")
    parser.add_argument("--delay-s", type=float, default=0.0)
    parser.add_argument("--flaky", type=float, default=0.0)
    options = parser.parse_args()
    if options.rules:
        answer = by_rules(read_rules(options.rules))
    elif options.reply:
        module, _, function = options.reply.partition(":")
        answer = getattr(importlib.import_module(module), function)
    else:
        parser.error("one of --rules and --reply is needed")
    server = ProviderServer(
        answer, ledger=options.ledger, port=options.port, delay_s=options.delay_s, flaky=options.flaky
    )
    if options.acts:
        server.acts.extend(Act(**act) for act in json.loads(options.acts.read_text()))
    print(server.url, flush=True)
    server.run()


__all__ = ["Act", "Asked", "ProviderServer", "Said", "by_rules"]

if __name__ == "__main__":
    main()
