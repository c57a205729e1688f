"""Records of calls: what the journal keeps of a request and its reply, or of a call whose reply was lost.

One record a reply, one line a record (lines.py):

    {"key": …, "model": …, "prompt_version": …, "sample": …, "max_tokens": …, "temperature": …,
     "system": digest, "schema": digest or null, "messages": [[role, digest], …], "tags": {…},
     "reply": {text, finish, served_by, tokens, latency_s, attempts, usd, prices}, "at": UTC, "version": …}

("most_input", the tokens that the words can have at most, stands in it only where the server did not say.)
A request for probabilities has "slots" as well, {"levels": […], "mark": …}, and its reply a row of natural
logarithms a slot, or null. Records without it are of requests without slots.
A call that was sent, may have been billed, and gave no reply leaves a line of another kind, one an attempt:

    {"lost": key, "model": …, "prompt_version": …, "sample": …, "tags": {…}, "why": …,
     "most_tokens": worst case, "most_usd": worst case or null, "at": UTC, "version": …}

What was asked is stored by sha256. The texts behind the digests of `system` and `schema`, which thousands of
requests share, are stored once each, as {"text": digest, "body": …}. Messages hold the corpus, are most of
the bytes, and can be rendered again from prompt_version and the evidence and then checked against their
digest; a journal opened with `keep_messages=True` stores them in full as well, as "words".
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import fields
from datetime import UTC, datetime
from functools import lru_cache
from operator import attrgetter
from pathlib import Path
from typing import Any

import orjson

from exegete import __version__
from exegete.errors import WorkspaceError
from exegete.llm.compact import parsed
from exegete.llm.lines import Position, intact, read_lines
from exegete.llm.llm import Reply, Request
from exegete.llm.redact import hide_keys, redact
from exegete.llm.schema import known
from exegete.llm.size import most_tokens
from exegete.llm.slots import slots_from

RECORD = b'{"key":"'
"""How a line with a record begins."""
TEXT = b'{"text":"'
"""How a line with a shared text begins."""
LOST = b'{"lost":"'
"""How a line about a lost call begins."""
_LONGEST_WHY = 300
_json = json.JSONEncoder(separators=(",", ":")).encode
_STORED = tuple(f.name for f in fields(Reply) if f.name not in ("journalled", "slots", "rates"))
"""Of a reply, by name and in the order in which they are written."""
_stored_of = attrgetter(*_STORED)


def entries(folder: Path, start: str = "") -> Iterator[dict[str, Any]]:
    """Records and lost calls of a journal, in the order in which they were written; needs no lock.

    Args:
        folder: of the journal.
        start: "next" of the last entry seen; empty for all.

    Yields:
        Each entry as stored (one of a reply has a "key" and a "reply", one of a lost call has "lost"), with
        "next": the position to go on from after it.

    Raises:
        UsageError: `start` is no position.
        WorkspaceError: the journal can't be read.
    """
    try:
        for _, line, after in read_lines(folder, Position.parse(start)):
            if line.startswith((RECORD, LOST)) and intact(line):
                yield {**parsed(line), "next": str(after)}
    except OSError as error:
        raise WorkspaceError(f"can't read the journal {folder}: {error.strerror}") from error


def records(folder: Path, start: str = "") -> Iterator[dict[str, Any]]:
    """Those entries that hold a reply; see `entries`."""
    return (entry for entry in entries(folder, start) if "reply" in entry)


def record_of(request: Request, reply: Reply, keep_messages: bool) -> Mapping[str, Any]:
    """What is stored of a call."""
    most_input = 0 if _says_what_it_used(reply) else most_tokens(request)
    return answered(asked_of(request, keep_messages), reply, most_input)


def asked_of(request: Request, keep_messages: bool) -> dict[str, Any]:
    """What is stored of a request. "key" comes first: opening a journal reads no further."""
    asked: dict[str, Any] = {
        "key": request.key,
        "model": request.model,
        "prompt_version": request.prompt_version,
        "sample": request.sample,
        "max_tokens": request.max_tokens,
        "temperature": request.temperature,
        "system": _digest_of_shared(request.system),
        "schema": None if request.schema is None else _digest_of_shared(known(request.schema).stored),
        "messages": [[message.role, _digest(message.text)] for message in request.messages],
        "tags": dict(request.tags),
    }
    if request.slots is not None:
        asked["slots"] = request.slots.facts
    if keep_messages:
        asked["words"] = [message.text for message in request.messages]
    return asked


def answered(asked: Mapping[str, Any], reply: Reply, most_input: int) -> Mapping[str, Any]:
    """What is stored of a call, when its request may be long gone.

    Args:
        asked: by `asked_of`.
        reply: what came back.
        most_input: tokens that the request can have at most; kept only where the reply does not say.
    """
    stored = dict(zip(_STORED, _stored_of(reply), strict=True))
    if reply.slots is not None:
        stored["slots"] = reply.slots
    record = {**asked, "reply": stored, "at": _now(), "version": __version__}
    if not _says_what_it_used(reply):
        record["most_input"] = most_input
    return record


def reply_in(record: Mapping[str, Any]) -> Reply:
    """The reply of a record, as it was before it was stored, marked as journalled."""
    stored = record["reply"]
    return Reply(**{**stored, "slots": slots_from(stored.get("slots"))}, journalled=True)


def without_keys(record: Mapping[str, Any]) -> Mapping[str, Any]:
    """The record with no key of this process in what the server said; itself if there is none."""
    reply = record["reply"]
    said = reply["text"], reply["served_by"]
    text, served_by = hidden = hide_keys(*said)
    if hidden == said:
        return record
    return {**record, "reply": {**reply, "text": text, "served_by": served_by}}


def lost_of(request: Request, why: str, most_usd: float | None) -> Mapping[str, Any]:
    """What is stored of an attempt that may have been billed and gave no reply."""
    line = " ".join(redact(why).split())
    return {
        "lost": request.key,
        "model": request.model,
        "prompt_version": request.prompt_version,
        "sample": request.sample,
        "tags": dict(request.tags),
        "why": line if len(line) <= _LONGEST_WHY else line[:_LONGEST_WHY] + "…",
        "most_tokens": most_tokens(request) + request.max_tokens,
        "most_usd": most_usd,
        "at": _now(),
        "version": __version__,
    }


def shared_texts(request: Request) -> dict[str, str]:
    """The texts a request shares with many others, by digest."""
    texts = [request.system, *([] if request.schema is None else [known(request.schema).stored])]
    return {_digest_of_shared(text): text for text in texts}


def line_of(record: Mapping[str, Any]) -> bytes:
    """Compact JSON: a line, whatever a model wrote, and in ASCII where it wrote what is no Unicode."""
    try:
        return orjson.dumps(record)
    except TypeError:  # half a surrogate pair, or a number of more than 64 bits
        return _json(record).encode("ascii")


def _says_what_it_used(reply: Reply) -> bool:
    return reply.input_tokens is not None and reply.output_tokens is not None


def _now() -> str:
    """UTC, with its zone."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


@lru_cache(maxsize=64)
def _digest_of_shared(text: str) -> str:
    """`_digest` of a text that thousands of requests have in common."""
    return _digest(text)


def _digest(text: str) -> str:
    """sha256 in hexadecimal."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
