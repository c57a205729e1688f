"""A chat completions server that answers as a competent model would, after a fixed delay.

It runs in a process of its own, so that the client's CPU time and memory are the client's alone. The path
says the delay in milliseconds and the name of a cache of prefixes: `http://127.0.0.1:PORT/200/mine/v1`. Its
answers are functions of the prompts: an explainer that names the marked words, with words that are wrong
after the best, and a simulator that reads such a label back.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any, cast
from zlib import crc32

_BLOCK = re.compile(r"\[begin (\w+) (\w+)\]\n(.*?)\n\[end \1 \2\]", re.S)
_K = re.compile(r"Write (\d+) (?:better )?label")
_CHARACTERS_PER_TOKEN = 4


@contextmanager
def serving() -> Iterator[int]:
    """Run the server in another process; its port."""
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs,), daemon=True)
    process.start()
    try:
        yield ours.recv()
    finally:
        process.terminate()
        process.join()


def answer(prompt: str, schema: Mapping[str, Any]) -> str:
    """The reply to a user turn: a sparse simulation, labels, or what a schema's lists of values allow."""
    blocks = {name: body for name, _, body in _BLOCK.findall(prompt)}
    if not blocks:  # somebody finds out what this server can do
        properties = schema.get("properties", {})
        return json.dumps({name: values["enum"][0] for name, values in properties.items()})
    if "label" in blocks:
        return json.dumps(_simulate(blocks["excerpts"], blocks["label"]), separators=(",", ":"))
    wanted = _K.search(prompt)
    labels = _labels(blocks["excerpts"], blocks.get("attempts", ""), int(wanted[1]) if wanted else 1)
    return json.dumps({"labels": [{"text": text} for text in labels]})


def _simulate(excerpts: str, label: str) -> dict[str, object]:
    level = {word: int(strength) for word, strength in re.findall(r'"([^"]+)" \((\d+)\)', label)}
    found = []
    for line in excerpts.split("\n"):
        name, _, text = line.partition(": ")
        words, seen, fires = text.split(" "), Counter[str](), []
        for word in words:
            if word in level:
                seen[word] += 1
                fires.append([word, seen[word], level[word]])
        found.append({"excerpt": int(name.removeprefix("Excerpt ")), "fires": fires})
    return {"excerpts": found}


def _labels(excerpts: str, attempts: str, k: int) -> list[str]:
    """The two commonest marked words, if they were not tried yet, then two words each of the text's own."""
    marked = Counter(re.findall(r"<<(\w+)>>", excerpts))
    levels = dict(re.findall(r"(\w+) (\d+)", "\n".join(re.findall(r"Levels: (.*)", excerpts))))
    best = [f'the words "{word}" ({levels.get(word, "8")})' for word, _ in marked.most_common(1)]
    if len(marked) > 1:
        (first, _), (second, _) = marked.most_common(2)
        best = [f'the words "{first}" ({levels.get(first, 8)}) and "{second}" ({levels.get(second, 8)})']
    others = sorted(set(re.findall(r"[a-z]{4,}", excerpts)) - set(marked))
    start = crc32(attempts.encode())
    picked = [others[(start + 7 * i) % len(others)] for i in range(2 * k)]
    pairs = zip(picked[::2], picked[1::2], strict=True)
    wrong = [f'"{a}" (8) or "{b}" (6), in a sentence of its own' for a, b in pairs]
    return [*(best if not attempts else []), *wrong][:k]


class _Connection(asyncio.Protocol):
    """One HTTP/1.1 connection; requests come one after the other, as the client sends them."""

    def __init__(self, caches: defaultdict[str, set[int]]) -> None:
        """Share the prefixes that were seen with all other connections."""
        self._caches = caches

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport, self._received = cast(asyncio.Transport, transport), b""

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, end, body = self._received.partition(b"\r\n\r\n")
        if not end:
            return
        length = re.search(rb"(?i)^content-length: *(\d+)", head, re.M)
        if len(body) < int(length[1] if length else 0):
            return
        self._received = b""
        path = head.split(b" ", 2)[1].decode()
        if not body:  # somebody looks whether a server is there
            self._send(b"{}")
            return
        _, delay_ms, cache, *_ = path.split("/")
        reply = _completion(json.loads(body), self._caches[cache])
        delay_s = int(delay_ms) / 1000
        asyncio.get_running_loop().call_later(delay_s, self._send, reply) if delay_s else self._send(reply)

    def _send(self, body: bytes) -> None:
        if not self._transport.is_closing():
            head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
            self._transport.write(head.encode() + body)


def _completion(request: dict[str, Any], known: set[int]) -> bytes:
    system, prompt = ["", *(message["content"] for message in request["messages"])][-2:]
    schema = request.get("response_format", {}).get("json_schema", {}).get("schema", {})
    text = answer(prompt, schema)
    cached = _seen_before(system, prompt, known) // _CHARACTERS_PER_TOKEN
    usage: dict[str, Any] = {
        "prompt_tokens": (len(system) + len(prompt)) // _CHARACTERS_PER_TOKEN,
        "completion_tokens": len(text) // _CHARACTERS_PER_TOKEN,
        "prompt_tokens_details": {"cached_tokens": cached},
    }
    usage["total_tokens"] = usage["prompt_tokens"] + usage["completion_tokens"]
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    return json.dumps(
        {
            "id": "c",
            "object": "chat.completion",
            "created": 0,
            "model": request["model"],
            "choices": [choice],
            "usage": usage,
        }
    ).encode()


def _seen_before(system: str, prompt: str, known: set[int]) -> int:
    """Characters of the longest prefix that came before: the system part, with the excerpts or without."""
    excerpts = prompt[: prompt.find("\n[end excerpts ")]
    found = 0
    for prefix in (system, system + excerpts):
        key = hash(prefix)
        if key in known:
            found = len(prefix)
        known.add(key)
    return found


def _serve(told: Connection) -> None:
    async def run() -> None:
        server = await asyncio.get_running_loop().create_server(
            partial(_Connection, defaultdict(set)), "127.0.0.1", 0, backlog=2048
        )
        told.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(run())
