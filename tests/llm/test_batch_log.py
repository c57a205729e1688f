"""The log of batches: what it tells while it is open, from outside, and after a crash at any byte."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exegete.errors import UsageError, WorkspaceBusy
from exegete.llm import BatchLog, BatchRow, wave_states
from exegete.llm.batch import BatchState
from exegete.llm.batch_log import Item
from exegete.llm.record import asked_of
from tests.llm.fakes import request


def row(uuid: str, model: str = "m", requests: int = 2) -> BatchRow:
    """A batch that is about to be ordered."""
    return BatchRow(uuid, model, "/v1/x", requests, datetime(2026, 11, 21, tzinfo=UTC), after=12.5)


def items(*texts: str) -> list[Item]:
    """Requests of it."""
    asked = [request(text) for text in texts]
    return [Item(one.key, 1, 100, asked_of(one, False)) for one in asked]


def key(text: str) -> str:
    return request(text).key


async def whole_life(log: BatchLog, uuid: str, texts: Sequence[str], steps: int) -> None:
    """Let so much happen to a batch."""
    counts = {"completed": len(texts)}
    happenings: list[Callable[[], Any]] = [
        lambda: log.intend(row(uuid, requests=len(texts)), items(*texts), {"d": "system"}, "digest"),
        lambda: log.submitted(uuid, f"batch_{uuid}", "file_1"),
        lambda: log.seen(uuid, BatchState("x", "in_progress", False)),
        lambda: log.seen(uuid, BatchState("x", "completed", True, counts)),
        lambda: log.ingested(uuid, len(texts), 0),
    ]
    for happens in happenings[:steps]:
        await happens()


@pytest.mark.parametrize("steps", range(6))
def test_life(tmp_path: Path, steps: int) -> None:
    """After each step the live log, a reader without a lock, and the log opened again tell the same."""
    uuid = "a" * 32
    with BatchLog(tmp_path) as log:
        asyncio.run(whole_life(log, uuid, ["one", "two"], steps))
        outside = wave_states(tmp_path)
        told = [log.open_batches("m"), log.ids(), log.keys(uuid)]
    assert wave_states(tmp_path) == outside
    with BatchLog(tmp_path) as log:
        assert told == [log.open_batches("m"), log.ids(), log.keys(uuid)]
        live = 1 <= steps < 5
        assert log.open_batches("m") == (outside if live else [])
        assert log.open_batches("other") == []
        assert log.keys(uuid) == ([key("one"), key("two")] if live else [])
        if live:
            assert log.item(uuid, key("two")) == items("two")[0]
            assert log.texts(uuid) == {"d": "system"}
    states = ["not submitted", "submitted", "in_progress", "completed", "completed"]
    assert [one.state for one in outside] == states[steps - 1 : steps]
    for one in outside:
        assert (one.id is not None, one.submitted_at is not None) == (steps > 1, steps > 1)
        assert (one.ended_at is not None, one.open, one.after) == (steps > 3, live, 12.5)


def test_news_only(tmp_path: Path) -> None:
    """What was seen before is not written again."""
    uuid = "a" * 32

    async def main() -> None:
        with BatchLog(tmp_path) as log:
            await whole_life(log, uuid, ["one"], 2)
            for _ in range(5):
                await log.seen(uuid, BatchState("x", "in_progress", False, {"done": 1}))
            for _ in range(5):
                await log.seen(uuid, BatchState("x", "completed", True, {"done": 1}))

    asyncio.run(main())
    kinds = [next(iter(json.loads(line))) for line in (tmp_path / "000001.jsonl").read_text().splitlines()]
    assert kinds == ["item", "intent", "submitted", "seen", "ended"]


def test_requeued(tmp_path: Path) -> None:
    """A request that goes into another batch is that one's, and stays so when the first is replayed."""

    async def main() -> None:
        with BatchLog(tmp_path) as log:
            await whole_life(log, "a" * 32, ["one", "two"], 5)
            await whole_life(log, "b" * 32, ["two"], 2)
            assert (log.keys("a" * 32), log.keys("b" * 32)) == ([], [key("two")])

    asyncio.run(main())
    with BatchLog(tmp_path) as log:
        assert (log.keys("a" * 32), log.keys("b" * 32)) == ([], [key("two")])


def test_dropped(tmp_path: Path) -> None:
    """A batch that the provider does not have holds nothing back."""

    async def main() -> None:
        with BatchLog(tmp_path) as log:
            await whole_life(log, "a" * 32, ["one"], 1)
            await log.dropped("a" * 32, "gone")
            assert (log.open_batches("m"), log.keys("a" * 32)) == ([], [])

    asyncio.run(main())
    (one,) = wave_states(tmp_path)
    assert (one.state, one.open) == ("dropped", False)


@settings(max_examples=60)
@given(st.floats(0, 1), st.integers(0, 2**32))
def test_cut_anywhere(tmp_path_factory: pytest.TempPathFactory, share: float, seed: int) -> None:
    """A log cut off at any byte opens, and tells of each batch all or nothing that led up to there."""
    folder = tmp_path_factory.mktemp("log")
    texts = [f"question {n}" for n in range(random.Random(seed).randint(1, 5))]

    async def main() -> None:
        with BatchLog(folder) as log:
            for uuid in ("a" * 32, "b" * 32):
                await whole_life(log, uuid, [uuid[0] + text for text in texts], 4)

    asyncio.run(main())
    path = folder / "000001.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole[: round(share * len(whole))])
    intact = whole[: round(share * len(whole))].decode().splitlines()
    with BatchLog(folder) as log:
        for one in log.open_batches("m"):
            assert len(log.keys(one.uuid)) == one.requests == len(texts)
            assert all(log.item(one.uuid, name) is not None for name in log.keys(one.uuid))
        begun = sum('{"intent"' in line for line in intact[:-1]) if intact else 0
        assert begun <= len(log.open_batches("m")) <= begun + 1
        asyncio.run(whole_life(log, "c" * 32, ["again"], 5))
    assert wave_states(folder)[-1].state == "completed"


def test_damaged_item(tmp_path: Path) -> None:
    """A request whose line is damaged is in no batch; the rest of its batch is as it was."""
    with BatchLog(tmp_path) as log:
        asyncio.run(whole_life(log, "a" * 32, ["one", "two"], 2))
    path = tmp_path / "000001.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"attempt":1', b'"attempt":2', 1))
    with BatchLog(tmp_path) as log:
        assert log.keys("a" * 32) == [key("two")]


def test_one_at_a_time(tmp_path: Path) -> None:
    """A log is open once, and a model in it once."""
    with BatchLog(tmp_path) as log:
        with pytest.raises(WorkspaceBusy, match="already open"):
            BatchLog(tmp_path)
        log.claim("m")
        log.claim("n")
        with pytest.raises(UsageError, match="share that one"):
            log.claim("m")
        log.release("m")
        log.claim("m")


def test_no_log(tmp_path: Path) -> None:
    """A folder that is not there has no batches, and is not made by looking."""
    assert wave_states(tmp_path / "none") == []
    assert not (tmp_path / "none").exists()
