"""Text from files of every kind, and what is said of files that can't be read."""

from __future__ import annotations

import gzip
import json
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from exegete.errors import CorpusError
from exegete.subjects.corpora import _is_heading, open_corpus
from exegete.subjects.text_files import PART_CHARACTERS, Document

TEXTS = ["first text", "second\ntext — “é” 日本 🙂", "third   "]


def lines(texts: list[str] = TEXTS) -> bytes:
    return "".join(json.dumps({"text": t, "id": i}) + "\n" for i, t in enumerate(texts)).encode()


def parquet(path: Path, texts: list[Any] = TEXTS, name: str = "text", kind: Any = None) -> None:
    pq.write_table(pa.table({"id": list(range(len(texts))), name: pa.array(texts, kind)}), path)


WRITERS: dict[str, Callable[[Path], object]] = {
    "c.jsonl": lambda path: path.write_bytes(lines()),
    "c.jsonl.gz": lambda path: path.write_bytes(gzip.compress(lines())),
    "c.jsonl.zst": lambda path: path.write_bytes(zstandard.compress(lines())),
    "c.parquet": parquet,
}


def packed(name: str, raw: bytes) -> bytes:
    """Bytes as a file of that name holds them."""
    if name.endswith(".gz"):
        return gzip.compress(raw)
    return zstandard.compress(raw) if name.endswith(".zst") else raw


def read(path: Path) -> list[Document]:
    return list(open_corpus(str(path)).documents())


@pytest.mark.parametrize("name", WRITERS)
def test_every_kind(name: str, tmp_path: Path) -> None:
    """The same texts come out of every kind of file, each a document with a name of its own."""
    WRITERS[name](tmp_path / name)
    found = read(tmp_path / name)
    assert [d.text for d in found] == TEXTS
    assert len({d.name for d in found}) == 3
    assert all(d.name.startswith(f"{name}#") for d in found)
    assert read(tmp_path / name) == found


def test_a_folder(tmp_path: Path) -> None:
    """A folder is all its files, its folders' too, in the order of their names; others are ignored."""
    for name, write in WRITERS.items():
        write(tmp_path / name)
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "c.jsonl").write_bytes(lines(["deeper"]))
    (tmp_path / "b.txt").write_text("plain")
    (tmp_path / "notes.md").write_text("not read")
    found = read(tmp_path)
    assert [d.text for d in found] == ["deeper", "plain", *TEXTS * 4]
    assert len({d.name for d in found}) == len(found)
    assert found[0].name.startswith("a/c.jsonl#")


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for all examples of a property."""
    return tmp_path_factory.mktemp("scratch")


@settings(deadline=None)
@given(parts=st.lists(st.text(st.sampled_from("ab \n\té"), max_size=3000), max_size=40))
def test_plain_text_is_cut_at_blank_lines(parts: list[str], scratch: Path) -> None:
    """A plain file's documents, joined, are the file; all but the last are long and end at a blank line."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("exegete.subjects.text_files.PART_CHARACTERS", 500)
        text = "\n\n".join(parts)
        path = scratch / "c.txt"
        path.write_text(text, encoding="utf-8")
        found = read(path)
    joined = "".join(d.text for d in found)
    assert text.startswith(joined)
    assert text[len(joined) :].strip() == ""
    for document in found[:-1]:
        assert len(document.text) >= 500
        assert document.text.endswith("\n")
        assert document.text.split("\n")[-2].strip() == ""
    assert [d.name for d in found] == [f"c.txt#{i}" for i in range(len(found))]


def test_a_long_plain_file(tmp_path: Path) -> None:
    """A file is cut into parts of about the stated size; one without blank lines can't be, and is one."""
    paragraph = "word " * 100 + "\n\n"
    (tmp_path / "c.txt").write_text(paragraph * 100)
    sizes = [len(d.text) for d in read(tmp_path / "c.txt")]
    assert all(PART_CHARACTERS <= size <= PART_CHARACTERS + len(paragraph) for size in sizes[:-1])
    (tmp_path / "d.txt").write_text("word\n" * 10_000)
    assert len(read(tmp_path / "d.txt")) == 1


