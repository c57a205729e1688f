"""Asking for JSON of a known shape, and what to do when something else comes back.

    refused or filtered     missing at once: asking the same model again would be paying twice for a no
    cut at max_tokens       asked once more with twice the room
    can't be read           asked once more, with what is wrong as the next turn
    still nothing           missing, with its reason

At most three calls an answer. How replies are read, and what is never accepted, is in reading.py.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from pydantic import BaseModel

from exegete.llm.llm import LLM, Message, Reply, Request
from exegete.llm.reading import Unreadable, read

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Answer(Generic[M]):
    """What was asked for, or why there is none."""

    value: M | None
    why_missing: str | None
    """One phrase when `value` is None, else None."""
    replies: tuple[Reply, ...]
    """All replies paid for on the way, in order; the last one holds the value."""


async def ask(llm: LLM, request: Request, schema: type[M]) -> Answer[M]:
    """Ask for a value of a given shape.

    Args:
        llm: who is asked.
        request: what is asked; its schema is made from `schema` if it has none.
        schema: a pydantic model. A field that may be missing has to default to None: no other default is ever
            put in the place of something the reply left out.

    Returns:
        The value, or why it is missing: refused, filtered, cut, or unreadable even after asking again.

    Raises:
        LLMError: no reply could be had.
    """
    if request.schema is None:
        request = replace(request, schema=schema.model_json_schema())
    replies: list[Reply] = []
    may_lengthen = may_repeat = True
    while True:
        reply = await llm.complete(request)
        replies.append(reply)
        why = _final(reply)
        if reply.finish == "length":
            why = None if may_lengthen else f"cut at {request.max_tokens} tokens"
            request = _with_more_room(request)
            may_lengthen = False
        elif why is None:
            try:
                return Answer(read(reply.text, schema), None, tuple(replies))
            except Unreadable as error:
                why = None if may_repeat else f"unreadable: {error}"
                request = _told_what_is_wrong(request, reply, str(error))
                may_repeat = False
        if why is not None:
            return Answer(None, why, tuple(replies))


def _final(reply: Reply) -> str | None:
    """Why a reply can't be followed by another question, or None."""
    if reply.finish == "refusal":
        return "the model refused" + (f": {' '.join(reply.text.split())[:200]}" if reply.text.strip() else "")
    return "stopped by a content filter" if reply.finish == "filtered" else None


def _with_more_room(request: Request) -> Request:
    """The same request with twice the tokens."""
    return replace(request, max_tokens=2 * request.max_tokens, tags={**request.tags, "again": "cut"})


def _told_what_is_wrong(request: Request, reply: Reply, why: str) -> Request:
    """The conversation so far and what is wrong with the reply."""
    complaint = (
        f"This reply can't be used: {why}. Answer again with a single JSON value that fits the schema, and "
        "nothing before or after it."
    )
    *earlier, last = request.messages
    if reply.text.strip():
        messages = (*earlier, last, Message("assistant", reply.text), Message("user", complaint))
    else:  # providers take no empty turns, and many no two turns of the same role
        messages = (*earlier, Message("user", f"{last.text}\n\n(An earlier reply was empty.) {complaint}"))
    return replace(request, messages=messages, tags={**request.tags, "again": "unreadable"})
