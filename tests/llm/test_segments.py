"""Sealed lines on disk."""

from __future__ import annotations

import errno
import json
import logging
import os
import resource
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exegete.errors import UsageError, WorkspaceBusy, WorkspaceError
from exegete.llm.lines import Position, intact, read_lines, seal
from exegete.llm.segments import Segments


class Store:
    """Segments that remember what they visited."""

    def __init__(self, folder: Path, **options: int) -> None:
        self.visited: list[bytes] = []
        self.segments = Segments(folder, lambda _, line: self.visited.append(line), **options)

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.segments.close()

    def append(self, *bodies: bytes) -> list[Position]:
        return self.segments.append(bodies).result(10)


def body(number: int) -> bytes:
    return json.dumps({"n": number, "text": "ü\n" * (number % 5)}).encode()


def all_lines(folder: Path) -> list[bytes]:
    return [line for _, line, _ in read_lines(folder, Position(1, 0))]


@given(st.dictionaries(st.text(), st.integers() | st.text(), min_size=1))
def test_seal(record: dict[str, object]) -> None:
    """A sealed line is still the same JSON, and changing or losing any byte of it shows."""
    line = seal(json.dumps(record).encode())
    assert intact(line)
    read = json.loads(line)
    assert {name: value for name, value in read.items() if name != "crc"} == {
        name: value for name, value in record.items() if name != "crc"
    }
    for at in range(len(line)):
        assert not intact(line[:at])
        assert not intact(line[:at] + bytes([line[at] ^ 1]) + line[at + 1 :])


def test_lines_come_back(tmp_path: Path) -> None:
    """What was appended is read back by position, and visited in order on opening."""
    with Store(tmp_path) as store:
        positions = [store.append(body(n), body(n + 100)) for n in range(20)]
        for n, (one, two) in enumerate(positions):
            assert store.segments.read(one) == seal(body(n))
            assert store.segments.read(two) == seal(body(n + 100))
    with Store(tmp_path) as again:
        assert again.visited == [seal(body(n + extra)) for n in range(20) for extra in (0, 100)]
        assert (again.segments.dropped, again.segments.damaged) == (0, 0)


def test_long_lines(tmp_path: Path) -> None:
    """Lines longer than any buffer are read whole."""
    long = json.dumps({"text": "x" * 300_000}).encode()
    with Store(tmp_path) as store:
        (position,) = store.append(long)
        assert store.segments.read(position) == seal(long)


def test_new_segments(tmp_path: Path) -> None:
    """Past its limit a segment is followed by the next; order and positions hold throughout."""
    written = []
    for start in (0, 30):
        with Store(tmp_path, segment_bytes=500) as store:
            for n in range(start, start + 30):
                written += store.append(body(n))
    assert {position.segment for position in written} == set(range(1, written[-1].segment + 1))
    assert written == sorted(written)
    assert [here for here, _, _ in read_lines(tmp_path, Position(1, 0))] == written
    assert all_lines(tmp_path) == [seal(body(n)) for n in range(60)]
    for n in (0, 17, 59):
        assert [line for _, line, _ in read_lines(tmp_path, written[n])] == [
            seal(body(m)) for m in range(n, 60)
        ]


def test_one_fsync_for_all_that_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines that come while the disk is busy share the next fsync; none is acknowledged before it."""
    busy, go, synced = threading.Event(), threading.Event(), []
    real = os.fsync

    def fsync(file: int) -> None:
        busy.set()
        assert go.wait(10)
        real(file)
        synced.append(os.fstat(file).st_size)

    with Store(tmp_path) as store:
        monkeypatch.setattr(os, "fsync", fsync)
        futures = [store.segments.append([body(0)])]
        assert busy.wait(10)
        futures += [store.segments.append([body(n)]) for n in range(1, 100)]
        assert not any(future.done() for future in futures)
        go.set()
        ends = [future.result(10)[0].offset for future in futures]
    assert len(synced) == 2
    assert ends[0] < synced[0] <= ends[1]
    assert ends[-1] < synced[1]


def test_torn_at_every_byte(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Wherever the last line was torn, all others are there, the tear is said, and writing goes on."""
    whole = seal(body(1)) + seal(body(2))
    last = seal(body(3))
    for at in range(len(last) + 1):
        folder = tmp_path / str(at)
        folder.mkdir()
        (folder / "000001.jsonl").write_bytes(whole + last[:at])
        caplog.clear()
        with caplog.at_level(logging.WARNING), Store(folder) as store:
            kept = [seal(body(1)), seal(body(2))] + ([last] if at >= len(last) - 1 else [])
            assert store.visited == kept
            torn = 0 < at < len(last) - 1
            assert store.segments.dropped == torn
            assert bool(caplog.records) == torn
            assert store.segments.damaged == 0
            store.append(body(4))
        assert all_lines(folder) == [*kept, seal(body(4))]


def test_torn_first_line(tmp_path: Path) -> None:
    """A torn line longer than any buffer, with nothing before it, is found and cut too."""
    (tmp_path / "000001.jsonl").write_bytes(b'{"n": ' + b"1" * 200_000)
    with Store(tmp_path) as store:
        assert store.segments.dropped == 1
        store.append(body(1))
    assert all_lines(tmp_path) == [seal(body(1))]


