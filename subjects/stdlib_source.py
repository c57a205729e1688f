"""The source of Python's standard library as text: code, docstrings and comments."""

from __future__ import annotations

import hashlib
import platform
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from exegete.subjects.text_files import PART_CHARACTERS, Document

_LEFT_OUT = {
    *("test", "tests", "site-packages", "dist-packages", "lib2to3", "idlelib", "turtledemo", "ensurepip"),
    *("encodings", "pydoc_data", "__pycache__"),
}
"""Tests, and what is mostly tables; the documentation is a corpus of its own."""


class StdlibSource:
    """The modules of the standard library, cut at blank lines into documents of about 10,000 characters."""

    name = "stdlib-source"

    def __init__(self, root: Path | None = None) -> None:
        """Read the running Python's library, or another folder of modules."""
        self._root = root or Path(sysconfig.get_path("stdlib"))

    def fingerprint(self) -> str:
        """Changes with the Python version's source."""
        digest = hashlib.sha256()
        for path in self._files():
            digest.update(path.read_bytes())
        return f"python {platform.python_version()} {digest.hexdigest()[:12]}"

    def documents(self) -> Iterator[Document]:
        """Every module's parts, modules in the order of their names."""
        files = self._files()
        for place, path in enumerate(files, start=1):
            name = path.relative_to(self._root).with_suffix("").as_posix()
            text = path.read_text(encoding="utf-8", errors="replace")
            for number, part in enumerate(_parts(text)):
                yield Document(f"{name}#{number}", part, place / len(files))

    def _files(self) -> list[Path]:
        found = self._root.rglob("*.py")
        return sorted(p for p in found if not _LEFT_OUT.intersection(p.relative_to(self._root).parts))


def _parts(text: str) -> Iterator[str]:
    """A text cut at blank lines, once a part has the size of a document."""
    part, size = list[str](), 0
    for line in text.splitlines(keepends=True):
        part.append(line)
        size += len(line)
        if size >= PART_CHARACTERS and not line.strip():
            yield "".join(part)
            part, size = [], 0
    if any(line.strip() for line in part):
        yield "".join(part)
