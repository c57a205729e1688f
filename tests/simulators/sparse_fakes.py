"""A model that answers for excerpts as it is told to, and contexts made by hand."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Any

from exegete.datastore.records import Context
from exegete.llm.llm import Finish, Reply, Request

PRINTED = re.compile(r"^Excerpt (\d+): (.*)$", re.MULTILINE)


class FakeLLM:
    """Gives the replies it was made with, in turn, the last one for ever; remembers what it was asked."""

    def __init__(self, *replies: str | Exception | Callable[[Request], str]) -> None:
        self.replies = list(replies)
        self.asked: list[Request] = []

    async def complete(self, request: Request) -> Reply:
        self.asked.append(request)
        said = self.replies[min(len(self.asked), len(self.replies)) - 1]
        if isinstance(said, Exception):
            raise said
        finish: Finish = said if said in ("length", "refusal", "filtered") else "stop"  # type: ignore[assignment]
        return Reply(said(request) if callable(said) else said, finish, "fake", 10, 5, 0, 0.0)

    async def close(self) -> None:
        pass


def contexts(*passages: str | Sequence[str]) -> list[Context]:
    """Contexts of words: given as running text, split at spaces, or as tokens."""
    made = []
    for number, passage in enumerate(passages):
        tokens = tuple(f" {w}" for w in passage.split(" ")) if isinstance(passage, str) else tuple(passage)
        made.append(Context(id=number, document="d", start=0, tokens=tokens))
    return made


def saying(fires: dict[int, list[list[Any]]]) -> str:
    """A well-formed reply."""
    return json.dumps({"excerpts": [{"excerpt": n, "fires": entries} for n, entries in fires.items()]})


def printed(request: Request) -> dict[int, list[str]]:
    """The words of the excerpts of a request, as a model reads them, by number."""
    shown = request.messages[0].text.split("\n[end excerpts ")[0]
    return {int(number): line.split(" ") for number, line in PRINTED.findall(shown)}