@pytest.mark.parametrize("damage", [b"", b"\x00" * 40, b'{"n": 2}', b'{"n":2,"crc":"00000000"}', b"\xff\xfe"])
def test_damaged_in_the_middle(tmp_path: Path, damage: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """A damaged line is skipped, counted and said, left as it is, and costs no other line."""
    (tmp_path / "000001.jsonl").write_bytes(seal(body(1)) + damage + b"\n" + seal(body(3)))
    with caplog.at_level(logging.WARNING), Store(tmp_path) as store:
        assert store.visited == [seal(body(1)), seal(body(3))]
        assert (store.segments.damaged, store.segments.dropped) == (1, 0)
        assert "1 damaged lines" in caplog.text
        store.append(body(4))
    assert all_lines(tmp_path) == [seal(body(1)), damage + b"\n", seal(body(3)), seal(body(4))]


def test_torn_in_an_earlier_segment(tmp_path: Path) -> None:
    """A torn line at the end of any file but the last is a damaged line."""
    (tmp_path / "000001.jsonl").write_bytes(seal(body(1)) + seal(body(2))[:10])
    (tmp_path / "000002.jsonl").write_bytes(seal(body(3)))
    with Store(tmp_path) as store:
        assert store.visited == [seal(body(1)), seal(body(3))]
        assert (store.segments.damaged, store.segments.dropped) == (1, 0)


def test_failed_write_leaves_nothing_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that fails halfway is cut off again, and the next one is where it should be."""
    real = os.write

    def half(file: int, data: bytes) -> int:
        monkeypatch.setattr(os, "write", full)
        return real(file, bytes(data)[: len(data) // 2])

    def full(file: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with Store(tmp_path) as store:
        store.append(body(1))
        size = (tmp_path / "000001.jsonl").stat().st_size
        monkeypatch.setattr(os, "write", half)
        with pytest.raises(WorkspaceError, match=r"no room left.*run the same command again"):
            store.append(body(2))
        assert store.segments.failure is not None
        assert (tmp_path / "000001.jsonl").stat().st_size == size
        monkeypatch.setattr(os, "write", real)
        store.append(body(3))
        assert store.segments.failure is None
    assert all_lines(tmp_path) == [seal(body(1)), seal(body(3))]


def test_failed_clean_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the half line can't be cut off at once, it is before the next write."""
    real_write, real_cut = os.write, os.ftruncate

    def half(file: int, data: bytes) -> int:
        real_write(file, bytes(data)[:10])
        raise OSError(errno.EIO, "Input/output error")

    def fail(file: int, size: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with Store(tmp_path) as store:
        monkeypatch.setattr(os, "write", half)
        monkeypatch.setattr(os, "ftruncate", fail)
        with pytest.raises(WorkspaceError, match="Input/output error"):
            store.append(body(1))
        monkeypatch.setattr(os, "write", real_write)
        monkeypatch.setattr(os, "ftruncate", real_cut)
        store.append(body(2))
    assert all_lines(tmp_path) == [seal(body(2))]


@contextmanager
def files_no_longer_than(size: int) -> Iterator[None]:
    """The kernel's own limit on files, which fails writes as a full disk does: short first, then none."""
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)


def test_no_room_for_real(tmp_path: Path) -> None:
    """With a limit the kernel enforces: all acknowledged lines survive, and it goes on when there is room."""
    acknowledged: list[bytes] = []
    with Store(tmp_path) as store:
        with files_no_longer_than(1_000):
            for n in range(100):
                try:
                    store.append(body(n))
                except WorkspaceError:
                    break
                acknowledged.append(seal(body(n)))
        assert 5 < len(acknowledged) < 100
        assert all_lines(tmp_path) == acknowledged
        store.append(body(1_000))
    assert all_lines(tmp_path) == [*acknowledged, seal(body(1_000))]


def test_no_file_handles(tmp_path: Path) -> None:
    """Without file handles opening is a sentence, and works once there are some again."""
    with Store(tmp_path) as store:
        store.append(body(1))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        with pytest.raises(WorkspaceError, match="Too many open files"):
            Store(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    with Store(tmp_path) as again:
        assert again.visited == [seal(body(1))]


def test_unexpected_errors_leave_nobody_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever goes wrong while writing reaches those who wait."""
    with Store(tmp_path) as store:
        monkeypatch.setattr(os, "write", lambda *_: 1 / 0)
        with pytest.raises(WorkspaceError, match="ZeroDivisionError"):
            store.append(body(1))


def test_busy(tmp_path: Path) -> None:
    """A second process is told which one holds the folder; when that one is killed the folder is free."""
    script = (
        "import sys, time; from pathlib import Path; from exegete.llm.segments import Segments;"
        "Segments(Path(sys.argv[1]), print); print('open', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"open\n"
        with pytest.raises(WorkspaceBusy, match=f"in use by process {other.pid}"):
            Store(tmp_path)
        other.kill()
        other.wait()
    with Store(tmp_path), pytest.raises(WorkspaceBusy, match="already open in this process"):
        Store(tmp_path)


def test_unusable_folders(tmp_path: Path) -> None:
    """A path that can't be a folder is a sentence, and leaves no lock behind."""
    (tmp_path / "file").write_text("")
    with pytest.raises(WorkspaceError, match="can't use the journal"):
        Store(tmp_path / "file" / "journal")
    (tmp_path / "journal" / "000001.jsonl").mkdir(parents=True)
    for _ in range(2):
        with pytest.raises(WorkspaceError, match="Is a directory"):
            Store(tmp_path / "journal")


@pytest.mark.parametrize("text", ["1", "x:1", "1:-1", "1:2:3", ":"])
def test_no_position(text: str) -> None:
    """What is no position is refused."""
    with pytest.raises(UsageError, match="no position"):
        Position.parse(text)


@given(st.integers(1, 10**7), st.integers(0, 10**12))
def test_positions(segment: int, offset: int) -> None:
    """A position reads back as itself."""
    assert Position.parse(str(Position(segment, offset))) == Position(segment, offset)
