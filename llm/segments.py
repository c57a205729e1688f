"""Writing sealed lines (lines.py), in groups, by one process at a time.

A line is acknowledged after an fsync. One thread writes, or an event loop itself where the disk is so quick
that handing over would take longer (quickness.py); whatever has come in meanwhile goes into the next write,
so that any number of waiting lines cost one fsync. After a failed write the file is cut back to its last
acknowledged line. A segment that is full is compressed in the background (compressor.py).
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from errno import EDQUOT, ENOSPC
from pathlib import Path

from exegete.errors import WorkspaceError
from exegete.llm.compressor import Compressor, fsync_folder
from exegete.llm.lines import (
    Position,
    compressed_path_of,
    intact,
    last_line_start,
    numbers,
    path_of,
    read_lines,
    seal,
)
from exegete.llm.lock import FolderLock
from exegete.llm.quickness import Quickness
from exegete.llm.readers import Readers

log = logging.getLogger(__name__)

SEGMENT_BYTES = 256 * 2**20

Then = Callable[[list[Position] | WorkspaceError], None]
"""Told where lines are, once they are safe on disk, or why they are not on disk at all."""


class Segments:
    """The lines of one folder, open for appending by this process alone."""

    def __init__(
        self, folder: Path, visit: Callable[[Position, bytes], None], *, segment_bytes: int = SEGMENT_BYTES
    ) -> None:
        """Open or create a folder and read all its lines.

        Args:
            folder: created if need be.
            visit: called for every intact line, in order.
            segment_bytes: size past which a new file is begun.

        Raises:
            WorkspaceBusy: another process has it open.
            WorkspaceError: it can't be read or written.
        """
        self.folder = folder
        self.dropped = 0
        """Torn last lines cut off on opening (0 or 1)."""
        self.damaged = 0
        """Lines in the middle that are not what was written; they are left where they are and skipped."""
        self.failure: WorkspaceError | None = None
        """Why the last write failed, or None."""
        self._limit = segment_bytes
        self._readers = Readers(folder)
        self._closed = False
        self._waiting: list[tuple[Sequence[bytes], Then]] = []
        self._mutex = threading.Lock()
        """Held for moments: of what is waiting, and whether it is closed."""
        self._turn = threading.Lock()
        """Held by who writes."""
        self._disk = Quickness()
        with _as_workspace_error(folder):
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = FolderLock(folder)
            try:
                self._compressor = Compressor(folder, self._readers.changed)
                self._segment = self._last()
                self._mend()
                self._scan(visit)
                self._file = self._open(self._segment)
                self._end = os.fstat(self._file).st_size
            except BaseException:
                self._lock.release()
                raise
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="journal")
        for number in numbers(folder):
            if number < self._segment and path_of(folder, number).exists():
                self._compressor.add(number)

    def append(self, bodies: Sequence[bytes]) -> Future[list[Position]]:
        """Write JSON objects, next to each other.

        Returns:
            A future that is done when they are safe on disk, with their positions; it fails with a
            WorkspaceError when they are not on disk at all. It can't be cancelled.
        """
        future: Future[list[Position]] = Future()
        future.set_running_or_notify_cancel()

        def then(outcome: list[Position] | WorkspaceError) -> None:
            if isinstance(outcome, WorkspaceError):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)

        self.write(bodies, then)
        self._hand_over()
        return future

    def write(self, bodies: Sequence[bytes], then: Then) -> None:
        """Have JSON objects written, next to each other, by the next `flush`, or on closing at the latest.

        Args:
            bodies: the objects.
            then: told how it ended, in the thread that wrote; it must not fail, nor take long.
        """
        lines = [seal(body) for body in bodies]
        with self._mutex:
            closed = self._closed
            if not closed:
                self._waiting.append((lines, then))
        if closed:
            then(WorkspaceError(f"{self.folder} is closed: nothing more can be written"))

    def flush(self) -> None:
        """Write what is waiting, all in one go: here if the disk is quick, else in the writer's thread."""
        if not self._waiting:  # somebody else has written it
            return
        if self._disk.shown and self._turn.acquire(blocking=False):
            try:
                self._write_waiting(in_thread=False)
            finally:
                self._turn.release()
        else:
            self._hand_over()

    def read(self, position: Position) -> bytes:
        """The line at a position.

        Raises:
            WorkspaceError: it can't be read.
        """
        with _as_workspace_error(self.folder):
            return self._readers.read(position)

    def close(self) -> None:
        """Finish what is being written and let go of everything; a second call does nothing."""
        with self._mutex:
            self._closed = True
        self._writer.shutdown(wait=True)
        self._drain()
        self._compressor.close()
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        self._readers.close()
        self._lock.release()

    def _last(self) -> int:
        """The segment to append to: the last one, unless that has been compressed."""
        last = max(numbers(self.folder), default=1)
        closed = compressed_path_of(self.folder, last).exists() and not path_of(self.folder, last).exists()
        return last + 1 if closed else last

    def _mend(self) -> None:
        """Give the last segment a proper end: complete a line that lacks only its end, cut off any other."""
        path = path_of(self.folder, self._segment)
        if not path.exists():
            return
        with path.open("r+b") as file:
            torn_at = last_line_start(file.fileno())
            file.seek(torn_at)
            tail = file.read()
            if not tail:
                return
            if intact(tail + b"\n"):  # the record is all there, and was paid for
                file.write(b"\n")
            else:
                self.dropped = 1
                file.truncate(torn_at)
                log.warning(
                    "%s ended in %d bytes of a reply that was being written when a process was stopped: "
                    "they are cut off, and the call will be made again if it is needed",
                    path,
                    len(tail),
                )
            file.flush()
            os.fsync(file.fileno())

    def _scan(self, visit: Callable[[Position, bytes], None]) -> None:
        """Visit all intact lines and count the others."""
        for position, line, _ in read_lines(self.folder, Position(1, 0)):
            if intact(line):
                visit(position, line)
            else:
                self.damaged += 1
        if self.damaged:
            log.warning(
                "%s holds %d damaged lines: they are skipped, and their calls will be made again if needed",
                self.folder,
                self.damaged,
            )

    def _open(self, number: int) -> int:
        """Open a segment for appending, and make sure that a new one is found again after a crash."""
        file = os.open(
            path_of(self.folder, number), os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644
        )
        fsync_folder(self.folder)
        return file

    def _hand_over(self) -> None:
        """Have the writer's thread write what is waiting."""
        with self._mutex:
            if not self._closed:  # else `close` does it
                self._writer.submit(self._drain)

    def _drain(self) -> None:
        """Write all that is waiting when it is our turn."""
        with self._turn:
            self._write_waiting(in_thread=True)

    def _write_waiting(self, *, in_thread: bool) -> None:
        """Write all that is waiting, in one go, and tell whoever waits for it."""
        with self._mutex:
            batch, self._waiting = self._waiting, []
        if not batch:
            return
        began = time.perf_counter()
        try:
            positions = iter(self._write([line for lines, _ in batch for line in lines]))
        except Exception as error:  # whatever it is, nobody may be left waiting
            self.failure = _sentence(self.folder, error)
            for _, then in batch:
                then(self.failure)
        else:
            self.failure = None
            self._disk.saw(time.perf_counter() - began, in_thread=in_thread)
            for lines, then in batch:
                then([next(positions) for _ in lines])

    def _write(self, lines: Sequence[bytes]) -> list[Position]:
        """Append lines and fsync them, or leave the file as it was and raise OSError."""
        if self._end >= self._limit:
            self._file, done = self._open(self._segment + 1), self._file
            os.close(done)
            self._compressor.add(self._segment)
            self._segment, self._end = self._segment + 1, 0
        if os.fstat(self._file).st_size != self._end:  # an earlier failure could not be cleaned up
            os.ftruncate(self._file, self._end)
        data = memoryview(b"".join(lines))
        try:
            while data:
                data = data[os.write(self._file, data) :]
            os.fsync(self._file)
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, self._end)
            raise
        positions = []
        for line in lines:
            positions.append(Position(self._segment, self._end))
            self._end += len(line)
        return positions


def _sentence(folder: Path, error: Exception) -> WorkspaceError:
    """What to tell a person whose disk failed."""
    if isinstance(error, OSError) and error.errno in (ENOSPC, EDQUOT):
        return WorkspaceError(
            f"no room left for the journal {folder}: make room and run the same command again; replies that "
            "are in the journal are kept and will not be paid for again"
        )
    reason = error.strerror if isinstance(error, OSError) else f"{type(error).__name__}: {error}"
    return WorkspaceError(
        f"can't write to the journal {folder} ({reason}): see to that and run the same command again; "
        "replies that are in it are kept"
    )


@contextlib.contextmanager
def _as_workspace_error(folder: Path) -> Iterator[None]:
    """Turn an OSError into a sentence."""
    try:
        yield
    except OSError as error:
        raise WorkspaceError(f"can't use the journal {folder}: {error.strerror or error}") from error
