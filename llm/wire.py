"""What the providers share: reading bodies that may be anything, keys, and the words of a request."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from exegete.errors import UsageError
from exegete.llm.llm import Request
from exegete.llm.names import ModelName, parse
from exegete.llm.slots import WHO_CAN


def deep(value: Any, *path: str | int) -> Any:
    """What lies at a path of names and positions in JSON, or None wherever the path breaks off."""
    for step in path:
        if isinstance(step, int):
            value = value[step] if isinstance(value, list) and -len(value) <= step < len(value) else None
        else:
            value = value.get(step) if isinstance(value, dict) else None
    return value


def listed(value: Any) -> list[Any]:
    """The value if it is a list, else no items."""
    return value if isinstance(value, list) else []


def count(usage: Any, *path: str) -> int | None:
    """A number of tokens, or None when the server did not say (never 0 instead)."""
    value = deep(usage, *path)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def plain(content: Any) -> str:
    """A message's text: a string, a list of text parts, or nothing.

    Halves of surrogate pairs (a server can escape them in its JSON) become U+FFFD: they can't be written as
    UTF-8 when the text is sent back or stored.
    """
    if isinstance(content, list):
        return "".join(plain(deep(part, "text")) for part in content if deep(part, "type") == "text")
    return content.encode("utf-8", "replace").decode() if isinstance(content, str) else ""


def conversation(request: Request, system_role: str | None = None) -> list[tuple[str, str]]:
    """A request's turns as (role, text), the system part first when it has a role here."""
    turns = [(message.role, message.text) for message in request.messages]
    return [(system_role, request.system), *turns] if system_role and request.system else list(turns)


def key_from(variables: Sequence[str], *, needed: bool, why: str) -> str | None:
    """The first key that is set in the environment.

    Raises:
        UsageError: none is and one is needed, or the value can't be a key. It is never repeated.
    """
    for variable in variables:
        key = os.environ.get(variable, "").strip()
        if not key:
            continue
        if not (key.isascii() and key.isprintable()) or " " in key:
            raise UsageError(f"{variable} holds characters that no key has: set it again")
        return key
    if needed:
        raise UsageError(f"{why}: set the environment variable {variables[0]}")
    return None


def refuse_slots(name: object, request: Request) -> None:
    """Raise UsageError if a request asks for probabilities at slots, of a model that can't tell them."""
    if request.slots is not None:
        raise UsageError(f"{name} tells no probabilities at places of a prompt: {WHO_CAN}")


def refuse_other_models(name: ModelName, request: Request) -> None:
    """Raise ValueError unless a request is meant for this model: its reply is filed under that name."""
    if request.model != str(name) and parse(request.model) != name:
        raise ValueError(f"{name} was handed a request for {request.model}: this is a bug in what called it")
