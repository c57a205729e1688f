"""Where text comes from: a stream of documents.

stdlib-docs                          the reference text that comes with every Python; the embedded default
stdlib-source                        the source of its standard library
FILE.txt                             one document, cut at paragraph ends into parts of about 10,000 characters
FILE.jsonl, .jsonl.gz, .jsonl.zst    one document a line, in its field "text"
FILE.parquet                         one document a row, in its column "text"
FOLDER                               all such files in it, by name
hf://DATASET[:CONFIG][:SPLIT][:COLUMN]   a dataset of the hub, streamed (extra `hub`)
"""

from __future__ import annotations

import hashlib
import json
import platform
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import zstandard

from exegete.errors import CorpusError
from exegete.subjects.stdlib_source import StdlibSource
from exegete.subjects.text_files import SUFFIXES, Document, file_documents, first_fault


class Corpus(Protocol):
    """Documents that can be read again and again, in the same order."""

    @property
    def name(self) -> str:
        """As it was asked for."""

    def fingerprint(self) -> str:
        """Changes when the text does (for local files: names, sizes and their first megabyte)."""

    def documents(self) -> Iterator[Document]:
        """All documents.

        Raises:
            CorpusError: a file can't be read as text.
        """


def open_corpus(spec: str) -> Corpus:
    """Open a corpus; see the module's table.

    Raises:
        CorpusError: there is nothing of that name, or nothing in it that can be read.
    """
    if spec == "stdlib-docs":
        return StdlibDocs()
    if spec == StdlibSource.name:
        return StdlibSource()
    if spec.startswith("hf://"):
        return HubCorpus(spec)
    path = Path(spec)
    if not path.exists():
        raise CorpusError(
            f"there is no corpus {spec!r}: pass a file or folder of {', '.join(SUFFIXES)}, hf://DATASET, "
            "stdlib-source, or stdlib-docs"
        )
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    readable = [p for p in files if p.name.endswith(SUFFIXES)]
    if not readable:
        raise CorpusError(
            f"the corpus {spec} has no file that ends in {', '.join(SUFFIXES)}: convert its text"
        )
    return LocalCorpus(spec, path if path.is_dir() else path.parent, readable)


class StdlibDocs:
    """`pydoc_data.topics`: the language reference, one document a section.

    Many topics include others whole, so a paragraph is kept only where it is met first (shortest topics
    first): otherwise the same sentences would stand on both sides of the split.
    """

    name = "stdlib-docs"

    def fingerprint(self) -> str:
        """Changes with the Python version's documentation."""
        from pydoc_data.topics import topics

        text = json.dumps(topics, sort_keys=True)
        return f"python {platform.python_version()} {hashlib.sha256(text.encode()).hexdigest()[:12]}"

    def documents(self) -> Iterator[Document]:
        """The sections of every topic, repeated paragraphs dropped."""
        from pydoc_data.topics import topics

        seen: set[str] = set()
        read, total = 0, sum(map(len, topics.values()))
        for topic in sorted(topics, key=lambda t: (len(topics[t]), t)):
            read += len(topics[topic])
            section, part = 0, list[str]()
            for paragraph in re.split(r"\n\s*\n", topics[topic]):
                if _is_heading(paragraph) and part:
                    yield Document(f"{topic}#{section}", "\n\n".join(part))
                    section, part = section + 1, []
                words = " ".join(paragraph.split())
                if words and words not in seen:
                    seen.add(words)
                    part.append(paragraph)
            if part:
                yield Document(f"{topic}#{section}", "\n\n".join(part), read / total)


def _is_heading(paragraph: str) -> bool:
    lines = paragraph.strip("\n").split("\n")
    return len(lines) > 1 and re.fullmatch(r'([*=\-~^"])\1{2,}', lines[1].strip()) is not None


@dataclass(frozen=True, slots=True)
class LocalCorpus:
    """Files on this machine, read line by line as UTF-8 (half surrogate pairs, in JSON, become U+FFFD)."""

    name: str
    root: Path
    files: list[Path]

    def fingerprint(self) -> str:
        """Over every file's name, size and first megabyte."""
        digest = hashlib.sha256()
        for path in self.files:
            try:
                digest.update(f"{path.relative_to(self.root)}\0{path.stat().st_size}\0".encode())
                with path.open("rb") as file:
                    digest.update(file.read(1 << 20))
            except OSError as error:
                raise CorpusError(
                    f"{path} can't be read ({error.strerror}): make it readable, or take it out of the corpus"
                ) from error
        return digest.hexdigest()[:16]

    def documents(self) -> Iterator[Document]:
        """Every file's documents, files in the order of their names."""
        before, total = 0, sum(_size(path) for path in self.files)
        for path in self.files:
            name = str(path.relative_to(self.root))
            size = _size(path)
            try:
                for document in file_documents(path, name):
                    read = before + (document.share or 0.0) * size
                    yield replace(document, share=read / max(1, total))
            except UnicodeDecodeError as error:
                raise CorpusError(
                    f"{path} is not UTF-8 text ({first_fault(path)}): convert it, for example with "
                    "iconv -f latin1 -t utf8"
                ) from error
            except (OSError, EOFError, zlib.error, zstandard.ZstdError) as error:
                first = (str(error).splitlines() or [type(error).__name__])[0]
                raise CorpusError(
                    f"{path} can't be read ({first}): it may be cut short, so fetch or write it again"
                ) from error
            before += size


def _size(path: Path) -> int:
    """Bytes of a file; 0 of one that is not there, which is said when it is its turn."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


@dataclass(frozen=True, slots=True)
class HubCorpus:
    """A dataset of the hub, streamed."""

    name: str

    def fingerprint(self) -> str:
        """The name: pin a revision by naming a dataset that doesn't change."""
        return self.name

    def documents(self) -> Iterator[Document]:
        """The rows of one split, in order."""
        try:
            from datasets import load_dataset
        except ImportError:
            raise CorpusError(
                f"reading {self.name} needs the datasets library: pip install 'exegete[hub]'"
            ) from None
        dataset, *rest = self.name.removeprefix("hf://").split(":")
        config, split, column = (*rest, "", "", "")[:3]
        try:
            rows = load_dataset(dataset, config or None, split=split or "train", streaming=True)
            for number, row in enumerate(rows):
                if (column or "text") not in row:
                    raise CorpusError(
                        f"{self.name} has columns {', '.join(row)}: name one, hf://DATASET:CONFIG:SPLIT:COLUMN"
                    )
                text = row[column or "text"]
                if isinstance(text, str) and text.strip():
                    yield Document(f"{dataset}#{number}", text)
        except CorpusError:
            raise
        except Exception as error:  # the hub's client raises a dozen kinds, all meaning "not to be had"
            raise CorpusError(
                f"{self.name} can't be had from the hub ({type(error).__name__}): "
                "check the name and the network"
            ) from error
