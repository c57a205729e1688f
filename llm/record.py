"""Records of calls: what the journal keeps of a request and its reply.

One record a reply, one line a record (lines.py):

    {"key": …, "model": …, "prompt_version": …, "sample": …, "max_tokens": …, "temperature": …,
     "system": digest, "schema": digest or null, "messages": [[role, digest], …], "tags": {…},
     "reply": {text, finish, served_by, tokens, latency_s, attempts, usd, prices}, "at": UTC, "version": …}

What was asked is stored by sha256. The texts behind the digests of `system` and `schema`, which thousands of
requests share, are stored once each, as {"text": digest, "body": …}. Messages hold the corpus, are most of
the bytes, and can be rendered again from prompt_version and the evidence and then checked against their
digest; a journal opened with `keep_messages=True` stores them in full as well, as "words".
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from exegete import __version__
from exegete.errors import WorkspaceError
from exegete.llm.lines import Position, intact, read_lines
from exegete.llm.llm import Reply, Request

RECORD = b'{"key":"'
"""How a line with a record begins."""
TEXT = b'{"text":"'
"""How a line with a shared text begins."""


def records(folder: Path, start: str = "") -> Iterator[dict[str, Any]]:
    """Records of a journal, in the order in which they were written; needs no lock.

    Args:
        folder: of the journal.
        start: "next" of the last record seen; empty for all.

    Yields:
        Each record as stored, with "next": the position to go on from after it.

    Raises:
        UsageError: `start` is no position.
        WorkspaceError: the journal can't be read.
    """
    try:
        for _, line, after in read_lines(folder, Position.parse(start)):
            if line.startswith(RECORD) and intact(line):
                yield {**json.loads(line), "next": str(after)}
    except OSError as error:
        raise WorkspaceError(f"can't read the journal {folder}: {error.strerror}") from error


def record_of(request: Request, reply: Reply, keep_messages: bool) -> Mapping[str, Any]:
    """What is stored of a call. "key" comes first: opening a journal reads no further."""
    stored = asdict(replace(reply, rates=None))
    del stored["journalled"], stored["rates"]
    record: dict[str, Any] = {
        "key": request.key,
        "model": request.model,
        "prompt_version": request.prompt_version,
        "sample": request.sample,
        "max_tokens": request.max_tokens,
        "temperature": request.temperature,
        "system": _digest(request.system),
        "schema": None if request.schema is None else _digest(_canonical(request.schema)),
        "messages": [[message.role, _digest(message.text)] for message in request.messages],
        "tags": dict(request.tags),
        "reply": stored,
        "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "version": __version__,
    }
    if keep_messages:
        record["words"] = [message.text for message in request.messages]
    return record


def shared_texts(request: Request) -> dict[str, str]:
    """The texts a request shares with many others, by digest."""
    texts = [request.system, *([] if request.schema is None else [_canonical(request.schema)])]
    return {_digest(text): text for text in texts}


def line_of(record: Mapping[str, Any]) -> bytes:
    """Compact JSON in ASCII, so that a line is a line whatever a model wrote."""
    return json.dumps(record, separators=(",", ":")).encode("ascii")


def _canonical(schema: Mapping[str, Any]) -> str:
    """A schema as text."""
    return json.dumps(schema, sort_keys=True, ensure_ascii=False)


def _digest(text: str) -> str:
    """sha256 in hexadecimal."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
