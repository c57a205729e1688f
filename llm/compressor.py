"""Compressing segments that are full, in the background.

    1. NNNNNN.jsonl.zst.part is written, fsynced, read back and compared
    2. it is renamed to NNNNNN.jsonl.zst, and the folder fsynced
    3. NNNNNN.jsonl is removed

Whatever moment a process is stopped at, the segment is there: plain, or in both forms, or compressed. What
was begun and not finished is done over when the folder is next opened.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from exegete.llm.compressed import compress
from exegete.llm.lines import compressed_path_of, path_of

log = logging.getLogger(__name__)

_PART = ".part"


class Compressor:
    """Compresses segments of a folder that this process has locked, one after the other, in a thread."""

    def __init__(self, folder: Path, done: Callable[[int], None]) -> None:
        """Begin by removing what an earlier process has left unfinished.

        Args:
            folder: of the segments.
            done: told of each segment that is compressed, when its plain file is gone.

        Raises:
            OSError: the folder can't be read or written.
        """
        self._folder = folder
        self._done = done
        self._stopping = threading.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="journal-compressor")
        for left in folder.glob(f"*.jsonl.zst{_PART}"):
            left.unlink()

    def add(self, number: int) -> None:
        """Compress a segment that nobody writes to any more, when its turn has come."""
        self._thread.submit(self._compress, number)

    def close(self) -> None:
        """Stop at once; what is not finished is left for the next time."""
        self._stopping.set()
        self._thread.shutdown(wait=True, cancel_futures=True)

    def _compress(self, number: int) -> None:
        """Compress a segment, or leave it as it is and say why."""
        plain, target = path_of(self._folder, number), compressed_path_of(self._folder, number)
        part = target.with_name(target.name + _PART)
        try:
            if compress(plain, part, lambda: not self._stopping.is_set()):
                os.replace(part, target)
                fsync_folder(self._folder)
                plain.unlink()
                self._done(number)
        except OSError as error:
            # The plain file is as good, only larger: no reason to stop buying replies.
            log.warning("%s could not be compressed and stays as it is: %s", plain, error.strerror or error)
        finally:
            part.unlink(missing_ok=True)


def fsync_folder(folder: Path) -> None:
    """Make sure that names made or changed in a folder are found again after a crash."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
