"""The journal: equal requests are paid for once, now and in every later run."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import json
import os
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exegete.errors import LLMStop, LLMUnavailable, WorkspaceError
from exegete.llm import Account, Journal, Message, Reply, Request
from exegete.llm.journalled import Journalled, Recorded
from exegete.llm.record import records
from exegete.llm.throttle import Throttled
from tests.llm.fakes import FakeLLM, echo, reply, request


def test_paid_once(tmp_path: Path) -> None:
    """An equal request is answered from the journal: in this run, and after opening it again."""
    fake = echo()

    async def run() -> list[Reply]:
        with Journal(tmp_path) as journal:
            llm = Journalled(fake, journal)
            return [await llm.complete(request("a")), await llm.complete(request("a", tags={"run": "2"}))]

    first, second = asyncio.run(run())
    third, _ = asyncio.run(run())
    assert len(fake.asked) == 1
    assert not first.journalled
    assert second == third == replace(first, journalled=True)


def test_different_requests_are_different(tmp_path: Path) -> None:
    """Whatever changes a request's key is paid for, another sample of the same words too."""
    fake = echo()
    requests = [
        request("a"),
        request("b"),
        request("a", sample=1),
        request("a", max_tokens=1),
        request("a", model="n"),
    ]

    async def run() -> None:
        with Journal(tmp_path) as journal:
            await asyncio.gather(*(Journalled(fake, journal).complete(one) for one in requests))

    asyncio.run(run())
    asyncio.run(run())
    assert len(fake.asked) == len(requests)


def test_on_disk_before_it_is_seen(tmp_path: Path) -> None:
    """When a caller has the reply, a copy of the files as they are holds it."""

    async def run() -> None:
        with Journal(tmp_path) as journal:
            llm = Journalled(echo(), journal)

            async def one(n: int) -> None:
                got = await llm.complete(request(str(n)))
                assert got.text in {record["reply"]["text"] for record in records(tmp_path)}

            await asyncio.gather(*(one(n) for n in range(30)))

    asyncio.run(run())


@given(
    st.builds(
        Reply,
        text=st.text() | st.just("\ud800 \x00 \u2028 \n"),
        finish=st.sampled_from(["stop", "length", "refusal", "filtered"]),
        served_by=st.text(),
        input_tokens=st.none() | st.integers(0, 10**9),
        output_tokens=st.none() | st.integers(0, 10**9),
        cached_tokens=st.none() | st.integers(0, 10**9),
        latency_s=st.floats(0, 1e6),
        attempts=st.integers(1, 9),
    )
)
def test_any_reply(tmp_path_factory: pytest.TempPathFactory, given_reply: Reply) -> None:
    """Every reply comes back as it was: None stays None, and no text breaks a line."""
    folder = tmp_path_factory.mktemp("journal")

    async def put() -> None:
        with Journal(folder) as journal:
            await journal.put(request(), given_reply)
            await journal.put(request("next"), reply())

    asyncio.run(put())
    with Journal(folder) as journal:
        assert journal.get(request().key) == replace(given_reply, journalled=True)
        assert journal.get(request("next").key) == reply(journalled=True)
        assert journal.get(request("never asked").key) is None
        assert (len(journal), journal.damaged, journal.dropped) == (2, 0, 0)


@pytest.mark.parametrize("finish", ["length", "refusal", "filtered"])
def test_unwelcome_replies_were_paid_for(tmp_path: Path, finish: str) -> None:
    """Replies that were cut, refused or filtered are kept like any other."""
    fake = FakeLLM([reply("no", finish=finish)])

    async def run() -> Reply:
        with Journal(tmp_path) as journal:
            return await Journalled(fake, journal).complete(request())

    assert asyncio.run(run()).finish == asyncio.run(run()).finish == finish
    assert len(fake.asked) == 1


@pytest.mark.parametrize("error", [LLMUnavailable("down"), LLMStop("no key"), ValueError("bug")])
def test_failures_are_not_kept(tmp_path: Path, error: Exception) -> None:
    """A failure reaches the caller, leaves no record, and the next call is made."""

    async def run() -> Reply:
        with Journal(tmp_path) as journal:
            llm = Journalled(FakeLLM([error, reply("now")]), journal)
            with pytest.raises(type(error)):
                await llm.complete(request())
            assert len(journal) == 0
            return await llm.complete(request())

    assert asyncio.run(run()).text == "now"


