"""Where text comes from: a stream of documents.

stdlib-docs                          the reference text that comes with every Python; the embedded default
FILE.txt                             one document, cut at paragraph ends into parts of about 10,000 characters
FILE.jsonl, .jsonl.gz, .jsonl.zst    one document a line, in its field "text"
FILE.parquet                         one document a row, in its column "text"
FOLDER                               all such files in it, by name
hf://DATASET[:CONFIG][:SPLIT][:COLUMN]   a dataset of the hub, streamed (extra `hub`)
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import platform
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol, cast

import zstandard

from exegete.errors import CorpusError

SUFFIXES = (".txt", ".jsonl", ".jsonl.gz", ".jsonl.zst", ".parquet")
PART_CHARACTERS = 10_000
"""A plain text file is cut into documents of about this size, so that it can be split at all."""


@dataclass(frozen=True, slots=True)
class Document:
    """A piece of text that is never divided between splits."""

    name: str
    """Unique in its corpus."""
    text: str


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
    if spec.startswith("hf://"):
        return HubCorpus(spec)
    path = Path(spec)
    if not path.exists():
        raise CorpusError(
            f"there is no corpus {spec!r}: pass a file or folder of {', '.join(SUFFIXES)}, hf://DATASET, "
            "or stdlib-docs"
        )
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    readable = [p for p in files if p.name.endswith(SUFFIXES)]
    if not readable:
        raise CorpusError(f"the corpus {spec} has no file that ends in {', '.join(SUFFIXES)}")
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
        for topic in sorted(topics, key=lambda t: (len(topics[t]), t)):
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
                yield Document(f"{topic}#{section}", "\n\n".join(part))


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
                raise CorpusError(f"{path} can't be read: {error.strerror}") from error
        return digest.hexdigest()[:16]

    def documents(self) -> Iterator[Document]:
        """Every file's documents, files in the order of their names."""
        for path in self.files:
            name = str(path.relative_to(self.root))
            try:
                if path.suffix == ".parquet":
                    yield from _parquet(path, name)
                elif path.suffix == ".txt":
                    yield from _plain(path, name)
                else:
                    yield from _json_lines(path, name)
            except UnicodeDecodeError as error:
                raise CorpusError(
                    f"{path} is not UTF-8 text ({_first_fault(path)}): convert it, for example with "
                    "iconv -f latin1 -t utf8"
                ) from error
            except (OSError, EOFError, zlib.error, zstandard.ZstdError) as error:
                raise CorpusError(f"{path} can't be read: {error}") from error


def _plain(path: Path, name: str) -> Iterator[Document]:
    part, size, number = list[str](), 0, 0
    with _open_text(path) as file:
        for line in file:
            part.append(line)
            size += len(line)
            if size >= PART_CHARACTERS and not line.strip():
                yield Document(f"{name}#{number}", "".join(part))
                part, size, number = [], 0, number + 1
    if any(line.strip() for line in part):
        yield Document(f"{name}#{number}", "".join(part))


def _open_bytes(path: Path) -> IO[bytes]:
    if path.suffix == ".gz":
        return cast("IO[bytes]", gzip.open(path, "rb"))
    if path.suffix == ".zst":
        raw = zstandard.ZstdDecompressor().stream_reader(
            path.open("rb"), closefd=True, read_across_frames=True
        )
        return cast("IO[bytes]", io.BufferedReader(cast("io.RawIOBase", raw)))
    return path.open("rb")


def _open_text(path: Path) -> io.TextIOWrapper:
    """A file's text, unpacked, without the mark that some editors put before it."""
    return io.TextIOWrapper(_open_bytes(path), encoding="utf-8-sig")


def _first_fault(path: Path) -> str:
    """Where a file is not UTF-8. A decoder of a stream knows the place in its buffer only."""
    offset = 0
    with _open_bytes(path) as file:
        for number, line in enumerate(file, start=1):
            try:
                line.decode()
            except UnicodeDecodeError as error:
                at = error.start
                return f"byte {line[at]:#04x} at position {offset + at}, line {number}"
            offset += len(line)
    return "it changed while it was read"


def _json_lines(path: Path, name: str) -> Iterator[Document]:
    with _open_text(path) as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                record = json.loads(line)
            except (json.JSONDecodeError, RecursionError) as error:
                why = error.msg if isinstance(error, json.JSONDecodeError) else "nested too deeply"
                raise CorpusError(f"{path} line {number} is not JSON ({why}): one object a line") from None
            if not isinstance(record, dict) or not isinstance(record.get("text"), str):
                raise CorpusError(f'{path} line {number} has no string "text": put the document there')
            # JSON can spell half a surrogate pair, which is no character.
            yield Document(f"{name}#{number}", re.sub("[\ud800-\udfff]", "\ufffd", record["text"]))


def _parquet(path: Path, name: str) -> Iterator[Document]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            if "text" not in file.schema_arrow.names:
                columns = ", ".join(file.schema_arrow.names)
                raise CorpusError(f'{path} has columns {columns} and no column "text": rename one to it')
            kind = file.schema_arrow.field("text").type
            kind = kind.value_type if pa.types.is_dictionary(kind) else kind
            if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
                raise CorpusError(f'{path} has the column "text" of type {kind}: write it as strings')
            number = 0
            for batch in file.iter_batches(batch_size=1024, columns=["text"]):
                for text in batch.column(0).to_pylist():
                    if isinstance(text, str) and text.strip():
                        yield Document(f"{name}#{number}", text)
                    number += 1
    except UnicodeDecodeError as error:
        raise CorpusError(
            f'{path} has bytes in the column "text" that are not UTF-8: convert them'
        ) from error
    except pa.ArrowException as error:
        raise CorpusError(f"{path} can't be read as Parquet ({str(error).splitlines()[0]})") from error


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