@pytest.mark.parametrize("name", ["c.txt", "c.jsonl", "c.jsonl.gz", "c.jsonl.zst"])
def test_not_utf8(name: str, tmp_path: Path) -> None:
    """A byte that is not UTF-8 is named with its place in the (unpacked) file, however far in it is."""
    before = b'{"text": "plain"}\n\n' * 5000
    raw = before + '{"text": "café"}\n'.encode("latin1")
    (tmp_path / name).write_bytes(packed(name, raw))
    at = raw.index(b"\xe9")
    with pytest.raises(CorpusError, match=rf"{name} is not UTF-8 .*byte 0xe9 at position {at}, line 10001"):
        read(tmp_path / name)


def test_a_byte_order_mark(tmp_path: Path) -> None:
    """The mark some editors put before a file is no part of its text."""
    (tmp_path / "c.txt").write_bytes(b"\xef\xbb\xbfplain")
    (tmp_path / "d.jsonl").write_bytes(b"\xef\xbb\xbf" + lines(["x"]))
    assert [d.text for d in read(tmp_path)] == ["plain", "x"]


def test_half_a_surrogate_pair(tmp_path: Path) -> None:
    """JSON can spell half a character: it becomes the sign for an unknown one, and nothing trips over it."""
    (tmp_path / "c.jsonl").write_text('{"text": "a \\ud83d b \\ud83d\\ude00 \\udc00"}\n')
    (document,) = read(tmp_path / "c.jsonl")
    assert document.text == "a \ufffd b 😀 \ufffd"
    assert document.text.encode()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "line 3 is not JSON"),
        ("plain text", "line 3 is not JSON"),
        ("[" * 100_000, "line 3 is not JSON"),
        ('"a string"', 'line 3 has no string "text"'),
        ('["text"]', 'line 3 has no string "text"'),
        ('{"txt": "a"}', 'line 3 has no string "text"'),
        ('{"text": null}', 'line 3 has no string "text"'),
        ('{"text": 5}', 'line 3 has no string "text"'),
        ('{"text": ["a"]}', 'line 3 has no string "text"'),
    ],
)
@pytest.mark.parametrize("name", ["c.jsonl", "c.jsonl.gz", "c.jsonl.zst"])
def test_bad_lines(name: str, line: str, said: str, tmp_path: Path) -> None:
    """A line that is no object with a text is named by its number, blank lines counted."""
    raw = b'{"text": "good"}\n\n' + line.encode() + b"\n"
    (tmp_path / name).write_bytes(packed(name, raw))
    with pytest.raises(CorpusError, match=f"{name} {said}"):
        read(tmp_path / name)


def cut(pack: Callable[[bytes], bytes]) -> bytes:
    raw = pack(lines([str(i) * 50 for i in range(5000)]))
    return raw[: len(raw) // 2]


def flipped(pack: Callable[[bytes], bytes]) -> bytes:
    raw = bytearray(pack(lines([str(i) * 50 for i in range(5000)])))
    middle = slice(len(raw) // 2, len(raw) // 2 + 8)
    raw[middle] = bytes(b ^ 0xFF for b in raw[middle])
    return bytes(raw)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("c.jsonl.gz", b"not gzip"),
        ("c.jsonl.gz", cut(gzip.compress)),
        ("c.jsonl.gz", flipped(gzip.compress)),
        ("c.jsonl.zst", b"not zstd, but long enough"),
        ("c.jsonl.zst", cut(zstandard.compress)),
        ("c.jsonl.zst", flipped(zstandard.compress)),
        ("c.parquet", b""),
        ("c.parquet", b"not parquet"),
        ("c.parquet", b"PAR1" + bytes(50) + b"PAR1"),
    ],
)
def test_damaged(name: str, content: bytes, tmp_path: Path) -> None:
    """A packed file that is none, was cut short or has a wrong bit is named, with what to do."""
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CorpusError, match=rf"{name} .*(fetch or write it again|one object a line)$"):
        read(tmp_path / name)


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress])
def test_files_in_several_parts(pack: Callable[[bytes], bytes], tmp_path: Path) -> None:
    """A packed file that was appended to is read to its end."""
    name = "c.jsonl.gz" if pack is gzip.compress else "c.jsonl.zst"
    texts = [f"{i} " * 5000 for i in range(30)]
    (tmp_path / name).write_bytes(b"".join(pack(lines([t])) for t in texts))
    assert [d.text for d in read(tmp_path / name)] == texts


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())])
def test_parquet_strings(kind: Any, tmp_path: Path) -> None:
    """Strings of every Arrow kind are read; rows without text are left out, and keep their number."""
    texts = ["a", None, "  ", "b"]
    array = pa.array(texts, pa.string())
    table = pa.table(
        {"text": array.dictionary_encode() if pa.types.is_dictionary(kind) else array.cast(kind)}
    )
    pq.write_table(table, tmp_path / "c.parquet")
    assert [(d.name, d.text) for d in read(tmp_path / "c.parquet")] == [
        ("c.parquet#0", "a"), ("c.parquet#3", "b"),
    ]  # fmt: skip


