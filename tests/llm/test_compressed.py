"""Compressed segments: the same lines by the same positions, whatever happens to the files."""

from __future__ import annotations

import errno
import logging
import random
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from exegete.llm import compressed
from exegete.llm.compressed import Compressed, compress
from exegete.llm.lines import Position, intact, numbers, read_lines, seal
from exegete.llm.readers import Readers
from exegete.llm.segments import Segments
from tests.llm.test_segments import Store, all_lines, body


@pytest.fixture
def small_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    """Frames of 300 bytes instead of a MiB."""
    monkeypatch.setattr(compressed, "FRAME_BYTES", 300)


def wait_until(true: Callable[[], bool]) -> None:
    """Wait for a background thread."""
    end = time.monotonic() + 10
    while not true():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.001)


def positions(folder: Path) -> list[tuple[Position, bytes, Position]]:
    """All lines with their positions."""
    return list(read_lines(folder, Position(1, 0)))


def packed_folder(folder: Path, n: int = 40) -> list[tuple[Position, bytes, Position]]:
    """A first segment of n lines, compressed, and a second one; its lines as they were while it was plain."""
    folder.mkdir(exist_ok=True)
    plain = folder / "000001.jsonl"
    plain.write_bytes(b"".join(seal(body(k)) for k in range(n)))
    (folder / "000002.jsonl").write_bytes(seal(body(n)))
    before = positions(folder)
    assert compress(plain, folder / "000001.jsonl.zst")
    plain.unlink()
    return before


@pytest.mark.usefixtures("small_frames")
@given(
    st.lists(st.binary(max_size=700).map(lambda line: line.replace(b"\n", b"")), max_size=12),
    st.binary(max_size=9),
)
@settings(max_examples=60)
def test_any_file(tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], end: bytes) -> None:
    """Any bytes come back as they were, line by line and place by place, and by zstd's own tool."""
    folder = tmp_path_factory.mktemp("any")
    plain, packed = folder / "plain", folder / "packed.zst"
    plain.write_bytes(b"".join(line + b"\n" for line in lines) + end)
    assert compress(plain, packed)
    with packed.open("rb") as file:
        reader = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)
        assert reader.read() == plain.read_bytes()
    opened = Compressed(packed)
    contents = [opened.content(number) for number in range(len(opened.frames))]
    assert b"".join(content or b"" for content in contents) == plain.read_bytes()
    for number, frame in enumerate(opened.frames):
        for place in (frame.first, frame.first + frame.size - 1):
            assert opened.at(place) == number
    assert opened.at(len(plain.read_bytes())) is None
    opened.close()


def test_other_programs_read_it(tmp_path: Path) -> None:
    """`zstd -dc` and DuckDB read a compressed segment of several frames."""
    lines = [seal(b'{"n":%d,"text":"%s"}' % (n, b"x" * 90_000)) for n in range(50)]
    plain, packed = tmp_path / "000001.jsonl", tmp_path / "000001.jsonl.zst"
    plain.write_bytes(b"".join(lines))
    assert compress(plain, packed)
    opened = Compressed(packed)
    assert len(opened.frames) > 3
    opened.close()
    with duckdb.connect() as con:
        found = con.execute("SELECT count(*), sum(n) FROM read_json(?)", [str(packed)]).fetchall()
    assert found == [(50, sum(range(50)))]
    try:
        said = subprocess.run(["zstd", "-dc", packed], capture_output=True, check=True).stdout
    except FileNotFoundError:
        pytest.skip("zstd is not installed here")
    assert said == plain.read_bytes()


@pytest.mark.usefixtures("small_frames")
def test_positions_do_not_change(tmp_path: Path) -> None:
    """Compressed, every line has the position it had, can be read by it, and gone on from."""
    before = packed_folder(tmp_path)
    assert numbers(tmp_path) == [1, 2]
    assert positions(tmp_path) == before
    readers = Readers(tmp_path)
    for here, line, _ in random.Random(1).sample(before, len(before)):
        assert readers.read(here) == line
        assert next(read_lines(tmp_path, here)) == (here, line, _)
    assert readers.read(Position(1, 10**9)) == b""
    readers.close()


