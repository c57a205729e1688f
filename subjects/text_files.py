"""Text files of every kind, read as streams of documents."""

from __future__ import annotations

import gzip
import io
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, cast

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
    share: float | None = field(default=None, compare=False)
    """Share of the corpus that has been read once this has, as far as is known: for progress only."""


def file_documents(path: Path, name: str) -> Iterator[Document]:
    """A file's documents, each with the share of the file that has been read.

    Args:
        path: a file with one of SUFFIXES.
        name: what documents' names begin with.

    Raises:
        CorpusError: it is of its kind and holds no text.
        OSError, EOFError, zlib.error, zstandard.ZstdError, UnicodeDecodeError: it can't be read.
    """
    if path.suffix == ".parquet":
        return _parquet(path, name)
    return _plain(path, name) if path.suffix == ".txt" else _json_lines(path, name)


def _plain(path: Path, name: str) -> Iterator[Document]:
    part, size, number = list[str](), 0, 0
    with _lines(path) as (lines, share):
        for line in lines:
            part.append(line)
            size += len(line)
            if size >= PART_CHARACTERS and not line.strip():
                yield Document(f"{name}#{number}", "".join(part), share())
                part, size, number = [], 0, number + 1
    if any(line.strip() for line in part):
        yield Document(f"{name}#{number}", "".join(part), 1.0)


@contextmanager
def _opened(path: Path) -> Iterator[tuple[IO[bytes], Callable[[], float]]]:
    """A file's bytes, unpacked, and the share of the file that has been read so far."""
    with path.open("rb") as raw:
        size = max(1, path.stat().st_size)
        unpacked: Any = raw
        if path.suffix == ".gz":
            unpacked = gzip.GzipFile(fileobj=raw)
        elif path.suffix == ".zst":
            reader = zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True)
            unpacked = io.BufferedReader(cast("io.RawIOBase", reader))
        yield unpacked, lambda: raw.tell() / size


@contextmanager
def _lines(path: Path) -> Iterator[tuple[Iterator[str], Callable[[], float]]]:
    """A file's lines, without the mark that some editors put before a text, and the share read so far."""
    with _opened(path) as (unpacked, share):
        yield io.TextIOWrapper(unpacked, encoding="utf-8-sig"), share


def first_fault(path: Path) -> str:
    """Where a file is not UTF-8. A decoder of a stream knows the place in its buffer only."""
    offset = 0
    with _opened(path) as (file, _):
        for number, line in enumerate(file, start=1):
            try:
                line.decode()
            except UnicodeDecodeError as error:
                at = error.start
                return f"byte {line[at]:#04x} at position {offset + at}, line {number}"
            offset += len(line)
    return "it changed while it was read"


def _json_lines(path: Path, name: str) -> Iterator[Document]:
    with _lines(path) as (lines, share):
        for number, line in enumerate(lines, start=1):
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
            yield Document(f"{name}#{number}", re.sub("[\ud800-\udfff]", "\ufffd", record["text"]), share())


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
                    number += 1
                    if isinstance(text, str) and text.strip():
                        share = number / file.metadata.num_rows
                        yield Document(f"{name}#{number - 1}", text, share)
    except UnicodeDecodeError as error:
        raise CorpusError(
            f'{path} has bytes in the column "text" that are not UTF-8: convert them'
        ) from error
    except pa.ArrowException as error:
        raise CorpusError(
            f"{path} can't be read as Parquet ({str(error).splitlines()[0]}): it may be cut short, so "
            "fetch or write it again"
        ) from error
