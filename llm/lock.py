"""One process at a time in a folder."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from exegete.errors import WorkspaceBusy, WorkspaceError


class FolderLock:
    """Held from construction until `release`, or until the process ends in whatever way."""

    def __init__(self, folder: Path) -> None:
        """Take the lock of a folder.

        Raises:
            WorkspaceBusy: another process (or another part of this one) holds it.
            WorkspaceError: the folder can't be written to.
        """
        import fcntl

        path = folder / "lock"
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise WorkspaceError(f"can't lock {folder}: {error.strerror}") from error
        try:
            # The kernel lets go of it when the holder dies, so a stale file locks nobody out.
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(self._file, 32, 0).decode("ascii", "replace").strip()
            os.close(self._file)
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise WorkspaceError(f"can't lock {folder}: {error.strerror}") from error
            raise WorkspaceBusy(_sentence(folder, holder)) from None
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Let go; a second call does nothing."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def _sentence(folder: Path, holder: str) -> str:
    """Who holds the folder and what to do."""
    if holder == str(os.getpid()):
        return f"{folder} is already open in this process: share the journal that is open"
    who = f"process {holder}" if holder else "another process"
    return f"{folder} is in use by {who}: wait until it is done, or stop it"