@pytest.mark.usefixtures("small_frames")
def test_compressed_when_the_next_begins(tmp_path: Path) -> None:
    """Full segments are compressed while the journal is in use; reading and writing go on as before."""
    with Store(tmp_path, segment_bytes=2_000) as store:
        written = {store.append(body(n))[0]: seal(body(n)) for n in range(30)}
        for where, line in written.items():
            assert store.segments.read(where) == line
        for n in range(30, 200):
            written[store.append(body(n))[0]] = seal(body(n))
        last = max(numbers(tmp_path))
        assert last > 4
        wait_until(lambda: [p.name for p in tmp_path.glob("*.jsonl")] == [f"{last:06d}.jsonl"])
        for where, line in written.items():
            assert store.segments.read(where) == line
    assert all_lines(tmp_path) == list(written.values())
    with Store(tmp_path) as again:
        assert again.visited == list(written.values())
        assert (again.segments.damaged, again.segments.dropped) == (0, 0)
    assert not list(tmp_path.glob("*.part"))


def test_read_while_it_is_compressed(tmp_path: Path) -> None:
    """Somebody who reads all lines again and again meanwhile always finds those that were acknowledged."""
    stop = threading.Event()
    wrong: list[int] = []
    acknowledged = 0

    def look() -> None:
        while not stop.is_set():
            at_least = acknowledged
            found = sum(intact(line) for _, line, _ in read_lines(tmp_path, Position(1, 0)))
            if found < at_least:
                wrong.append(found)

    with Store(tmp_path, segment_bytes=300) as store:
        looking = threading.Thread(target=look)
        looking.start()
        try:
            for n in range(150):
                store.append(body(n))
                acknowledged = n + 1
        finally:
            stop.set()
            looking.join()
    assert wrong == []


