"""Sealed lines in numbered files: how the journal lies on disk, and reading it.

    FOLDER/000001.jsonl      one JSON object a line; the last field "crc" is the CRC-32 of all before it
    FOLDER/000002.jsonl      begun when the one before has grown past a limit

Any JSON reader reads them; the checksum tells a line that was written from one that a bad disk made.
"""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from exegete.errors import UsageError

_SEAL_BYTES = len(',"crc":"00000000"}')
_POSITION = re.compile(r"(\d+):(\d+)")


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


def seal(body: bytes) -> bytes:
    """A JSON object as a line of a segment."""
    head = body[:-1]
    return b'%s,"crc":"%08x"}\n' % (head, zlib.crc32(head))


def intact(line: bytes) -> bool:
    """Is this a whole line whose checksum is right?"""
    head = line[: -_SEAL_BYTES - 1]
    return len(head) > 1 and line == seal(head + b"}")


def read_lines(folder: Path, start: Position) -> Iterator[tuple[Position, bytes, Position]]:
    """All lines from a position on, damaged ones too: (where it begins, the line, where the next one begins).

    A line without its end is left out at the end of the last file (it is being written, or was torn); in any
    other file it is a damaged line like any other.
    """
    files = numbers(folder)
    for number in files:
        if number < start.segment:
            continue
        offset = start.offset if number == start.segment else 0
        with path_of(folder, number).open("rb") as file:
            file.seek(offset)
            for line in file:
                if number == files[-1] and not line.endswith(b"\n"):
                    break
                here, offset = Position(number, offset), offset + len(line)
                yield here, line, Position(number, offset)


def path_of(folder: Path, number: int) -> Path:
    """A segment's file."""
    return folder / f"{number:06d}.jsonl"


def numbers(folder: Path) -> list[int]:
    """Numbers of the segments there are, in order."""
    return sorted(int(path.stem) for path in folder.glob("[0-9]*.jsonl") if path.stem.isdecimal())


def last_line_start(file: int) -> int:
    """Offset just behind a file's last line end: its size, unless the last line is torn."""
    at = os.fstat(file).st_size
    while at > 0:
        start = max(0, at - 2**16)
        found = os.pread(file, at - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        at = start
    return 0
