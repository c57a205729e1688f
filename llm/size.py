"""How large a request is, before anybody has counted its tokens.

There are two answers: the likely one (a token is about four characters of English), which paces and
forecasts, and the most there can be (a token of a byte-level tokeniser is at least one byte), which budgets
are kept by.
"""

from __future__ import annotations

from exegete.llm.llm import Request
from exegete.llm.schema import known
from exegete.llm.slots import count_slots

CHARACTERS_PER_TOKEN = 4
_OVERHEAD = 64
_OVERHEAD_PER_TURN = 16
"""Tokens that servers put around a request and its turns; generous."""


def likely_tokens(request: Request) -> int:
    """Input tokens of a request, by its characters / 4; a rule of thumb for English."""
    characters = sum(len(text) for text in _texts(request)) + len(_schema(request))
    return max(1, round(characters / CHARACTERS_PER_TOKEN))


def most_tokens(request: Request) -> int:
    """Input tokens a request has at most: one a byte of UTF-8, the schema twice, and what is put around.

    With slots, so many for each of them: a server that tells nothing of its prompt is sent the prompt up to
    every slot.
    """
    sizes = (len(text.encode("utf-8", "surrogatepass")) for text in _texts(request))
    around = _OVERHEAD + _OVERHEAD_PER_TURN * (1 + len(request.messages))
    once = sum(sizes) + 2 * len(_schema(request).encode()) + around
    return once * (1 if request.slots is None else max(1, count_slots(request.messages[-1].text)))


def _texts(request: Request) -> list[str]:
    """All words of a request."""
    return [request.system, *(message.text for message in request.messages)]


def _schema(request: Request) -> str:
    """The schema as text: servers make it part of the prompt."""
    return "" if request.schema is None else known(request.schema).text