@pytest.mark.usefixtures("small_frames")
def test_damage_costs_a_frame(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Whichever byte is flipped, the lines of that frame are lost, counted and said; all others are there.

    In a mark, it costs that frame too; in the last mark, nothing that was written.
    """
    before = packed_folder(tmp_path)
    path = tmp_path / "000001.jsonl.zst"
    whole = path.read_bytes()
    opened = Compressed(path)
    frames = opened.frames
    opened.close()
    assert len(frames) > 4
    for place in range(0, len(whole), 7):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 64]) + whole[place + 1 :])
        hit = next((f for f in frames if place < f.where + f.packed), None)
        caplog.clear()
        with caplog.at_level(logging.WARNING), Store(tmp_path) as store:
            kept = [
                line
                for here, line, _ in before
                if hit is None or here.segment > 1 or not hit.first <= here.offset < hit.first + hit.size
            ]
            assert store.visited == kept, place
            lost = len(before) - len(kept)
            assert 0 < store.segments.damaged <= max(1, lost)
            if hit is not None and place >= hit.where:
                assert store.segments.damaged == lost
            assert "damaged lines" in caplog.text
            for here, line, _ in before:
                assert store.segments.read(here) == (line if line in kept else b"")


@pytest.mark.usefixtures("small_frames")
def test_cut_anywhere(tmp_path: Path) -> None:
    """Cut short, a compressed segment gives the lines of its whole frames, and the cut is noticed."""
    before = packed_folder(tmp_path)
    path = tmp_path / "000001.jsonl.zst"
    whole = path.read_bytes()
    opened = Compressed(path)
    ends = [(f.where + f.packed, f.first + f.size) for f in opened.frames]
    opened.close()
    for cut in range(0, len(whole), 5):
        path.write_bytes(whole[:cut])
        there = max((first for end, first in ends if end <= cut), default=0)
        found = positions(tmp_path)
        assert [line for _, line, _ in found if intact(line)] == [
            line for here, line, _ in before if here.segment > 1 or here.offset < there
        ]
        assert not all(intact(line) for _, line, _ in found)


def test_a_frame_that_asks_for_the_world(tmp_path: Path) -> None:
    """A damaged header that says its content is huge makes no room for it."""
    packed_folder(tmp_path)
    path = tmp_path / "000001.jsonl.zst"
    opened = Compressed(path)
    (frame,) = opened.frames
    opened.close()
    huge = bytes.fromhex("28b52ffd") + bytes([0b11100100]) + (2**62).to_bytes(8, "little")
    data = path.read_bytes()
    path.write_bytes(data[: frame.where] + huge + data[frame.where + len(huge) :])
    assert [line for _, line, _ in positions(tmp_path) if intact(line)] == [seal(body(40))]


def test_left_by_a_killed_process(tmp_path: Path) -> None:
    """A part is removed, both forms are one (the plain one counts), and what was unfinished is done over."""
    (tmp_path / "000001.jsonl").write_bytes(seal(body(1)))
    (tmp_path / "000001.jsonl.zst").write_bytes(b"left in the middle of something")
    (tmp_path / "000001.jsonl.zst.part").write_bytes(b"half")
    (tmp_path / "000002.jsonl").write_bytes(seal(body(2)))
    assert all_lines(tmp_path) == [seal(body(1)), seal(body(2))]
    with Store(tmp_path) as store:
        assert store.visited == [seal(body(1)), seal(body(2))]
        wait_until(lambda: not (tmp_path / "000001.jsonl").exists())
        assert store.segments.read(Position(1, 0)) == seal(body(1))
    assert sorted(path.name for path in tmp_path.glob("0*")) == ["000001.jsonl.zst", "000002.jsonl"]
    assert all_lines(tmp_path) == [seal(body(1)), seal(body(2))]


def test_the_last_segment_is_compressed(tmp_path: Path) -> None:
    """Should only the compressed form of the last segment be there, a new one is begun."""
    packed_folder(tmp_path)
    (tmp_path / "000002.jsonl").unlink()
    with Store(tmp_path) as store:
        assert store.append(body(7)) == [Position(2, 0)]


def test_what_can_not_be_compressed_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A full disk, or a copy that reads back wrong, costs nothing: the plain file stays, and it is said."""
    (tmp_path / "000001.jsonl").write_bytes(seal(body(1)))
    (tmp_path / "000002.jsonl").write_bytes(b"")

    def full(*_: object) -> bool:
        raise OSError(errno.ENOSPC, "No space left on device")

    def opened(said: str) -> None:
        with caplog.at_level(logging.WARNING), Store(tmp_path) as store:
            wait_until(lambda: said in caplog.text)
            store.append(body(2))
            assert store.segments.failure is None

    with monkeypatch.context() as patch:
        patch.setattr("exegete.llm.compressor.compress", full)
        opened("could not be compressed and stays as it is: No space left")
    with monkeypatch.context() as patch:
        patch.setattr(Compressed, "content", lambda *_: b"something else")
        opened("is not what it holds")
    assert not list(tmp_path.glob("*.zst*"))
    assert all_lines(tmp_path) == [seal(body(1)), seal(body(2)), seal(body(2))]


@pytest.mark.usefixtures("small_frames")
def test_closing_does_not_wait_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Closed in the middle of a compression, the segment stays plain and no part is left."""
    (tmp_path / "000001.jsonl").write_bytes(b"".join(seal(body(n)) for n in range(50)))
    (tmp_path / "000002.jsonl").write_bytes(b"")
    begun, go = threading.Event(), threading.Event()
    real = compressed._mark  # reached into: there is no other way to be in the middle of a file

    def slow(*numbers: int) -> bytes:
        begun.set()
        assert go.wait(10)
        return real(*numbers)

    monkeypatch.setattr(compressed, "_mark", slow)
    segments = Segments(tmp_path, lambda position, line: None)
    assert begun.wait(10)
    closing = threading.Thread(target=segments.close)
    closing.start()
    wait_until(segments._compressor._stopping.is_set)
    go.set()
    closing.join(10)
    assert sorted(path.name for path in tmp_path.glob("0*")) == ["000001.jsonl", "000002.jsonl"]
    assert len(all_lines(tmp_path)) == 50
