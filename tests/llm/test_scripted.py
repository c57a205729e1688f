"""The scripted LLM."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exegete.errors import LLMStop, LLMUnavailable, UsageError
from exegete.llm import Reply, Request
from exegete.llm.scripted import Scripted
from tests.llm.fakes import request


def script(folder: Path, *rules: Any) -> Scripted:
    """A scripted LLM with rules given as objects or as raw lines."""
    path = folder / "script.jsonl"
    path.write_text("\n".join(rule if isinstance(rule, str) else json.dumps(rule) for rule in rules), "utf-8")
    return Scripted(path)


def ask(llm: Scripted, asked: Request) -> Reply:
    return asyncio.run(llm.complete(asked))


def test_first_rule_that_fits(tmp_path: Path) -> None:
    """Rules are tried in order; the pattern is searched in the system part and in every message."""
    llm = script(
        tmp_path,
        {"purpose": "propose", "match": "cats?", "reply": "both"},
        "",
        {"match": "(?i)CATS?", "reply": {"about": "cäts"}},
        {"match": "be brief", "purpose": "judge", "reply": "system"},
        {"reply": "else"},
    )
    assert ask(llm, request("a cat", tags={"purpose": "propose"})).text == "both"
    assert ask(llm, request("a cat")).text == '{"about": "cäts"}'
    assert ask(llm, request("a dog", tags={"purpose": "judge"})).text == "system"
    assert ask(llm, request("a dog")).text == "else"


def test_reply(tmp_path: Path) -> None:
    """Finish, the model's name and the counts are as said; no text is no token, and nothing is unknown."""
    reply = ask(
        script(tmp_path, {"reply": "12345678", "finish": "length"}), request("x" * 40, system="y" * 39)
    )
    assert reply == Reply("12345678", "length", "scripted:script.jsonl", 20, 2, 0, 0.0)


def test_errors(tmp_path: Path) -> None:
    """A rule can fail; no rule is a failure that says for which purpose one is missing."""
    llm = script(tmp_path, {"match": "down", "error": "unavailable"}, {"match": "stop", "error": "stop"})
    with pytest.raises(LLMUnavailable):
        ask(llm, request("down"))
    with pytest.raises(LLMStop):
        ask(llm, request("stop"))
    with pytest.raises(LLMUnavailable, match=r"no rule .*purpose 'simulate'"):
        ask(llm, request("other", tags={"purpose": "simulate"}))


def test_delay(tmp_path: Path) -> None:
    """A rule can take its time."""
    started = time.monotonic()
    assert ask(script(tmp_path, {"reply": "x", "delay_s": 0.05}), request()).latency_s == 0.05
    assert time.monotonic() - started >= 0.05


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 5)), min_size=1, max_size=12))
def test_a_function_of_the_request(
    tmp_path_factory: pytest.TempPathFactory, asked: list[tuple[int, int]]
) -> None:
    """In any order, at once or one by one, by one object or several, a request has one reply."""
    folder = tmp_path_factory.mktemp("scripts")
    rule = {"replies": ["a", "b", {"c": 1}, "d"]}
    requests = [request(str(text), sample=sample) for text, sample in asked]

    async def all_of(llm: Scripted, which: list[Request]) -> list[str]:
        return [one.text for one in await asyncio.gather(*(llm.complete(one) for one in which))]

    one_by_one = [ask(script(folder, rule), one).text for one in requests]
    assert asyncio.run(all_of(script(folder, rule), requests)) == one_by_one
    assert asyncio.run(all_of(script(folder, rule), requests[::-1])) == one_by_one[::-1]


def test_variety(tmp_path: Path) -> None:
    """Different requests get different replies of a list; samples of one request get all of them in turn."""
    llm = script(tmp_path, {"replies": ["a", "b", "c"]})
    assert {ask(llm, request(str(n))).text for n in range(30)} == {"a", "b", "c"}
    samples = [ask(llm, request("one", sample=n)).text for n in range(6)]
    assert sorted(samples[:3]) == ["a", "b", "c"]
    assert samples[3:] == samples[:3]


def test_line_separators_in_texts(tmp_path: Path) -> None:
    """Characters that some think end a line don't."""
    assert ask(script(tmp_path, '{"reply": "a\u2028b\u0085c"}'), request()).text == "a\u2028b\u0085c"


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("{", "Invalid JSON"),
        ("[]", "should be an object"),
        ("{}", "one of"),
        ('{"reply": "x", "replies": ["y"]}', "one of"),
        ('{"reply": "x", "error": "stop"}', "one of"),
        ('{"replies": []}', "one of"),
        ('{"reply": 7}', "reply"),
        ('{"reply": "x", "match": "("}', "match"),
        ('{"reply": "x", "finish": "end"}', "finish"),
        ('{"error": "maybe"}', "error"),
        ('{"reply": "x", "delay_s": -1}', "delay_s"),
        ('{"reply": "x", "delay_s": NaN}', "delay_s"),
        ('{"reply": "x", "mach": "y"}', "mach"),
    ],
)
def test_malformed(tmp_path: Path, line: str, why: str) -> None:
    """A line that is no rule is named by its number, with the field."""
    with pytest.raises(UsageError, match=r"script.jsonl, line 3: ") as error:
        script(tmp_path, {"reply": "fine"}, "", line)
    assert why in str(error.value)


def test_unreadable_files(tmp_path: Path) -> None:
    """A file that is not there, is no text or holds no rule is a sentence."""
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "empty").write_text("\n \n")
    for name, why in (("none", "can't read"), ("binary", "can't read"), ("empty", "holds no rules")):
        with pytest.raises(UsageError, match=why):
            Scripted(tmp_path / name)
