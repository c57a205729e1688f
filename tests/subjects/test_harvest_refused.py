"""Harvests that are refused, in a sentence, and leave nothing behind."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from exegete.datastore.workspace import Workspace
from exegete.errors import CorpusError, SubjectError, UsageError
from exegete.subjects.corpora import open_corpus
from exegete.subjects.harvest import harvest
from exegete.subjects.huggingface import HuggingFaceSubject, open_subject
from exegete.subjects.spec import HarvestSpec
from tests.subjects.harvests import SPEC, Subjects, distinct_corpus


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 documents of which no two contexts are alike."""
    return distinct_corpus(tmp_path_factory.mktemp("corpus"))


def refuse(
    kind: type[Exception],
    said: str,
    subject: HuggingFaceSubject,
    corpus: Any,
    spec: HarvestSpec,
    tmp_path: Path,
) -> None:
    """A harvest that is refused in a sentence, and leaves nothing behind."""
    space = Workspace.open_or_create(tmp_path / "w")
    with pytest.raises(kind, match=said) as caught:
        harvest(subject, open_corpus(str(corpus)), spec, space.evidence)
    assert "\n" not in str(caught.value)
    assert list(space.evidence.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "kind", "said"),
    [
        ({"features": (0, 24)}, SubjectError, "feature 24 is out of range: neurons at blocks.1.* 0 to 15"),
        ({"features": (-1,)}, SubjectError, "feature -1 is out of range"),
        ({"site": "blocks.3.hook_mlp_out"}, SubjectError, "no block 3"),
        ({"site": "wpe"}, SubjectError, "contexts, tokens, channels"),
        ({"dictionary": "sae"}, SubjectError, "there is no dictionary 'sae'"),
        ({"context": 65}, UsageError, r"--context 65 does not fit: gpt2@\w+ takes 1 to 64 tokens"),
        ({"context": 0}, UsageError, "--context 0 does not fit"),
        ({"tokens": 10}, CorpusError, "left the .* split"),
    ],
)
def test_refused(
    change: dict[str, Any], kind: type[Exception], said: str, subjects: Subjects, corpus: Path, tmp_path: Path
) -> None:
    """What can't be harvested is said before or instead of writing anything."""
    refuse(kind, said, subjects["gpt2"], corpus, replace(SPEC, **change), tmp_path)


def test_special_tokens_need_room(subjects: Subjects, corpus: Path, tmp_path: Path) -> None:
    """A context that special tokens fill alone is refused."""
    refuse(UsageError, "takes 3 to 64", subjects["bert"], corpus, replace(SPEC, context=2), tmp_path)


def test_positions_fit(
    subjects: Subjects, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Contexts longer than positions can number are refused, whatever the model takes."""
    monkeypatch.setattr(HuggingFaceSubject, "max_context", 1 << 20)
    refuse(UsageError, "to 65535 tokens", subjects["gpt2"], corpus, replace(SPEC, context=70_000), tmp_path)


def test_too_little_text(subjects: Subjects, tmp_path: Path) -> None:
    """No text, less than a context, or too few documents for three splits: each is said."""
    path = tmp_path / "c.jsonl"
    for texts, said in (
        ([], "gave 0 tokens, less than one context of 14"),
        ([""], "gave 0 tokens"),
        (["the quick brown fox"], r"gave \d+ tokens, less than one context"),
        (["the quick brown fox jumps " * 40], "left the .* and .* split without text"),
    ):
        path.write_text("".join(json.dumps({"text": t}) + "\n" for t in texts))
        refuse(CorpusError, said, subjects["gpt2"], path, SPEC, tmp_path)


def test_an_unreadable_corpus(subjects: Subjects, corpus: Path, tmp_path: Path) -> None:
    """A corpus that turns out to be unreadable in the middle stops the harvest, and leaves nothing."""
    path = tmp_path / "c.jsonl"
    path.write_bytes(corpus.read_bytes() + b'{"text": "caf\xe9"}\n')
    refuse(CorpusError, "is not UTF-8", subjects["gpt2"], path, SPEC, tmp_path)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite(
    value: float, folders: dict[str, Path], corpus: Path, tmp_path: Path
) -> None:
    """NaN or infinite weights are named by the site they show at; below it, they are none of its business."""
    folder = Path(shutil.copytree(folders["gpt2"], tmp_path / "model"))
    tensors = load_file(folder / "model.safetensors")
    tensors["h.1.mlp.c_proj.weight"][2, 11] = value
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    subject = open_subject(str(folder))
    refuse(
        SubjectError,
        r"activations at blocks\.1\.hook_mlp_out are not finite",
        subject,
        corpus,
        SPEC,
        tmp_path,
    )
    harvest(subject, open_corpus(str(corpus)), replace(SPEC, site="h.0", features=None), tmp_path / "e")
