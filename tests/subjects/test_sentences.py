"""Sentence embeddings: a vector depends on its text alone, and no code comes with a model."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from exegete.errors import UsageError
from exegete.subjects import minilm, sentences
from exegete.subjects.sentences import Sentences


class FakeModel:
    """Vectors from the characters of a text; counts what it is asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def encode(self, texts: Sequence[str], **options: Any) -> list[np.ndarray]:
        assert options["normalize_embeddings"]
        self.asked += texts
        vectors = [np.array([len(text), sum(map(ord, text)) % 97, 1.0]) for text in texts]
        return [vector / np.linalg.norm(vector) for vector in vectors]


def folder(tmp_path: Path, types: Sequence[str]) -> Path:
    """What looks like a saved model of some modules."""
    path = tmp_path / "model"
    path.mkdir()
    modules = [{"idx": i, "name": str(i), "path": "", "type": kind} for i, kind in enumerate(types)]
    (path / "modules.json").write_text(json.dumps(modules), encoding="utf-8")
    return path


def test_vectors() -> None:
    """Float32, of length 1, aligned with the texts; equal texts have equal vectors."""
    vectors = Sentences("fake", FakeModel()).embed(["a", "bb", "a", ""])
    assert (vectors.shape, vectors.dtype) == ((4, 3), np.float32)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1)
    assert (vectors[0] == vectors[2]).all()


def test_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """A text is embedded once while it is remembered; the one not used for longest is forgotten first."""
    monkeypatch.setattr(sentences, "REMEMBERED", 2)
    model = FakeModel()
    embedder = Sentences("fake", model)
    first = embedder.embed(["a", "b"])
    embedder.embed(["a"])
    embedder.embed(["c"])  # forgets b
    again = embedder.embed(["a", "b"])
    assert model.asked == ["a", "b", "c", "b"]
    assert (first == again).all()


def test_threads_share_one() -> None:
    """Eight threads at once embed each text once."""
    model = FakeModel()
    embedder = Sentences("fake", model)
    texts = [str(i) for i in range(50)]
    threads = [threading.Thread(target=embedder.embed, args=(texts,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(model.asked) == sorted(texts)


def test_text_that_is_none() -> None:
    """Half a surrogate pair is no text; it is replaced and not passed on."""
    model = FakeModel()
    Sentences("fake", model).embed(["a\ud800b"])
    assert model.asked == ["a?b"]


def test_numbers_that_are_none() -> None:
    """A model whose weights are broken is named."""

    class Broken:
        def encode(self, texts: Sequence[str], **options: Any) -> list[np.ndarray]:
            return [np.array([np.nan])]

    with pytest.raises(UsageError, match="the sentence model fake gives values that are no numbers"):
        Sentences("fake", Broken()).embed(["a"])


def test_not_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without the library the extra is named; without the wheel, the wheel."""
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(UsageError, match=r"pip install 'exegete\[sentence\]'"):
        Sentences.open(str(folder(tmp_path, ["sentence_transformers.models.Transformer"])))
    monkeypatch.setattr(minilm, "wheel_folder", lambda: None)
    sentences._opened.cache_clear()
    with pytest.raises(UsageError, match=rf"is not here: pip install {minilm.WHEEL}, or give another"):
        Sentences.open(None)


@pytest.mark.parametrize("name", ["nobody/nothing", "hf:nobody/nothing@main", "no-such-folder", "a b c"])
def test_not_there(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A name that is neither a folder nor in the cache: one sentence, and nothing is downloaded."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(UsageError, match="neither a folder nor in this machine's cache") as caught:
        Sentences.open(name)
    assert len(str(caught.value).splitlines()) == 1


def test_code_is_never_run(tmp_path: Path) -> None:
    """A folder with a module of its own is refused before anything is imported from it."""
    path = folder(tmp_path, ["sentence_transformers.models.Transformer", "mine.Module"])
    (path / "mine.py").write_text("raise RuntimeError('the code was run')\n")
    with pytest.raises(UsageError, match=r"brings code of its own \(mine\.Module\), which is never executed"):
        Sentences.open(str(path))


@pytest.mark.parametrize("text", [None, "", "[]x", "[1]", '[{"idx": 0}]', "\udcff"])
def test_no_model(tmp_path: Path, text: str | None) -> None:
    """A folder without a readable list of modules is named."""
    path = folder(tmp_path, [])
    (path / "modules.json").unlink()
    if text is not None:
        (path / "modules.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(UsageError, match=r"has no readable modules\.json"):
        Sentences.open(str(path))


def test_digest_is_of_the_files(tmp_path: Path) -> None:
    """Other settings or weights are another model by name."""
    path = folder(tmp_path, ["sentence_transformers.models.Transformer"])
    (path / "1_Pooling").mkdir()
    found = {sentences._digest(path)}
    (path / "1_Pooling" / "config.json").write_text("{}")
    found.add(sentences._digest(path))
    (path / "model.safetensors").write_bytes(b"x")
    found.add(sentences._digest(path))
    (path / "README.md").write_text("hello")
    assert sentences._digest(path) in found
    assert len(found) == 3


@pytest.mark.slow
def test_the_real_one(tmp_path: Path) -> None:
    """The default needs no hub; like texts are near; alone or in company a text has the same vector."""
    if minilm.wheel_folder() is None:
        pytest.skip(f"{minilm.WHEEL} is not installed")
    pytest.importorskip("sentence_transformers")
    embedder = Sentences.open(None)
    assert embedder is Sentences.open(None)
    assert embedder.name == f"{minilm.NAME}@{minilm.REVISION[:12]}"
    texts = ["a cat on a mat", "the kitten sleeps", "interest rates rose", "", "x " * 5000, "кошка"]
    vectors = embedder.embed(texts)
    assert (vectors.shape, vectors.dtype) == ((6, 384), np.float32)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2] + 0.2
    other = Sentences("again", embedder._model)
    for text, vector in zip(texts, vectors, strict=True):
        assert (other.embed([text])[0] == vector).all()
    broken = folder(tmp_path, ["sentence_transformers.models.Transformer"])
    with pytest.raises(UsageError, match=r"can't be loaded .*safetensors weights"):
        Sentences.open(str(broken))
