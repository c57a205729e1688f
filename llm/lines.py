"""Sealed lines in numbered files: how the journal lies on disk, and reading it.

    FOLDER/000001.jsonl.zst  a segment that is full, compressed (compressed.py) once the next one has begun
    FOLDER/000002.jsonl      one sealed JSON object a line (datastore/sealed.py)

Positions are those of the uncompressed file in either form. While a segment is there in both, the plain one
counts.
"""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path

from exegete.datastore.sealed import intact, last_line_start, seal
from exegete.errors import UsageError
from exegete.llm.compressed import Compressed

__all__ = [
    "Position",
    "compressed_path_of",
    "intact",
    "last_line_start",
    "numbers",
    "path_of",
    "read_lines",
    "seal",
]

_POSITION = re.compile(r"(\d+):(\d+)")
_SEGMENT = re.compile(r"(\d{6,})\.jsonl(?:\.zst)?")


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """Where a line begins. `str()` of it is for storing, `Position.parse` reads it back."""

    segment: int
    offset: int
    """In bytes."""

    def __str__(self) -> str:
        return f"{self.segment:06d}:{self.offset}"

    @classmethod
    def parse(cls, text: str) -> Position:
        """Read a stored position; empty text is the beginning.

        Raises:
            UsageError: it is no position.
        """
        found = _POSITION.fullmatch(text or "1:0")
        if found is None:
            raise UsageError(f"{text!r} is no position in a journal")
        return cls(int(found[1]), int(found[2]))


def read_lines(folder: Path, start: Position) -> Iterator[tuple[Position, bytes, Position]]:
    """All lines from a position on, damaged ones too: (where it begins, the line, where the next one begins).

    A line without its end is left out at the end of the last file (it is being written, or was torn); in any
    other file it is a damaged line like any other. Lines of a damaged frame of a compressed file come as
    empty ones, each of them where the frame begins.
    """
    last = max(numbers(folder), default=0)
    # Not just the numbers a listing has: it can miss a file that is replaced by its other form meanwhile.
    for number in range(max(1, start.segment), last + 1):
        offset = start.offset if number == start.segment else 0
        for here, line, after in _lines(folder, number, offset):
            if number == last and line and not line.endswith(b"\n"):
                break
            yield Position(number, here), line, Position(number, after)


def _lines(folder: Path, number: int, offset: int) -> Iterator[tuple[int, bytes, int]]:
    """Lines of one segment in whichever form it is there, with the offsets they have uncompressed."""
    try:
        plain = path_of(folder, number).open("rb")
    except FileNotFoundError:
        yield from _compressed_lines(compressed_path_of(folder, number), offset)
        return
    with plain:
        plain.seek(offset)
        for line in plain:
            here, offset = offset, offset + len(line)
            yield here, line, offset


def _compressed_lines(path: Path, offset: int) -> Iterator[tuple[int, bytes, int]]:
    """Lines of a compressed segment; none if it is not there in this form either."""
    try:
        file = Compressed(path)
    except FileNotFoundError:
        return
    with contextlib.closing(file):
        for number, frame in enumerate(file.frames):
            end = frame.first + frame.size
            if end <= offset:
                continue
            content = file.content(number)
            if content is None:
                yield from repeat((frame.first, b"", end), frame.lines)
                continue
            here = max(offset, frame.first)
            lines = io.BytesIO(content)
            lines.seek(here - frame.first)
            for line in lines:
                yield here, line, here + len(line)
                here += len(line)


def path_of(folder: Path, number: int) -> Path:
    """A segment's file, plain."""
    return folder / f"{number:06d}.jsonl"


def compressed_path_of(folder: Path, number: int) -> Path:
    """A segment's file, compressed."""
    return folder / f"{number:06d}.jsonl.zst"


def numbers(folder: Path) -> list[int]:
    """Numbers of the segments there are, in order, whichever form they have."""
    found = (_SEGMENT.fullmatch(path.name) for path in folder.iterdir()) if folder.is_dir() else ()
    return sorted({int(name[1]) for name in found if name})
