"""Output labels that need no language model: lists of tokens, written so that they can be read back.

    raises " the", " a"; lowers "0"

A token stands in double quotes as JSON writes it, and characters that can't be seen as pictures. What is read
is the text alone, whoever wrote it: a label of a language model that quotes tokens after "raises" or "lowers"
is read likewise.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from exegete.prompts.material import picture

_QUOTED = re.compile(r'"(?:[^"\\]|\\.)+"')
_VERB = re.compile(r"\b(raise|lower|promote|suppress|increase|decrease)(?:s|es)?\b", re.IGNORECASE)
_RAISING = frozenset({"raise", "promote", "increase"})


@dataclass(frozen=True, slots=True)
class Writes:
    """The tokens that a label says a feature writes."""

    raised: tuple[str, ...]
    """As they are printed by `shown`."""
    lowered: tuple[str, ...]


def shown(token: str) -> str:
    """A token as labels and judges compare it: without spaces around it, nothing hidden in it.

    A token that is nothing but whitespace is printed as the pictures of its characters.
    """
    text = token.strip() or token.replace(" ", "␣")
    return "".join(char if char.isprintable() else picture(char) for char in text)


def write_label(raised: Sequence[str], lowered: Sequence[str]) -> str:
    """A label that lists tokens, each once however it is spaced; empty lists are left out."""
    parts = [("raises", raised), ("lowers", lowered)]
    lists = [(verb, list(dict.fromkeys(shown(token) for token in tokens))) for verb, tokens in parts]
    return "; ".join(
        f"{verb} {', '.join(json.dumps(token, ensure_ascii=False) for token in tokens)}"
        for verb, tokens in lists
        if tokens
    )


def read_label(text: str) -> Writes:
    """The tokens that a label quotes, each on the side of the verb that it follows; none before the first."""
    sides: dict[bool, list[str]] = {True: [], False: []}
    verbs = [(m.start(), m[1].casefold() in _RAISING) for m in _VERB.finditer(_without_quotes(text))]
    for quoted in _QUOTED.finditer(text):
        before = [raising for start, raising in verbs if start < quoted.start()]
        token = _unquoted(quoted[0])
        if before and token is not None:
            sides[before[-1]].append(token)
    return Writes(tuple(dict.fromkeys(sides[True])), tuple(dict.fromkeys(sides[False])))


def _without_quotes(text: str) -> str:
    """The text with what stands in quotes blanked out, so that a quoted verb is no verb."""
    return _QUOTED.sub(lambda found: " " * len(found[0]), text)


def _unquoted(quoted: str) -> str | None:
    """What stands in quotes, or None when it is not as JSON writes it."""
    try:
        return shown(str(json.loads(quoted)))
    except ValueError:
        return None
