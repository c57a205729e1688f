"""Queries that a person keeps: a file each in the workspace's folder `queries`, to be edited or shared."""

from __future__ import annotations

import os
import re
from pathlib import Path

from exegete.errors import UsageError

_NAME = re.compile(r"\w[\w .-]{0,59}")
_BYTES = 100_000


class SavedQueries:
    """The queries of one workspace."""

    def __init__(self, root: Path) -> None:
        """Keep them under a workspace's folder; nothing is made before the first is saved."""
        self._folder = root / "queries"

    def names(self) -> list[str]:
        """All names, in order."""
        found = self._folder.glob("*.sql") if self._folder.is_dir() else ()
        return sorted(path.stem for path in found if _NAME.fullmatch(path.stem))

    def text(self, name: str) -> str:
        """A saved query.

        Raises:
            UsageError: there is none of that name, or it can't be read.
        """
        try:
            return self._path(name).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            raise UsageError(f"there is no saved query {name!r} that can be read: save it again") from None

    def save(self, name: str, text: str) -> None:
        """Save a query, in place of one of the same name.

        Raises:
            UsageError: the name or the text can't be kept.
        """
        path = self._path(name)
        if not text.strip() or len(text.encode("utf-8", "replace")) > _BYTES:
            raise UsageError(f"a saved query has some text, and at most {_BYTES:,} bytes of it")
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            self._folder.mkdir(exist_ok=True)
            draft.write_text(text, encoding="utf-8", errors="replace")
            os.replace(draft, path)
        except OSError as error:
            raise UsageError(f"{path} can't be written ({error.strerror}): make room") from error
        finally:
            draft.unlink(missing_ok=True)

    def drop(self, name: str) -> None:
        """Forget a query; one that is not there is forgotten already."""
        self._path(name).unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise UsageError(
                "a saved query's name has up to 60 letters, digits, spaces, dots, dashes and underscores, "
                "and begins with a letter or a digit"
            )
        return self._folder / f"{name}.sql"