def test_parquet_of_something_else(tmp_path: Path) -> None:
    """A file without the column, or with other values in it, is told what it has, and not taken as empty."""
    parquet(tmp_path / "c.parquet", name="body")
    with pytest.raises(CorpusError, match='columns id, body and no column "text"'):
        read(tmp_path / "c.parquet")
    for values, kind in (([1, 2], "int64"), ([b"a", b"b"], "binary"), ([["a"]], "list")):
        parquet(tmp_path / "c.parquet", values)
        with pytest.raises(CorpusError, match=f'column "text" of type {kind}'):
            read(tmp_path / "c.parquet")


def test_parquet_not_utf8(tmp_path: Path) -> None:
    """Strings that are none are named."""
    bad = pa.Array.from_buffers(
        pa.string(), 1, [None, pa.py_buffer(b"\0\0\0\0\2\0\0\0"), pa.py_buffer(b"\xff\xfe")]
    )
    pq.write_table(pa.table({"text": bad}), tmp_path / "c.parquet")
    with pytest.raises(CorpusError, match="not UTF-8"):
        read(tmp_path / "c.parquet")


def test_nothing_to_read(tmp_path: Path) -> None:
    """No such file, or a folder or file of another kind, says which kinds there are."""
    with pytest.raises(CorpusError, match=r"there is no corpus .*\.txt, \.jsonl, .*stdlib-docs"):
        open_corpus(str(tmp_path / "nowhere"))
    with pytest.raises(CorpusError, match=r"has no file that ends in \.txt"):
        open_corpus(str(tmp_path))
    (tmp_path / "a.pdf").write_text("x")
    for path in (tmp_path, tmp_path / "a.pdf"):
        with pytest.raises(CorpusError, match=r"has no file that ends in \.txt"):
            open_corpus(str(path))


@pytest.mark.parametrize("name", ["c.txt", "c.jsonl", "c.jsonl.gz", "c.jsonl.zst"])
def test_empty(name: str, tmp_path: Path) -> None:
    """An empty file is a corpus without documents."""
    for content in (b"", b"\n \n"):
        (tmp_path / name).write_bytes(packed(name, content))
        assert read(tmp_path / name) == []


