"""A key that a server echoes in a reply reaches neither the disk nor the caller; nothing else is touched."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exegete.llm import Journal, Reply
from exegete.llm.journalled import Journalled, Recorded
from exegete.llm.record import records
from exegete.llm.redact import HIDDEN, hide_keys
from tests.llm.fakes import FakeLLM, reply, request

CANARY = "CANARY-0123456789abcdef"


@pytest.mark.parametrize("recorded", [True, False])
def test_what_is_seen_is_what_is_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recorded: bool
) -> None:
    """The first caller, those who share the call, and later runs see the same text, and it holds no key."""
    monkeypatch.setenv("OPENAI_API_KEY", CANARY)

    async def run() -> list[Reply]:
        fake = FakeLLM([reply(f"your key is {CANARY}, {CANARY}", served_by=f"m {CANARY}")])
        with Journal(tmp_path) as journal:
            llm = Journalled(Recorded(fake, journal) if recorded else fake, journal)
            return list(await asyncio.gather(*(llm.complete(request()) for _ in range(3))))

    replies = asyncio.run(run()) + asyncio.run(run())
    assert {(one.text, one.served_by) for one in replies} == {
        (f"your key is {HIDDEN}, {HIDDEN}", f"m {HIDDEN}")
    }
    assert replies[0] == reply(replies[0].text, served_by=replies[0].served_by)
    for path in tmp_path.iterdir():
        assert b"CANARY" not in path.read_bytes()
    (record,) = records(tmp_path)
    assert record["reply"]["text"] == replies[0].text


@pytest.mark.parametrize(
    "text",
    [
        "words such as sk-learn and sk-proj-abcdefgh",
        '{"labels": [{"text": "api_key: x, or Bearer tokens in HTTP headers"}]}',
        "Basic YWxhZGRpbjpvcGVuc2VzYW1l in code about authentication",
        "the words password and development",
    ],
)
def test_labels_about_code_stay(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """What only looks like a key is left alone, and so is a word that happens to be somebody's password."""
    monkeypatch.setenv("DB_PASSWORD", "password")
    monkeypatch.setenv("SECRET_KEY", "development")
    monkeypatch.setenv("OPENAI_API_KEY", CANARY)
    assert hide_keys(text) == (text,)


@given(
    key=st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), min_size=6).filter(
        lambda key: len(key.strip()) >= 6
    ),
    around=st.text(max_size=20),
)
def test_to_the_letter(key: str, around: str) -> None:
    """A provider's key goes whatever characters it has, alone and within JSON."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOME_API_KEY", key)
        for text in (key.strip(), json.dumps({"key": key.strip()})):
            (hidden,) = hide_keys(around + text + around)
            assert key.strip() not in hidden.replace(HIDDEN, "").replace(around, "")
            assert HIDDEN in hidden


def test_a_key_that_is_set_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is remembered of the environment is never older than the environment."""
    monkeypatch.delenv("LATE_API_KEY", raising=False)
    assert hide_keys(CANARY, "x") == (CANARY, "x")
    monkeypatch.setenv("LATE_API_KEY", CANARY)
    assert hide_keys(CANARY, "x") == (HIDDEN, "x")
    monkeypatch.setenv("LATE_API_KEY", "another-1")
    assert hide_keys(f"{CANARY} another-1") == (f"{CANARY} {HIDDEN}",)
    monkeypatch.delenv("LATE_API_KEY")
    assert hide_keys("another-1") == ("another-1",)
