"""A finished file of lines, compressed so that any of its lines can still be read in about a millisecond.

    mark | frame | mark | frame | … | last mark

Every frame is a zstd frame of its own, of about 1 MiB of whole lines, with zstd's checksum of its content. In
front of it stands a mark, a *skippable frame* (RFC 8878, section 3.1.2), which decoders pass over:

    where the frame's content begins, in bytes of the uncompressed file     8 bytes
    bytes of its content, bytes of the frame, lines in it                   4 bytes each
    CRC-32 of the mark so far                                               4 bytes

The last mark has no frame, and where its content begins is the length of the whole. So the file is what
`zstd -dc` and DuckDB read; an index of it takes one small read a frame; and damage costs the lines of the
frame it is in, since the place of every other one is known, and is looked for when a mark is damaged itself.
"""

from __future__ import annotations

import os
import struct
import zlib
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path

import zstandard

FRAME_BYTES = 2**20
"""Of uncompressed lines; a longer line is a frame of its own."""
LEVEL = 3

_BODY = struct.Struct("<QIII")
_CRC = struct.Struct("<I")
_BEGIN = struct.pack("<II", 0x184D2A5E, _BODY.size + _CRC.size)
_MARK_BYTES = len(_BEGIN) + _BODY.size + _CRC.size


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame, or what is left of one."""

    first: int
    """Where its content begins in the uncompressed file, in bytes."""
    size: int
    """Bytes of its content."""
    packed: int
    """Bytes of the frame; 0 when it can't be found."""
    lines: int
    """Lines in it; 1 when that is not known."""
    where: int
    """Where the frame begins in the compressed file."""


class Compressed:
    """A compressed file, open for reading."""

    def __init__(self, path: Path) -> None:
        """Open it and read its index.

        Raises:
            OSError: it can't be read.
        """
        self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            self.frames = list(self._walk())
        except BaseException:
            os.close(self._file)
            raise

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._file)

    def at(self, offset: int) -> int | None:
        """Which frame holds a place of the uncompressed file, by its number; None for none."""
        number = bisect_right(self.frames, offset, key=attrgetter("first")) - 1
        if number < 0 or offset >= self.frames[number].first + self.frames[number].size:
            return None
        return number

    def content(self, number: int) -> bytes | None:
        """What a frame holds; None when it is damaged."""
        frame = self.frames[number]
        data = os.pread(self._file, frame.packed, frame.where)
        try:
            # Before anything is made room for: a damaged header can ask for any amount of it.
            if zstandard.frame_content_size(data) != frame.size:
                return None
            return zstandard.ZstdDecompressor().decompress(data, allow_extra_data=False)
        except zstandard.ZstdError:
            return None

    def _walk(self) -> Iterator[Frame]:
        """All frames, in order, and a frame that can't be found for every gap between them."""
        where = first = 0
        while True:
            found = self._mark_from(where)
            if found is None:
                yield Frame(first, 1, 0, 1, where)  # the file was cut: what is missing is not known
                return
            begin, size, packed, lines, where = found
            if begin > first:
                yield Frame(first, begin - first, 0, 1, where)
            if not packed:
                return
            yield Frame(begin, size, packed, lines, where)
            where, first = where + packed, begin + size

    def _mark_from(self, where: int) -> tuple[int, int, int, int, int] | None:
        """The next mark from a place on: its four numbers and where it ends; None when there is none."""
        mark = os.pread(self._file, _MARK_BYTES, where)
        if _whole(mark):
            return *_BODY.unpack_from(mark, len(_BEGIN)), where + _MARK_BYTES
        while piece := os.pread(self._file, FRAME_BYTES, where):
            at = piece.find(_BEGIN)
            while at >= 0:
                mark = os.pread(self._file, _MARK_BYTES, where + at)
                if _whole(mark):
                    return *_BODY.unpack_from(mark, len(_BEGIN)), where + at + _MARK_BYTES
                at = piece.find(_BEGIN, at + 1)
            where += max(1, len(piece) - len(_BEGIN) + 1)
        return None


def compress(plain: Path, target: Path, go_on: Callable[[], bool] = lambda: True) -> bool:
    """Write a compressed copy of a file of lines, fsync it, and compare it with what it was made from.

    Args:
        plain: the file.
        target: where the copy goes; overwritten.
        go_on: asked before every frame; False gives up.

    Returns:
        False when it was told to give up: `target` is then not whole.

    Raises:
        OSError: one can't be read or the other written, or they differ (EIO).
    """
    with plain.open("rb") as source, target.open("wb") as copy:
        for frame in _frames(source.fileno()):
            if not go_on():
                return False
            copy.write(frame)
        copy.flush()
        os.fsync(copy.fileno())
    made = Compressed(target)
    try:
        with plain.open("rb") as source:
            for number, written in enumerate(made.frames):
                if not go_on():
                    return False
                if source.read(written.size) != made.content(number):
                    raise OSError(5, f"what was written to {target.name} is not what it holds")
            if source.read(1):
                raise OSError(5, f"{target.name} does not hold all of {plain.name}")
    finally:
        made.close()
    return True


def _frames(file: int) -> Iterator[bytes]:
    """The lines of an open file as marked frames, and the last mark."""
    zstd = zstandard.ZstdCompressor(level=LEVEL, write_checksum=True, write_content_size=True)
    first = 0
    while lines := _whole_lines(file, first):
        frame = zstd.compress(lines)
        yield _mark(first, len(lines), len(frame), max(1, lines.count(b"\n"))) + frame
        first += len(lines)
    yield _mark(first, 0, 0, 0)


def _whole_lines(file: int, first: int) -> bytes:
    """About a MiB of whole lines from a place on; at the end of the file, whatever is left."""
    lines = os.pread(file, FRAME_BYTES, first)
    while lines and (end := lines.rfind(b"\n") + 1) == 0:
        more = os.pread(file, FRAME_BYTES, first + len(lines))
        if not more:
            return lines
        # One line is longer than a frame: it ends in what comes next, or further on.
        lines += more
    return lines[:end] if lines else b""


def _mark(first: int, size: int, packed: int, lines: int) -> bytes:
    """A mark."""
    head = _BEGIN + _BODY.pack(first, size, packed, lines)
    return head + _CRC.pack(zlib.crc32(head))


def _whole(mark: bytes) -> bool:
    """Is this a mark that is as it was written?"""
    return (
        len(mark) == _MARK_BYTES
        and mark.startswith(_BEGIN)
        and _CRC.unpack_from(mark, _MARK_BYTES - _CRC.size)[0] == zlib.crc32(mark[: -_CRC.size])
    )
