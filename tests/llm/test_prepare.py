"""What servers can't do is learnt once, remembered, acted on, and said."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exegete import __version__
from exegete.errors import LLMUnavailable, UsageError, WorkspaceError
from exegete.llm import Message, Reply, Request, downgrade, open_llm
from exegete.llm.abilities import ABILITIES, Abilities, Ability
from exegete.llm.abilities_file import NAME, VALID_DAYS, remember, remembered
from exegete.llm.meter import Spent
from exegete.llm.prepare import prepare, refuse_without, used_up
from tests.provider import Asked, ProviderServer
from tests.provider_abilities import KNOWS

NEEDS = ("structured_output", "temperature")
DAY = date(2026, 11, 21)
SCHEMA = {"title": "L", "type": "object", "properties": {"n": {"type": "integer"}}}


def obliging(asked: Asked) -> Any:
    """Keeps to the schema of a probe."""
    word = (asked.schema or {}).get("properties", {}).get("word")
    return {"word": word["enum"][0]} if word else "Hello!"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ProviderServer]:
    """A server, and a process that expects nothing of it."""
    monkeypatch.setattr(downgrade, "_EXPECTED", {})
    with ProviderServer(obliging) as server:
        server.knows = KNOWS
        yield server


def prepared(names: list[str], folder: Path, needs: Any = NEEDS) -> list[str]:
    """Prepare for a job."""
    return asyncio.run(prepare(names, folder, needs))


def complete(name: str) -> Reply:
    """A request as a job makes it, with a schema and a temperature."""

    async def run() -> Reply:
        llm = open_llm(name)
        try:
            turns = (Message("user", "now"),)
            return await llm.complete(Request(name, "", turns, schema=SCHEMA, temperature=0.5))
        finally:
            await llm.close()

    return asyncio.run(run())


def test_asked_once(server: ProviderServer, tmp_path: Path) -> None:
    """The first job pays for asking and says so; later ones read the file, and ask only what is new."""
    name = f"openai:m@{server.url}/v1"
    (line,) = prepared([name, name], tmp_path)
    tokens = sum(entry["input_tokens"] + entry["output_tokens"] for entry in server.ledger)
    assert line == f"{name}: asked what it can do: 3 calls, {tokens} tokens, cost unknown"
    asked = len(server.asked)
    assert prepared([name], tmp_path) == []
    assert len(server.asked) == asked
    assert len(prepared([name], tmp_path, (*NEEDS, "prompt_logprobs"))) == 1
    assert ["prompt_logprobs" in one.body for one in server.asked[asked:]] == [False, True]
    assert prepared([name], tmp_path, ()) == []


def test_a_known_refusal_is_not_paid_for_again(server: ProviderServer, tmp_path: Path) -> None:
    """What was refused when a server was asked is left out of the first request of a later process."""
    name = f"openai:m@{server.url}/v1"
    server.refuses = frozenset({"response_format", "temperature"})
    _, *lacks = prepared([name], tmp_path)
    assert [line.partition(": ")[2] for line in lacks] == [
        "no structured output (refused: unsupported parameter: response_format): the schema is written into "
        "the prompt and replies are read leniently",
        "no temperature (refused: unsupported parameter: temperature): it is left out, and the server's own "
        "setting holds",
    ]
    downgrade._EXPECTED.clear()  # another process
    assert prepared([name], tmp_path) == lacks
    server.asked.clear()
    assert complete(name).attempts == 1
    (asked,) = server.asked
    assert "temperature" not in asked.body
    assert '"n"' in asked.text
    other = f"openai:other@{server.url}/v1"
    assert complete(other).attempts == 3


def test_an_ignored_schema_is_put_into_words(server: ProviderServer, tmp_path: Path) -> None:
    """A server that takes a schema and ignores it is treated like one that refuses it."""
    name = f"openai:m@{server.url}/v1"
    server.answer = lambda asked: "Hello!"
    assert "no structured output (taken, and ignored)" in prepared([name], tmp_path)[1]
    complete(name)
    assert "response_format" not in server.asked[-1].body
    assert server.asked[-1].body["temperature"] == 0.5


def test_an_upgraded_server(server: ProviderServer, tmp_path: Path) -> None:
    """Once it was found able, nothing is left out any more."""
    name = f"openai:m@{server.url}/v1"
    server.refuses = frozenset({"response_format"})
    prepared([name], tmp_path)
    server.refuses = frozenset()
    (tmp_path / NAME).unlink()
    assert len(prepared([name], tmp_path)) == 1
    complete(name)
    assert "response_format" in server.asked[-1].body


def test_models_that_are_not_asked(tmp_path: Path) -> None:
    """Scripts and local models cost nothing, leave no file, and are not even opened."""
    (tmp_path / "s").write_text('{"reply": "x"}')
    assert prepared([f"scripted:{tmp_path / 's'}"], tmp_path, ABILITIES[:2]) == []
    (line,) = prepared(["hf:org/not-here"], tmp_path)
    assert line.startswith("hf:org/not-here: no structured output (no grammar here): the schema is written")
    assert not (tmp_path / NAME).exists()


def without(name: str, folder: Path) -> list[str]:
    """Refuse a model that tells no probabilities of a prompt."""
    return asyncio.run(
        refuse_without(name, folder, ("prompt_logprobs", "token_id_logprobs"), "method x", "use y")
    )


def test_one_of_several_will_do(server: ProviderServer, tmp_path: Path) -> None:
    """Abilities are asked about in turn until one is there, once; a model with none of them is refused."""
    name = f"openai:m@{server.url}/v1"
    server.knows = frozenset({"logprobs", "logprob_token_ids"})
    assert [line.partition(" calls")[0] for line in without(name, tmp_path)] == [
        f"{name}: asked what it can do: {n}" for n in (3, 2)
    ]
    asked = len(server.asked)
    assert without(name, tmp_path) == []
    assert len(server.asked) == asked
    server.knows = frozenset()
    other = f"openai:other@{server.url}/v1"
    with pytest.raises(UsageError) as caught:
        without(other, tmp_path)
    assert str(caught.value) == (
        f"{other} has nothing that method x could read (logprobs of prompts: taken, and ignored; logprobs of "
        "chosen tokens: taken, and ignored): use y"
    )
    assert without("hf:org/not-here", tmp_path) == []
    with pytest.raises(UsageError, match=r"^openai:m has nothing .*its API has none; .*: use y$"):
        without("openai:m", tmp_path)


def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    """A server that has to be asked and is down is said at once."""
    with pytest.raises(LLMUnavailable, match="no server answers at http://127"):
        prepared(["openai:m@http://127.0.0.1:9/v1"], tmp_path)
    assert not (tmp_path / NAME).exists()


def test_the_file(tmp_path: Path) -> None:
    """Findings read back for 30 days, beside those of other models, with their date and our version."""
    yes, no, unknown = Ability(True, "séen"), Ability(False, "refused"), Ability(None, "perhaps")
    first = Abilities("a").updated({"structured_output": yes, "temperature": unknown, "batch": no})
    remember(tmp_path, first, today=DAY)
    remember(tmp_path, Abilities("b").updated({"caching": yes}), today=DAY)
    for days, known in ((0, True), (VALID_DAYS, True), (VALID_DAYS + 1, False), (-1, False)):
        read = remembered(tmp_path, "a", today=DAY + timedelta(days))
        assert read == (first if known else Abilities("a"))
    assert remembered(tmp_path, "b", today=DAY).caching == yes
    assert remembered(tmp_path, "c", today=DAY) == Abilities("c")
    entry = json.loads((tmp_path / NAME).read_text())["servers"]["a"]["batch"]
    assert entry == {"has": False, "seen": "refused", "asked": "2026-11-21", "by": f"exegete {__version__}"}
    assert [path.name for path in tmp_path.iterdir()] == [NAME]


def test_newer_findings_replace_older_ones(tmp_path: Path) -> None:
    """Each finding has its own age; what was not settled leaves what was known before."""
    yes, no = Ability(True, "seen"), Ability(False, "refused")
    remember(tmp_path, Abilities("a").updated({"batch": yes, "caching": yes}), today=DAY)
    later = DAY + timedelta(20)
    trouble = Ability(None, "no answer", settled=False)
    remember(tmp_path, Abilities("a").updated({"batch": no, "caching": trouble}), today=later)
    assert remembered(tmp_path, "a", today=later).updated({}).batch == no
    assert remembered(tmp_path, "a", today=later).caching == yes
    much_later = DAY + timedelta(40)
    assert remembered(tmp_path, "a", today=much_later) == Abilities("a").updated({"batch": no})


@given(
    st.binary()
    | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(lambda v: json.dumps(v).encode())
)
def test_any_file(content: bytes) -> None:
    """Whatever the file holds, it is at worst as if there were none, and is written anew."""
    import tempfile

    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / NAME).write_bytes(content)
        assert remembered(folder, "a", today=DAY) == Abilities("a")
        remember(folder, Abilities("a").updated({"batch": Ability(True, "x")}), today=DAY)
        assert remembered(folder, "a", today=DAY).batch.has is True


def test_entries_of_another_kind(tmp_path: Path) -> None:
    """A newer format, or a damaged entry, is asked again."""
    entry = {"has": True, "seen": "x", "asked": "2026-11-21", "by": "y"}
    for damage in ({"format": 2}, {"servers": {"a": {"batch": entry | {"asked": "soon"}}}}):
        (tmp_path / NAME).write_text(json.dumps({"format": 1, "servers": {"a": {"batch": entry}}} | damage))
        assert remembered(tmp_path, "a", today=DAY) == Abilities("a")


def test_a_folder_that_can_not_be_written(tmp_path: Path) -> None:
    """Findings that can't be stored are said, in one sentence."""
    with pytest.raises(WorkspaceError, match=r"can't write .*abilities\.json \(No such file"):
        remember(tmp_path / "none", Abilities("a"))


def test_what_asking_used() -> None:
    """Calls, tokens and dollars, as far as they are known."""
    assert used_up(Spent(1, 10, 2)) == "1 call, 12 tokens"
    assert used_up(Spent(2, 1000, 2, usd=0.00125)) == "2 calls, 1,002 tokens, $0.0013"
    assert used_up(Spent(3, 10, 2, unreported=1, unpriced=1)) == (
        "3 calls, 12 tokens and those of 1 that said nothing of tokens, cost unknown"
    )