def test_disk_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When a reply can't be kept the caller is told and nothing more is bought; reopened, it goes on."""
    fake = echo()

    async def run(*texts: str) -> None:
        with Journal(tmp_path) as journal:
            llm = Journalled(fake, journal)
            for text in texts:
                await llm.complete(request(text))

    async def fail() -> None:
        with Journal(tmp_path) as journal:
            llm = Journalled(fake, journal)
            monkeypatch.setattr(os, "write", full)
            for text in ("b", "c", "c"):
                with pytest.raises(WorkspaceError, match="no room left"):
                    await llm.complete(request(text))
            assert (await llm.complete(request("a"))).journalled  # reading needs no room

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    real = os.write
    asyncio.run(run("a"))
    asyncio.run(fail())
    assert [one.messages[0].text for one in fake.asked] == ["a", "b"]
    monkeypatch.setattr(os, "write", real)
    asyncio.run(run("a", "b", "c"))
    assert [one.messages[0].text for one in fake.asked] == ["a", "b", "b", "c"]


def test_a_slow_disk_slows_down_the_buying(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the disk does not answer, no more calls are made than are allowed at once; all are stored."""
    go, real = threading.Event(), os.fsync

    def fsync(file: int) -> None:
        assert go.wait(10)
        real(file)

    async def run() -> None:
        fake = echo()
        with Journal(tmp_path) as journal:
            monkeypatch.setattr(os, "fsync", fsync)
            llm = Journalled(Throttled(Recorded(fake, journal), Account(3)), journal)
            callers = [asyncio.create_task(llm.complete(request(str(n)))) for n in range(20)]
            await asyncio.sleep(0.05)
            assert len(fake.asked) == 3
            go.set()
            await asyncio.gather(*callers)
            assert len(list(journal.records())) == len(fake.asked) == 20

    asyncio.run(run())


def test_what_a_record_holds(tmp_path: Path) -> None:
    """Who was asked what, when, for what, and what came back; texts by digest, shared ones stored once."""
    schema = {"title": "Level", "type": "object"}
    asked = [
        request(
            text,
            schema=schema,
            prompt_version="sparse@3",
            sample=2,
            temperature=0.5,
            tags={"run": "r1", "feature": "7", "purpose": "simulate"},
        )
        for text in ("word ü", "other")
    ]

    async def run() -> None:
        with Journal(tmp_path) as journal:
            await asyncio.gather(*(Journalled(echo(), journal).complete(one) for one in asked))

    asyncio.run(run())
    asyncio.run(run())
    with Journal(tmp_path) as journal:
        first, _ = sorted(journal.records(), key=lambda record: record["key"] != asked[0].key)
        assert journal.text(first["system"]) == "be brief"
        assert json.loads(journal.text(first["schema"]) or "") == schema
        assert journal.text(first["key"]) is None
    assert first["key"] == asked[0].key
    assert first["messages"] == [["user", hashlib.sha256("word ü".encode()).hexdigest()]]
    for name, value in {
        "model": "m",
        "prompt_version": "sparse@3",
        "sample": 2,
        "temperature": 0.5,
        "max_tokens": 2048,
        "tags": {"run": "r1", "feature": "7", "purpose": "simulate"},
        "reply": {
            "text": "re: word ü",
            "finish": "stop",
            "served_by": "m-0001",
            "input_tokens": 3,
            "output_tokens": 1,
            "cached_tokens": None,
            "latency_s": 0.5,
            "attempts": 1,
            "cache_write_tokens": None,
            "usd": None,
            "prices": None,
            "batch": None,
        },
    }.items():
        assert first[name] == value
    assert first["at"].endswith("+00:00")
    raw = (tmp_path / "000001.jsonl").read_text()
    assert raw.count('"body":"be brief"') == 1
    assert raw.count('"body":') == 2
    assert "words" not in first


def test_messages_in_full(tmp_path: Path) -> None:
    """On request the messages are stored as they were sent."""
    asked = request(
        "first", messages=(Message("user", "first"), Message("assistant", "x"), Message("user", "second"))
    )

    async def run() -> None:
        with Journal(tmp_path, keep_messages=True) as journal:
            await journal.put(asked, reply())

    asyncio.run(run())
    (record,) = records(tmp_path)
    assert record["words"] == ["first", "x", "second"]


def test_records_go_on_where_they_stopped(tmp_path: Path) -> None:
    """Reading on from any record's "next", while the journal is open and grows, gives each record once."""

    async def put(journal: Journal, start: int) -> None:
        for n in range(start, start + 10):
            await journal.put(request(str(n)), reply(str(n)))

    def texts(start: str) -> list[str]:
        return [record["reply"]["text"] for record in records(tmp_path, start)]

    with Journal(tmp_path, segment_bytes=2_000) as journal:
        asyncio.run(put(journal, 0))
        seen = list(journal.records())
        asyncio.run(put(journal, 10))
    assert len(list(tmp_path.glob("*.jsonl*"))) > 2
    assert texts("") == [str(n) for n in range(20)]
    for n, record in enumerate(seen):
        assert texts(record["next"]) == [str(m) for m in range(n + 1, 20)]
    (tmp_path / "000099.jsonl").mkdir()
    with pytest.raises(WorkspaceError, match="can't read"):
        texts("")


def test_damaged_while_open(tmp_path: Path) -> None:
    """A reply damaged on disk after it was indexed is never served; it is paid for again, once."""
    fake = echo()

    async def run() -> None:
        with Journal(tmp_path) as journal:
            llm = Journalled(fake, journal)
            await llm.complete(request())
            path = tmp_path / "000001.jsonl"
            path.write_bytes(path.read_bytes().replace(b"re: hello", b"re: h3llo"))
            for _ in range(2):
                assert (await llm.complete(request())).text == "re: hello"
            assert len(fake.asked) == 2

    asyncio.run(run())
    with Journal(tmp_path) as journal:
        assert journal.damaged == 1
        assert journal.get(request().key) is not None


def test_the_first_of_two_records_counts(tmp_path: Path) -> None:
    """Should a key be there twice, the reply that was seen first is the one that is served."""

    async def run() -> None:
        with Journal(tmp_path) as journal:
            await journal.put(request(), reply("first"))
            await journal.put(request(), reply("second"))
            assert journal.get(request().key) == reply("first", journalled=True)

    asyncio.run(run())
    with Journal(tmp_path) as journal:
        assert journal.get(request().key) == reply("first", journalled=True)
        assert len(journal) == 1


def test_the_index_is_small(tmp_path: Path) -> None:
    """What is held in memory does not grow with the replies' length."""

    async def fill(length: int) -> int:
        with Journal(tmp_path / str(length)) as journal:
            await asyncio.gather(*(journal.put(request(str(n)), reply("x" * length)) for n in range(200)))
            index = journal._index
            return sys.getsizeof(index) + sum(sys.getsizeof(k) + sys.getsizeof(v) for k, v in index.items())

    short, long = asyncio.run(fill(10)), asyncio.run(fill(10_000))
    assert long <= short * 1.05
    assert long / 200 < 250


def test_whole_keys_count(tmp_path: Path) -> None:
    """A key that only begins like one that is there has no reply."""
    with Journal(tmp_path) as journal:
        asyncio.run(journal.put(request(), reply()))
        key = request().key
        assert journal.get(key) is not None
        assert journal.get(key[:-1] + ("0" if key[-1] != "0" else "1")) is None


def test_close(tmp_path: Path) -> None:
    """Closing a model leaves the journal to the others; closing the journal twice does nothing."""

    async def run() -> None:
        journal = Journal(tmp_path)
        fake = echo()
        llm = Journalled(fake, journal)
        await llm.close()
        assert fake.closed == 1
        assert (await Journalled(fake, journal).complete(request())).text == "re: hello"
        journal.close()
        journal.close()

    asyncio.run(run())


def test_order_and_concurrency_do_not_matter(tmp_path: Path) -> None:
    """The same requests in any order leave journals that answer alike."""
    asked: list[Request] = [request(str(n)) for n in range(40)]

    async def fill(folder: Path, order: list[Request], at_once: int) -> dict[str, str]:
        with Journal(folder) as journal:
            llm, slots = Journalled(echo(), journal), asyncio.Semaphore(at_once)

            async def one(which: Request) -> None:
                async with slots:
                    await llm.complete(which)

            await asyncio.gather(*(one(which) for which in order))
        return {record["key"]: record["reply"]["text"] for record in records(folder)}

    one = asyncio.run(fill(tmp_path / "1", asked, 1))
    assert asyncio.run(fill(tmp_path / "2", asked[::-1], 40)) == one
    assert len(one) == 40