def test_fingerprints(tmp_path: Path) -> None:
    """A fingerprint changes with a file's text, name or company, and with nothing else."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "c.txt").write_text("one")
    corpus = open_corpus(str(tmp_path / "a"))
    first = corpus.fingerprint()
    assert corpus.fingerprint() == first
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "c.txt").write_text("one")
    assert open_corpus(str(tmp_path / "b")).fingerprint() == first
    assert open_corpus(str(tmp_path / "b" / "c.txt")).fingerprint() == first
    seen = {first}
    (tmp_path / "b" / "c.txt").write_text("two")
    seen.add(open_corpus(str(tmp_path / "b")).fingerprint())
    (tmp_path / "b" / "c.txt").rename(tmp_path / "b" / "d.txt")
    seen.add(open_corpus(str(tmp_path / "b")).fingerprint())
    (tmp_path / "b" / "e.txt").write_text("")
    seen.add(open_corpus(str(tmp_path / "b")).fingerprint())
    assert len(seen) == 4
    (tmp_path / "b" / "e.txt").unlink()
    with pytest.raises(CorpusError, match=r"e\.txt can't be read"):
        open_corpus_of_gone(tmp_path).fingerprint()


def open_corpus_of_gone(tmp_path: Path) -> Any:
    """A corpus whose file goes away after it was opened."""
    (tmp_path / "b" / "e.txt").write_text("")
    corpus = open_corpus(str(tmp_path / "b"))
    (tmp_path / "b" / "e.txt").unlink()
    return corpus


def test_stdlib_docs() -> None:
    """Python's own documentation: enough English for a demonstration, no paragraph in two documents."""
    corpus = open_corpus("stdlib-docs")
    found = list(corpus.documents())
    assert found == list(corpus.documents())
    assert len({d.name for d in found}) == len(found) > 150
    assert sum(len(d.text) for d in found) > 300_000
    paragraphs = Counter(" ".join(p.split()) for d in found for p in d.text.split("\n\n"))
    assert max(paragraphs.values()) == 1
    assert all(d.text.strip() for d in found)
    assert corpus.fingerprint() == open_corpus("stdlib-docs").fingerprint()
    assert f"python {sys.version_info.major}.{sys.version_info.minor}" in corpus.fingerprint()


@pytest.mark.parametrize(
    ("paragraph", "is_one"),
    [
        ("Title\n*****\n", True), ('Title\n"""""', True), ("A\n~~~\nmore", True), ("Title\n**-**", False),
        ("Title", False), ("Title\n**", False), ("Title\n--- a", False), ("", False),
    ],
)  # fmt: skip
def test_headings(paragraph: str, is_one: bool) -> None:
    """A heading is a line with three or more of one mark, and nothing else, below it."""
    assert _is_heading(paragraph) == is_one


# The hub, without one.


def hub(monkeypatch: pytest.MonkeyPatch, rows: list[dict[str, Any]] | Exception) -> list[Any]:
    """A `datasets` library that has these rows, and remembers what it was asked for."""
    asked: list[Any] = []

    def load_dataset(*args: Any, **options: Any) -> Any:
        asked.append((args, options))
        if isinstance(rows, Exception):
            raise rows
        return iter(rows)

    module = ModuleType("datasets")
    module.load_dataset = load_dataset  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "datasets", module)
    return asked


@pytest.mark.parametrize(
    ("spec", "args", "split", "column"),
    [
        ("hf://a/b", ("a/b", None), "train", "text"),
        ("hf://a/b:en", ("a/b", "en"), "train", "text"),
        ("hf://a/b:en:test", ("a/b", "en"), "test", "text"),
        ("hf://a/b:::body", ("a/b", None), "train", "body"),
    ],
)
def test_hub(
    spec: str, args: tuple[Any, ...], split: str, column: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows are streamed from the named config, split and column; those without text are left out."""
    asked = hub(monkeypatch, [{column: "one"}, {column: None}, {column: " "}, {column: "two"}])
    found = list(open_corpus(spec).documents())
    assert [(d.name, d.text) for d in found] == [("a/b#0", "one"), ("a/b#3", "two")]
    assert asked == [(args, {"split": split, "streaming": True})]


def test_hub_faults(monkeypatch: pytest.MonkeyPatch) -> None:
    """No such column, no such dataset, no network, no library: one sentence each."""
    hub(monkeypatch, [{"body": "x", "id": 1}])
    with pytest.raises(CorpusError, match="has columns body, id: name one"):
        list(open_corpus("hf://a/b").documents())
    hub(monkeypatch, ConnectionError("no route\nto host"))
    with pytest.raises(CorpusError, match=r"can't be had from the hub \(ConnectionError\)") as caught:
        list(open_corpus("hf://a/b").documents())
    assert "\n" not in str(caught.value)
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(CorpusError, match=r"pip install 'exegete\[hub\]'"):
        list(open_corpus("hf://a/b").documents())
