"""Who writes to a disk: the event loop where it is quick, the writer's thread where it is not."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path

import pytest

from exegete.errors import WorkspaceError
from exegete.llm import Journal
from exegete.llm.journalled import Journalled
from exegete.llm.lines import Position, intact, read_lines
from exegete.llm.quickness import QUICK_S, Quickness
from exegete.llm.segments import Segments
from tests.llm.fakes import echo, request


class Disk:
    """An fsync that takes as long as it is told, by a clock of its own, and remembers who called it."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.takes_s = QUICK_S / 10
        self.by: list[int] = []
        self._now = 0.0
        patch.setattr("exegete.llm.segments.time.perf_counter", lambda: self._now)
        patch.setattr(os, "fsync", self._fsync)

    def _fsync(self, file: int) -> None:
        self._now += self.takes_s
        self.by.append(threading.get_ident())


def test_what_is_quick() -> None:
    """A disk is quick when it was in one of the latest writes, and no longer after a slow one in the loop."""
    disk = Quickness()
    for _ in range(7):
        disk.saw(QUICK_S / 2, in_thread=True)
        assert not disk.shown
    disk.saw(QUICK_S / 2, in_thread=True)
    for _ in range(7):  # the thread had to wait for Python
        disk.saw(QUICK_S * 100, in_thread=True)
        assert disk.shown
    disk.saw(QUICK_S * 100, in_thread=True)
    assert not disk.shown
    disk.saw(QUICK_S / 2, in_thread=False)
    assert disk.shown
    disk.saw(QUICK_S, in_thread=False)
    assert not disk.shown


def test_the_loop_writes_to_a_quick_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A quick disk is written to by the loop, one that turns slow by the thread; every reply is on disk when
    it is seen, and those that come together share an fsync."""

    async def run() -> None:
        with Journal(tmp_path) as journal:
            disk, llm, here = Disk(monkeypatch), Journalled(echo(), journal), threading.get_ident()

            async def ask(*texts: str) -> list[bool]:
                disk.by.clear()
                await asyncio.gather(*(llm.complete(request(text)) for text in texts))
                lines = [line for _, line, _ in read_lines(tmp_path, Position(1, 0))]
                assert sum(line.startswith(b'{"key"') for line in lines) == len(journal)
                return [by == here for by in disk.by]

            for n in range(8):
                assert await ask(f"first {n}") == [False]
            assert await ask("second") == [True]
            assert await ask(*(f"together {n}" for n in range(20))) == [True]
            disk.takes_s = QUICK_S * 10
            assert await ask("slow") == [True]
            assert await ask("slower") == [False]
            assert len(journal) == 31

    asyncio.run(run())


def test_while_the_thread_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever finds a quick disk being written to does not wait for it: the thread writes that too."""
    segments = Segments(tmp_path, lambda position, line: None)
    disk = Disk(monkeypatch)
    quick, busy, go = os.fsync, threading.Event(), threading.Event()
    for _ in range(8):
        segments.append([b'{"n":0}']).result(10)

    def fsync(file: int) -> None:
        busy.set()
        assert go.wait(10)
        quick(file)

    monkeypatch.setattr(os, "fsync", fsync)
    first = segments.append([b'{"n":1}'])
    assert busy.wait(10)
    told: list[object] = []
    segments.write([b'{"n":2}'], told.append)
    segments.flush()
    assert not told
    assert not first.done()
    go.set()
    segments.close()
    assert first.done()
    assert [len(one) for one in told if isinstance(one, list)] == [1]
    assert threading.get_ident() not in disk.by


def test_nobody_came_to_write(tmp_path: Path) -> None:
    """What was not flushed is written on closing; after that nothing is written."""
    segments = Segments(tmp_path, lambda position, line: None)
    told: list[object] = []
    segments.write([b'{"n":1}', b'{"n":2}'], told.append)
    segments.close()
    lines = [line for _, line, _ in read_lines(tmp_path, Position(1, 0))]
    assert len(lines) == 2
    assert all(map(intact, lines))
    assert [len(one) for one in told if isinstance(one, list)] == [2]
    segments.flush()
    segments.write([b'{"n":3}'], told.append)
    assert isinstance(told[-1], WorkspaceError)
    segments.close()
    assert len(list(read_lines(tmp_path, Position(1, 0)))) == 2
