"""Sealed lines: JSON objects, one a line, each with a checksum of its own.

The last field of a line, "crc", is the CRC-32 of all before it. Any JSON reader reads such a file; the
checksum tells a line that was written from one that a bad disk made, or a process that was stopped.
"""

from __future__ import annotations

import os
import zlib

_SEAL_BYTES = len(',"crc":"00000000"}')


def seal(body: bytes) -> bytes:
    """A JSON object as a line of a file."""
    head = body[:-1]
    return b'%s,"crc":"%08x"}\n' % (head, zlib.crc32(head))


def intact(line: bytes) -> bool:
    """Is this a whole line whose checksum is right?"""
    head = line[: -_SEAL_BYTES - 1]
    return len(head) > 1 and line == seal(head + b"}")


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
