"""Files and folders that appear whole or not at all.

They are made under another name beside their place, and renamed into it. What is there already is left alone
unless it may be replaced, and a folder is only ever replaced when it was made here: it says so in a file.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from exegete.errors import UsageError, WorkspaceError

MARKER = "exegete.json"
"""In every folder that is made here: what it is."""


@contextmanager
def placed(out: Path, *, overwrite: bool) -> Iterator[Path]:
    """A name to make a file or folder under, which is renamed to `out` at the end.

    Args:
        out: where it is to be.
        overwrite: whether what is there may be replaced.

    Raises:
        UsageError: something is there that is not to be replaced, or there is no such place.
        WorkspaceError: it can't be written.
    """
    _check(out, overwrite=overwrite)
    draft = out.with_name(f".{out.name}.{os.getpid()}")
    _remove(draft)
    try:
        yield draft
        if out.is_dir():
            old = out.with_name(f".{out.name}.{os.getpid()}.old")
            os.replace(out, old)
            os.replace(draft, out)
            _remove(old)
        else:
            os.replace(draft, out)
    except OSError as error:
        raise WorkspaceError(
            f"{out} can't be written ({error.strerror or error}): make room, or name another place with --out"
        ) from error
    finally:
        _remove(draft)


def mark(folder: Path, what: Mapping[str, Any]) -> None:
    """Say in a folder that it was made here, and what it is."""
    (folder / MARKER).write_text(json.dumps(what, indent=1) + "\n", encoding="utf-8")


def _check(out: Path, *, overwrite: bool) -> None:
    if not out.name or not out.parent.is_dir():
        raise UsageError(f"{out} can't be made: --out names a new file or folder in a folder that exists")
    if not out.exists():
        return
    if not overwrite:
        raise UsageError(f"{out} is there already: name another place, or pass --overwrite")
    if out.is_dir() and not (out / MARKER).is_file():
        raise UsageError(f"{out} is a folder that exegete did not make: name another place with --out")


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
