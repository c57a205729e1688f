"""Reading single lines by position, from any thread, whichever form their segment has."""

from __future__ import annotations

import os
import threading
from functools import lru_cache
from pathlib import Path

from exegete.llm.compressed import Compressed
from exegete.llm.lines import Position, compressed_path_of, path_of

FRAMES_KEPT = 16
"""Decompressed frames in memory, of all segments together: 16 MiB. Who resumes a job reads what lies close
together, so that most reads find their frame here."""
_CHUNK = 8192


class Readers:
    """Files of one folder's segments, each opened when it is first read from."""

    def __init__(self, folder: Path) -> None:
        """Nothing is opened yet."""
        self._folder = folder
        self._mutex = threading.Lock()
        self._plain: dict[int, int] = {}
        self._compressed: dict[int, Compressed] = {}
        self._content = lru_cache(maxsize=FRAMES_KEPT)(self._decompressed)

    def read(self, position: Position) -> bytes:
        """The line at a position; empty when it is in a frame that is damaged, or beyond the end.

        Raises:
            OSError: it can't be read.
        """
        with self._mutex:
            number = position.segment
            if number not in self._plain and number not in self._compressed:
                self._open(number)
            if number in self._plain:
                return _line(self._plain[number], position.offset)
            frame = self._compressed[number].at(position.offset)
            content = None if frame is None else self._content(number, frame)
            if frame is None or content is None:
                return b""
            start = position.offset - self._compressed[number].frames[frame].first
            return content[start : content.find(b"\n", start) + 1]

    def changed(self, number: int) -> None:
        """A segment has another form now: the file that was read is let go of."""
        with self._mutex:
            if number in self._plain:
                os.close(self._plain.pop(number))

    def close(self) -> None:
        """Let go of all files."""
        with self._mutex:
            for file in self._plain.values():
                os.close(file)
            for compressed in self._compressed.values():
                compressed.close()
            self._plain.clear()
            self._compressed.clear()
            self._content.cache_clear()

    def _open(self, number: int) -> None:
        """Open a segment in the form that counts."""
        try:
            self._plain[number] = os.open(path_of(self._folder, number), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            self._compressed[number] = Compressed(compressed_path_of(self._folder, number))

    def _decompressed(self, number: int, frame: int) -> bytes | None:
        """What a frame holds."""
        return self._compressed[number].content(frame)


def _line(file: int, at: int) -> bytes:
    """The line at a place of a plain file."""
    line = b""
    while b"\n" not in line:
        chunk = os.pread(file, _CHUNK, at + len(line))
        if not chunk:
            break
        line += chunk
    return line[: line.find(b"\n") + 1]
