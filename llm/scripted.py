"""A scripted LLM: replies read from a file, for tests, demonstrations and dry runs. No network, no cost.

The file is JSON lines, one rule a line; the first rule that matches a request answers it:

    {"purpose": "propose", "match": "degrees? of", "reply": {"labels": [{"text": "words of degree"}]}}
    {"purpose": "simulate", "replies": [{"excerpts": []}, {"excerpts": [{"excerpt": 1, "fires": []}]}]}
    {"match": "poison", "reply": "I can't help with that.", "finish": "refusal"}
    {"match": "overloaded", "error": "unavailable"}

    match      regular expression searched in the system part and all messages; absent: any
    purpose    the request's tag "purpose"; absent: any
    reply      text, or JSON to be written as text
    replies    several of these: which one depends on the request, and the next for each further `sample`
    finish     "stop" (default), "length", "refusal" or "filtered"
    error      "unavailable" or "stop" instead of a reply: raises LLMUnavailable or LLMStop
    delay_s    seconds to wait first

A reply is a function of the request alone: order, concurrency and repetition change nothing.
"""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from exegete.errors import LLMStop, LLMUnavailable, UsageError
from exegete.llm.llm import Finish, Reply, Request
from exegete.llm.wire import refuse_slots

_CHARACTERS_PER_TOKEN = 4


class Rule(BaseModel):
    """One line of a script."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    match: re.Pattern[str] | None = None
    purpose: str | None = None
    reply: str | dict[str, Any] | list[Any] | None = None
    replies: tuple[str | dict[str, Any] | list[Any], ...] = ()
    finish: Finish = "stop"
    error: Literal["unavailable", "stop"] | None = None
    delay_s: float = Field(default=0.0, ge=0.0, allow_inf_nan=False)

    @model_validator(mode="after")
    def _one_answer(self) -> Rule:
        """Refuse a rule that says nothing, or two things."""
        if (self.reply is not None) + bool(self.replies) + (self.error is not None) != 1:
            raise ValueError('a rule has one of "reply", "replies" (not empty) and "error"')
        return self

    def fits(self, request: Request) -> bool:
        """Does this rule answer that request?"""
        if self.purpose is not None and request.tags.get("purpose") != self.purpose:
            return False
        return self.match is None or self.match.search(words_of(request)) is not None

    def text(self, request: Request) -> str:
        """The reply's text for a request."""
        options = self.replies or (self.reply,)
        first = int(replace(request, sample=0).key[:8], 16)
        chosen = options[(first + request.sample) % len(options)]
        return chosen if isinstance(chosen, str) else json.dumps(chosen, ensure_ascii=False)


class Scripted:
    """An LLM that answers by the rules of a file."""

    def __init__(self, path: Path | str) -> None:
        """Read a script.

        Raises:
            UsageError: it can't be read, or a line is no rule; says which and why.
        """
        self._path = Path(path)
        self._rules = read_rules(self._path)

    async def complete(self, request: Request) -> Reply:
        """Answer by the first rule that matches. Tokens are counted as characters / 4.

        Raises:
            LLMUnavailable: no rule matches, or the rule says so.
            LLMStop: the rule says so.
            UsageError: it asks for probabilities at slots.
        """
        refuse_slots(f"scripted:{self._path}", request)
        rule = next((rule for rule in self._rules if rule.fits(request)), None)
        if rule is None:
            purpose = request.tags.get("purpose", "")
            raise LLMUnavailable(f"{self._path} has no rule for this request of purpose {purpose!r}: add one")
        if rule.delay_s:
            await asyncio.sleep(rule.delay_s)
        if rule.error == "stop":
            raise LLMStop(f"{self._path} says that no later call can succeed either")
        if rule.error == "unavailable":
            raise LLMUnavailable(f"{self._path} says that this call fails")
        text = rule.text(request)
        return Reply(
            text=text,
            finish=rule.finish,
            served_by=f"scripted:{self._path.name}",
            input_tokens=len(words_of(request)) // _CHARACTERS_PER_TOKEN,
            output_tokens=len(text) // _CHARACTERS_PER_TOKEN,
            cached_tokens=0,
            latency_s=rule.delay_s,
        )

    async def close(self) -> None:
        """Nothing is held open."""


def read_rules(path: Path) -> tuple[Rule, ...]:
    """Rules of a script, in order. Empty lines are skipped.

    Raises:
        UsageError: the file can't be read, holds no rule, or a line is no rule.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except OSError as error:
        raise UsageError(f"can't read the script {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"can't read the script {path}: {error}") from error
    rules = [_rule(path, number, line) for number, line in enumerate(lines, start=1) if line.strip()]
    if not rules:
        raise UsageError(f"the script {path} holds no rules: write one JSON object a line")
    return tuple(rules)


def words_of(request: Request) -> str:
    """All text of a request: what rules search, and what is counted as its input."""
    return "\n".join((request.system, *(message.text for message in request.messages)))


def _rule(path: Path, number: int, line: str) -> Rule:
    """One line as a rule."""
    try:
        return Rule.model_validate_json(line)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(step) for step in first["loc"])
        raise UsageError(f"{path}, line {number}: {place}{': ' if place else ''}{first['msg']}") from None
