"""The provider server's batch APIs: OpenAI's files and batches, Anthropic's message batches.

    server.desk.tricks.polls = 3            a batch has ended when it is looked at for the 3rd time
    server.desk.tricks.lose_create = 1      the next batch is accepted, and its response is lost

A batch is worked on, and billed, when it is created, so that one nobody asks about again is in the ledger
too: each entry names its batch and custom_id. What can be seen of it changes with the polls.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from starlette.requests import Request as HTTPRequest
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

Complete = Callable[[str, Mapping[str, Any], Mapping[str, str]], dict[str, Any]]
"""Lets the model answer a body sent to a path, and bills it with further fields in the ledger."""
Drop = Callable[[Receive], None]


@dataclass
class Tricks:
    """What goes otherwise than usual."""

    polls: int = 1
    """A batch has ended when it is looked at for the nth time; a rejected one at once."""
    endless: frozenset[int] = frozenset()
    """The batches with these numbers do not end."""
    reject: dict[str, Any] | None = None
    """Whole batches are rejected with this error, and nothing is billed."""
    rejections: int = 10**9
    """So many of them."""
    most: int = 10**9
    """Requests that may be in batches that have not ended; a batch beyond is rejected for its tokens."""
    answered: int = 10**9
    """So many requests of a batch are worked on; the others expire with it, or are cancelled."""
    cancelled: bool = False
    """The others are those of a batch that a person cancelled."""
    fail: Callable[[str, Mapping[str, Any]], dict[str, Any] | None] = lambda text, body: None
    """An item's error by its last turn and body: {"status": …, "type": …, "message": …}; it is not billed."""
    missing: frozenset[int] = frozenset()
    """Positions of items that are billed and not in the results."""
    duplicates: bool = False
    """Every result comes twice, and the second is an error."""
    unknown: bool = False
    """There are results of requests nobody sent, and lines that are none."""
    lose_create: int = 0
    """So many batches are accepted, and the connection is dropped."""
    refuse_create: list[int] = field(default_factory=list)
    """Statuses of the next creations, which are not accepted; 0 drops the connection."""
    impostor: bool = False
    """A creation that is not accepted leaves a stranger's batch of as many requests."""
    drop_uploads: int = 0
    """So many uploads of files, and listings of batches, break."""
    failing_polls: int = 0
    gone: bool = False
    """Results are not kept any more."""
    forgotten: int = 0
    """So many look-ups of a batch say that there is none, as with the key of another account."""
    lag: int = 0
    """So many listings do not show the newest batch yet."""
    no_api: bool = False
    """There are no batches here."""


@dataclass
class Batch:
    """One batch at the provider."""

    id: str
    endpoint: str
    items: list[tuple[str, dict[str, Any]]]
    """(custom_id, body)."""
    metadata: dict[str, str]
    file: str = ""
    rejected: dict[str, Any] | None = None
    outcomes: list[tuple[str, Literal["ok", "error", "expired"], Any]] = field(default_factory=list)
    """(custom_id, what it is, body or error)."""
    polled: int = 0
    created: float = field(default_factory=time.time)
    ended: float | None = None


class _Dropped(Response):
    """No response: the connection breaks."""

    def __init__(self, drop: Drop) -> None:
        super().__init__()
        self._drop = drop

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._drop(receive)


