"""Small models, saved and loaded once."""

from __future__ import annotations

from pathlib import Path

import pytest

from exegete.subjects.huggingface import HuggingFaceSubject, open_subject
from tests.subjects.tiny import save

KINDS = ("bert", "gpt2", "gpt_neox", "llama", "qwen3")


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A model folder of every kind."""
    root = tmp_path_factory.mktemp("models")
    return {kind: save(kind, root / kind) for kind in (*KINDS, "gpt2-lm")}


@pytest.fixture(scope="session")
def subjects(folders: dict[str, Path]) -> dict[str, HuggingFaceSubject]:
    """The models, opened."""
    return {kind: open_subject(str(folder)) for kind, folder in folders.items()}
