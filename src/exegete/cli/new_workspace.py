"""A workspace for commands that make one if need be, and leave none behind when nothing came of it."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from exegete.datastore.workspace import MARKER, Workspace

_MADE = ("evidence", "journal", "logs")
"""Folders of a workspace in which nothing has been done."""


@contextmanager
def opened_or_made(root: Path) -> Iterator[Workspace]:
    """A workspace, made first if the folder is new or empty.

    If what is done in it fails before there is any evidence, as with a mistyped model, a workspace that was
    made for it goes again, unless another command is using it by then.

    Args:
        root: its folder.

    Raises:
        WorkspaceError: the path is a file, a folder of something else, or can't be written.
    """
    was_there = (root / MARKER).exists()
    space, marker = _held(root)
    with marker:
        try:
            yield space
        except BaseException:
            if not was_there:
                with suppress(OSError):
                    _unmake(space, marker)
            raise


def _held(root: Path) -> tuple[Workspace, TextIO]:
    """The workspace, and its marker with a lock that says that somebody is using it."""
    while True:
        space = Workspace.open_or_create(root)
        with suppress(FileNotFoundError):  # another command has just unmade it
            marker = (root / MARKER).open(encoding="utf-8")
            with suppress(OSError):  # a file system without locks
                fcntl.flock(marker, fcntl.LOCK_SH)
            if os.fstat(marker.fileno()).st_nlink:
                return space, marker
            marker.close()


def _unmake(space: Workspace, marker: TextIO) -> None:
    """Remove a workspace in which nothing has been done.

    Raises:
        OSError: others are using it, or it can't be removed.
    """
    fcntl.flock(marker, fcntl.LOCK_EX | fcntl.LOCK_NB)
    others = {path.name for path in space.root.iterdir()} - {MARKER, *_MADE}
    if others or any(space.evidence.iterdir()) or any(space.journal.iterdir()):
        return
    (space.root / MARKER).unlink()
    for name in _MADE:
        shutil.rmtree(space.root / name, ignore_errors=True)
    space.root.rmdir()
