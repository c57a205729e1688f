"""Asking for JSON of a known shape."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import pytest
from pydantic import BaseModel

from exegete.errors import LLMStop, LLMUnavailable
from exegete.llm import Message, Reply, Request
from exegete.llm.structured import Answer, ask
from tests.llm.fakes import FakeLLM, reply, request


class Level(BaseModel):
    level: int


GOOD = '{"level": 7}'


def run(
    answers: list[Reply | Exception], asked: Request | None = None
) -> tuple[Answer[Level], list[Request]]:
    """Ask once; the answer and the requests it took."""
    fake = FakeLLM(answers)
    answer = asyncio.run(ask(fake, asked or request(max_tokens=100), Level))
    return answer, fake.asked


def test_first_time() -> None:
    """A good reply is one call, which carries the schema."""
    answer, asked = run([reply(GOOD)])
    assert answer == Answer(Level(level=7), None, (reply(GOOD),))
    assert [one.schema for one in asked] == [Level.model_json_schema()]
    assert asked[0].schema is not None
    assert asked[0].schema["title"] == "Level"


def test_own_schema() -> None:
    """A schema that is given is kept."""
    _, (asked,) = run([reply(GOOD)], request(schema={"title": "Mine"}))
    assert asked.schema == {"title": "Mine"}


@pytest.mark.parametrize("finish", ["refusal", "filtered"])
def test_refused(finish: str) -> None:
    """A refusal is final for this model, even one whose text could be read."""
    answer, asked = run([reply(GOOD, finish=finish)])
    assert answer.value is None
    assert answer.why_missing
    assert len(asked) == 1


def test_cut() -> None:
    """A reply that was cut is not read, though it could be: it is asked for with twice the room."""
    answer, asked = run([reply(GOOD, finish="length"), reply('{"level": 8}')])
    assert answer.value == Level(level=8)
    assert [one.max_tokens for one in asked] == [100, 200]
    assert asked[0].messages == asked[1].messages
    assert len(answer.replies) == 2


def test_cut_twice() -> None:
    """Twice the room is given once."""
    answer, asked = run([reply(GOOD, finish="length")])
    assert answer.why_missing == "cut at 200 tokens"
    assert len(asked) == 2


def test_unreadable() -> None:
    """The model is told what is wrong, once, with its own words before it."""
    answer, asked = run([reply('{"level": "7"}'), reply(GOOD)])
    assert answer.value == Level(level=7)
    first, second = asked
    assert second.messages[:-1] == (*first.messages, Message("assistant", '{"level": "7"}'))
    assert second.messages[-1].role == "user"
    assert "level: Input should be a valid integer" in second.messages[-1].text
    assert second.key != first.key
    assert second.schema == first.schema


@pytest.mark.parametrize("text", ["", "  ", "x", '{"level": "7"}', "null"])
def test_unreadable_twice(text: str) -> None:
    """Then it is missing, and says why."""
    answer, asked = run([reply(text)])
    assert answer.value is None
    assert answer.why_missing is not None
    assert answer.why_missing.startswith("unreadable: ")
    assert len(asked) == 2


def test_turns_alternate() -> None:
    """After an empty reply there is no empty turn and no two turns of one role."""
    _, (_, second) = run([reply(" "), reply(GOOD)])
    assert [message.role for message in second.messages] == ["user"]
    assert second.messages[0].text.startswith("hello\n\n")


def test_three_calls_at_most() -> None:
    """Cut, unreadable, and then cut or unreadable again: given up after three calls."""
    cut, bad = reply("{", finish="length"), reply("no")
    for answers in ([cut, bad, bad, reply(GOOD)], [cut, bad, cut, reply(GOOD)], [bad, cut, bad, reply(GOOD)]):
        answer, asked = run(list(answers))
        assert answer.value is None
        assert len(asked) == len(answer.replies) == 3
    answer, _ = run([bad, cut, reply(GOOD)])
    assert answer.value == Level(level=7)


def test_tags() -> None:
    """The tags of further calls say that they are such; the caller's are kept."""
    _, asked = run([reply("{", finish="length"), reply("no"), reply(GOOD)], request(tags={"purpose": "p"}))
    assert [dict(one.tags) for one in asked] == [
        {"purpose": "p"},
        {"purpose": "p", "again": "cut"},
        {"purpose": "p", "again": "unreadable"},
    ]


@pytest.mark.parametrize("error", [LLMUnavailable("down"), LLMStop("no key")])
def test_errors_pass(error: Exception) -> None:
    """No reply at all is an error, not a missing value."""
    with pytest.raises(type(error)):
        run([error])
    with pytest.raises(type(error)):
        run([reply("no"), error])


def test_the_same_questions_every_time() -> None:
    """What is asked depends on the replies alone, so that a journal answers all of it the second time."""
    answers: list[Reply | Exception] = [reply("no"), replace(reply("{"), finish="length"), reply(GOOD)]
    assert [one.key for one in run(answers)[1]] == [one.key for one in run(answers)[1]]
    assert json.dumps(run(answers)[1][1].schema) == json.dumps(Level.model_json_schema())
