"""The standard library's source as a corpus."""

from __future__ import annotations

from pathlib import Path

from exegete.subjects.corpora import open_corpus
from exegete.subjects.stdlib_source import StdlibSource
from exegete.subjects.text_files import PART_CHARACTERS


def library(root: Path) -> StdlibSource:
    """A library of two modules, a test and an installed package."""
    long = "".join(f"def f{i}():\n    return {i}\n\n" for i in range(1000))
    texts = {"long.py": long, "pkg/short.py": "x = 1\n", "test/test_x.py": "y\n", "site-packages/z.py": "z\n"}
    for name, text in texts.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return StdlibSource(root)


def test_modules_are_cut_at_blank_lines_and_nothing_is_lost(tmp_path: Path) -> None:
    """Parts joined are the module; each ends at a blank line; tests and packages are left out."""
    documents = list(library(tmp_path).documents())
    long = [d.text for d in documents if d.name.startswith("long#")]
    assert "".join(long) == (tmp_path / "long.py").read_text(encoding="utf-8")
    assert all(PART_CHARACTERS <= len(text) < PART_CHARACTERS + 100 for text in long[:-1])
    assert all(text.endswith("\n\n") for text in long[:-1])
    assert [d.name for d in documents if not d.name.startswith("long#")] == ["pkg/short#0"]
    assert len({d.name for d in documents}) == len(documents)
    assert documents[-1].share == 1.0


def test_the_fingerprint_is_the_sources(tmp_path: Path) -> None:
    """It changes with a module's text, and with nothing that is left out."""
    corpus = library(tmp_path)
    before = corpus.fingerprint()
    (tmp_path / "test" / "test_x.py").write_text("changed\n", encoding="utf-8")
    assert corpus.fingerprint() == before
    (tmp_path / "pkg" / "short.py").write_text("x = 2\n", encoding="utf-8")
    assert corpus.fingerprint() != before


def test_it_is_a_corpus_by_name() -> None:
    """The running Python's library is there, and tells what module a document is of."""
    first = next(iter(open_corpus("stdlib-source").documents()))
    assert "#" in first.name
    assert first.text.strip()