class BatchDesk:
    """Takes batches in and hands results out."""

    def __init__(self, complete: Complete, drop: Drop) -> None:
        """Start without batches.

        Args:
            complete: the model.
            drop: breaks a connection.
        """
        self.tricks = Tricks()
        self.batches: list[Batch] = []
        self.files: dict[str, bytes] = {}
        self.listed = 0
        """Requests for the list of batches."""
        self.polled = 0
        """Requests for one batch, failed ones too."""
        self._complete = complete
        self._drop = drop

    def clear(self) -> None:
        """As new."""
        self.tricks = Tricks()
        self.batches.clear()
        self.files.clear()
        self.listed = self.polled = 0

    def routes(self) -> list[Route]:
        """Its part of the server."""
        openai, anthropic = "/v1/batches", "/v1/messages/batches"
        return [
            Route("/v1/files", self._upload, methods=["POST"]),
            Route("/v1/files/{id}/content", self._content),
            Route(openai, self._create, methods=["POST"]),
            Route(openai, self._list),
            Route(openai + "/{id}", self._poll),
            Route(openai + "/{id}/cancel", self._poll, methods=["POST"]),
            Route(anthropic, self._create, methods=["POST"]),
            Route(anthropic, self._list),
            Route(anthropic + "/{id}", self._poll),
            Route(anthropic + "/{id}/results", self._results),
        ]

    async def _upload(self, request: HTTPRequest) -> Response:
        """A file: the multipart body is read by hand, which spares the tests a package."""
        if self.tricks.drop_uploads > 0:
            self.tricks.drop_uploads -= 1
            return _Dropped(self._drop)
        boundary = request.headers["content-type"].split("boundary=")[1].encode()
        for part in (await request.body()).split(b"--" + boundary):
            head, _, content = part.partition(b"\r\n\r\n")
            if b'name="file"' in head:
                name = f"file-{len(self.files)}"
                self.files[name] = content.removesuffix(b"\r\n")
                return JSONResponse({"id": name, "object": "file", "purpose": "batch"})
        return JSONResponse({"error": {"message": "no file"}}, 400)

    async def _content(self, request: HTTPRequest) -> Response:
        name = request.path_params["id"]
        if self.tricks.gone or name not in self.files:
            return JSONResponse({"error": {"message": f"No such File object: {name}"}}, 404)
        return Response(self.files[name], media_type="application/octet-stream")

    async def _create(self, request: HTTPRequest) -> Response:
        tricks, body = self.tricks, await request.json()
        if tricks.refuse_create:
            if tricks.impostor:
                strange = [(f"{n:064}", {}) for n, _ in enumerate(body["requests"])]
                self.batches.append(Batch("msgbatch_stranger", "/v1/messages", strange, {}))
                self.batches[-1].outcomes = [(custom_id, "expired", None) for custom_id, _ in strange]
            status = tricks.refuse_create.pop(0)
            refused = JSONResponse({"error": {"message": "refused", "type": "x"}}, status or 500)
            return refused if status else _Dropped(self._drop)
        number = len(self.batches)
        if "requests" in body:
            items = [(item["custom_id"], item["params"]) for item in body["requests"]]
            batch = Batch(f"msgbatch_{number}", "/v1/messages", items, {})
        else:
            file = body["input_file_id"]
            lines = [json.loads(line) for line in self.files[file].split(b"\n") if line]
            assert {(line["url"], line["method"]) for line in lines} == {(body["endpoint"], "POST")}
            items = [(line["custom_id"], line["body"]) for line in lines]
            batch = Batch(f"batch_{number}", body["endpoint"], items, body.get("metadata") or {}, file)
        assert len({custom_id for custom_id, _ in items}) == len(items), "a custom_id twice in one batch"
        self.batches.append(batch)
        self._work(batch)
        if tricks.lose_create > 0:
            tricks.lose_create -= 1
            return _Dropped(self._drop)
        return JSONResponse(self._described(batch))

    def _work(self, batch: Batch) -> None:
        """Let the model answer what is to be answered, and bill for it."""
        tricks = self.tricks
        queued = sum(len(one.items) for one in self.batches if one.ended is None and not one.rejected)
        if queued > tricks.most:
            batch.rejected = {"code": "token_limit_exceeded", "message": "Enqueued token limit reached"}
        elif tricks.reject is not None and tricks.rejections > 0:
            tricks.rejections -= 1
            batch.rejected = tricks.reject
        for place, (custom_id, body) in enumerate(batch.items if not batch.rejected else ()):
            turns = body["input" if batch.endpoint == "/v1/responses" else "messages"]
            error = tricks.fail(turns[-1]["content"], body)
            if place >= tricks.answered:
                batch.outcomes.append((custom_id, "expired", None))
            elif error is not None:
                batch.outcomes.append((custom_id, "error", error))
            else:
                more = {"batch": batch.id, "custom_id": custom_id}
                answer = self._complete(batch.endpoint, body, more)
                if place not in tricks.missing:
                    batch.outcomes.append((custom_id, "ok", answer))
        batch.outcomes.sort()  # by custom_id, a hash: no order of ours

    async def _list(self, request: HTTPRequest) -> Response:
        self.listed += 1
        if self.tricks.drop_uploads > 0:
            self.tricks.drop_uploads -= 1
            return _Dropped(self._drop)
        if self.tricks.no_api:
            return JSONResponse({"detail": "Not Found"}, 404)
        shown = list(reversed(self.batches))
        anthropic = "messages" in request.url.path
        shown = [batch for batch in shown if (batch.endpoint == "/v1/messages") == anthropic]
        if self.tricks.lag > 0 and shown:
            self.tricks.lag -= 1
            shown = shown[1:]
        after = request.query_params.get("after") or request.query_params.get("after_id")
        if after is not None:
            shown = shown[[batch.id for batch in shown].index(after) + 1 :]
        page = shown[: int(request.query_params["limit"])]
        data = [self._described(batch) for batch in page]
        return JSONResponse({"object": "list", "data": data, "has_more": len(page) < len(shown)})

    async def _poll(self, request: HTTPRequest) -> Response:
        self.polled += 1
        if self.tricks.failing_polls > 0:
            self.tricks.failing_polls -= 1
            return JSONResponse({"error": {"message": "overloaded"}}, (503, 500, 429)[self.polled % 3])
        batch = next((one for one in self.batches if one.id == request.path_params["id"]), None)
        if batch is None or self.tricks.forgotten > 0:
            self.tricks.forgotten -= 1
            return JSONResponse({"error": {"message": "No such batch"}}, 404)
        batch.polled += 1
        endless = self.batches.index(batch) in self.tricks.endless
        looks = 1 if batch.rejected else self.tricks.polls
        if batch.ended is None and batch.polled >= looks and not endless:
            batch.ended = time.time()
            self._file_results(batch)
        return JSONResponse(self._described(batch))

    async def _results(self, request: HTTPRequest) -> Response:
        batch = next(one for one in self.batches if one.id == request.path_params["id"])
        if self.tricks.gone or batch.ended is None:
            return JSONResponse({"type": "error", "error": {"type": "not_found_error", "message": "-"}}, 404)
        return Response(self.files.get(f"{batch.id}-output", b""), media_type="application/x-jsonl")

    def _file_results(self, batch: Batch) -> None:
        """Write what came of a batch into files."""
        write = self._message_line if batch.endpoint == "/v1/messages" else self._line
        files: dict[str, list[bytes]] = {"output": [], "errors": []}
        for custom_id, kind, value in batch.outcomes:
            twice = (kind, value), ("error", {"status": 500, "type": "server_error", "message": "twice"})
            for shown, what in twice if self.tricks.duplicates else twice[:1]:
                both = batch.endpoint == "/v1/messages" or shown == "ok"
                files["output" if both else "errors"].append(write(custom_id, shown, what))
        if self.tricks.unknown and batch.outcomes:
            stranger = write("f" * 64, "error", {"status": 500, "type": "x", "message": "y"})
            files["output"] += [stranger, b"no JSON", b"[1]", b'{"custom_id": 7}', b""]
        for name, lines in files.items():
            if lines:
                self.files[f"{batch.id}-{name}"] = b"\n".join(lines)

    def _line(self, custom_id: str, kind: str, value: Any) -> bytes:
        """A line of OpenAI's output or error file."""
        line: dict[str, Any] = {"id": "batch_req_1", "custom_id": custom_id, "response": None, "error": None}
        if kind == "expired":
            code = "batch_cancelled" if self.tricks.cancelled else "batch_expired"
            line["error"] = {"code": code, "message": "This request could not be executed"}
        else:
            status = value["status"] if kind == "error" else 200
            body = {"error": value} if kind == "error" else value
            line["response"] = {"status_code": status, "request_id": "r", "body": body}
        return json.dumps(line, ensure_ascii=False).encode()

    def _message_line(self, custom_id: str, kind: str, value: Any) -> bytes:
        """A line of Anthropic's results."""
        result: dict[str, Any] = {"type": "canceled" if self.tricks.cancelled else "expired"}
        if kind == "ok":
            result = {"type": "succeeded", "message": value}
        elif kind == "error":
            error = {"type": value["type"], "message": value["message"]}
            result = {"type": "errored", "error": {"type": "error", "error": error}}
        return json.dumps({"custom_id": custom_id, "result": result}, ensure_ascii=False).encode()

    def _described(self, batch: Batch) -> dict[str, Any]:
        """A batch as its API tells of it."""
        done = batch.ended is not None
        kinds = [kind for _, kind, _ in batch.outcomes]
        if batch.endpoint == "/v1/messages":
            counts = {"succeeded": kinds.count("ok"), "errored": kinds.count("error"), "canceled": 0}
            counts |= {"expired": len(batch.items) - kinds.count("ok") - kinds.count("error")}
            waiting = dict.fromkeys(counts, 0) | {"processing": len(batch.items)}
            return {
                "id": batch.id,
                "type": "message_batch",
                "processing_status": "ended" if done else "in_progress",
                "request_counts": counts | {"processing": 0} if done else waiting,
                "created_at": datetime.fromtimestamp(batch.created, UTC).isoformat(),
                "ended_at": datetime.fromtimestamp(batch.ended, UTC).isoformat() if batch.ended else None,
                "results_url": f"http://192.0.2.1/{batch.id}" if done else None,  # must not be asked
            }
        state = "in_progress"
        if done:
            expired = "cancelled" if self.tricks.cancelled else "expired"
            state = "failed" if batch.rejected else expired if "expired" in kinds else "completed"
        files = {name: f"{batch.id}-{name}" for name in ("output", "errors")}
        counts = {"total": len(batch.items), "completed": kinds.count("ok"), "failed": kinds.count("error")}
        return {
            "id": batch.id,
            "object": "batch",
            "endpoint": batch.endpoint,
            "completion_window": "24h",
            "status": state,
            "input_file_id": batch.file,
            "output_file_id": files["output"] if files["output"] in self.files else None,
            "error_file_id": files["errors"] if files["errors"] in self.files else None,
            "errors": {"object": "list", "data": [batch.rejected]} if batch.rejected and done else None,
            "created_at": int(batch.created),
            f"{state}_at": int(batch.ended) if batch.ended else None,
            "request_counts": counts if done else counts | {"completed": 0, "failed": 0},
            "metadata": batch.metadata,
        }
