"""Opening model folders, and what is said of those that can't be opened."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from exegete.errors import SubjectError
from exegete.subjects.huggingface import open_subject
from tests.subjects.tiny import POSITIONS, model_of

WEIGHTS, CONFIG = "model.safetensors", "config.json"


def change(folder: Path, change_one: Callable[[str, torch.Tensor], torch.Tensor | None]) -> None:
    """Write the weights anew, each changed or (None) left out."""
    changed = {name: change_one(name, t) for name, t in load_file(folder / WEIGHTS).items()}
    kept = {name: t.contiguous() for name, t in changed.items() if t is not None}
    save_file(kept, folder / WEIGHTS, metadata={"format": "pt"})


@pytest.fixture
def folder(folders: dict[str, Path], tmp_path: Path) -> Path:
    """A copy of a model's folder, to spoil."""
    return Path(shutil.copytree(folders["gpt2"], tmp_path / "model"))


def refused(spec: str | Path) -> str:
    with pytest.raises(SubjectError) as caught:
        open_subject(str(spec))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_named_by_weights(folder: Path, folders: dict[str, Path], tmp_path: Path) -> None:
    """A folder's subject is named after it and its weights: the same in a copy, another once they change."""
    name = open_subject(str(folder)).name
    assert name.startswith("model@")
    assert name.split("@")[1] == open_subject(str(folders["gpt2"])).name.split("@")[1]
    change(folder, lambda _, t: t + 1)
    assert open_subject(str(folder)).name != name


def test_lengths(folder: Path) -> None:
    """The longest context is what the model's config says."""
    assert open_subject(str(folder)).max_context == POSITIONS


def test_half_precision_weights(folder: Path) -> None:
    """Weights saved in another precision are read in float32."""
    change(folder, lambda _, t: t.half())
    assert next(open_subject(str(folder))._model.parameters()).dtype is torch.float32


def test_weights_as_saved(folder: Path) -> None:
    """The weights that run are those in the file."""
    loaded = open_subject(str(folder))._model.state_dict()
    for name, tensor in model_of("gpt2").state_dict().items():
        assert torch.equal(loaded[name], tensor)


@pytest.mark.parametrize("spec", ["nowhere", "no/where", "./nowhere", "gpt2"])
def test_no_folder(spec: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that is no folder says what to pass instead, and is not looked for on the hub."""
    monkeypatch.chdir(tmp_path)
    assert f"there is no model folder {spec!r}: pass a folder" in refused(spec)


@pytest.mark.parametrize("spec", ["hf:gpt2", "hf:nobody/nothing", "hf:nobody/nothing@main", "hf:"])
def test_hub_unreachable(spec: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model of the hub that can't be had is one sentence that says what to check."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    text = refused(spec)
    assert "can't be had from the hub" in text
    assert "pass a local folder as --subject" in text


@pytest.mark.parametrize("content", [b"", b"{", b"junk" * 100, b"\xff" * 8])
def test_weights_that_are_none(folder: Path, content: bytes) -> None:
    """A weights file of something else is refused."""
    (folder / WEIGHTS).write_bytes(content)
    assert "can't be loaded" in refused(folder)


def test_weights_cut_short(folder: Path) -> None:
    """A weights file cut short is refused, not filled up."""
    raw = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(raw[:-100])
    assert "incomplete" in refused(folder)


def test_no_weights(folder: Path) -> None:
    """A folder without safetensors is refused, also when it has a pickle, which is never read."""
    (folder / WEIGHTS).unlink()
    torch.save(model_of("gpt2").state_dict(), folder / "pytorch_model.bin")
    assert "safetensors" in refused(folder)


def test_missing_weights(folder: Path) -> None:
    """Weights that lack a module are refused: transformers would fill it in at random, without a word."""
    change(folder, lambda name, t: None if name.startswith("h.1.mlp") else t)
    assert "lack h.1.mlp.c_fc.bias and 3 more" in refused(folder)


def test_a_missing_pooler(folders: dict[str, Path], tmp_path: Path) -> None:
    """A masked model's checkpoint has no pooler, which comes after every site: that is no fault."""
    copy = Path(shutil.copytree(folders["bert"], tmp_path / "bert"))
    change(copy, lambda name, t: None if name.startswith("pooler") else t)
    assert open_subject(str(copy)).width("blocks.2.hook_resid_post") == 16


def test_another_shape(folder: Path) -> None:
    """Weights of another shape than the config says are refused."""
    config = json.loads((folder / CONFIG).read_text())
    (folder / CONFIG).write_text(json.dumps(config | {"n_embd": 32}))
    assert "can't be loaded" in refused(folder)


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"model_type": "nonsense"}'])
def test_config_that_is_none(folder: Path, text: str) -> None:
    """A config that can't be read, or names no architecture that is known, is refused."""
    (folder / CONFIG).write_text(text)
    assert "can't be loaded" in refused(folder)


def test_no_config(folder: Path) -> None:
    """So is a folder without one."""
    (folder / CONFIG).unlink()
    assert "config.json" in refused(folder)


def test_no_tokenizer(folder: Path) -> None:
    """A folder without its tokenizer is refused: transformers would make one that knows no tokens."""
    for path in folder.glob("token*"):
        path.unlink()
    assert "tokenizer.json" in refused(folder)


def test_a_damaged_tokenizer(folder: Path) -> None:
    """A tokenizer file of something else is refused."""
    (folder / "tokenizer.json").write_text("{}")
    refused(folder)


def test_code_in_a_folder_is_not_run(folder: Path) -> None:
    """A model that wants its own code run is refused, and the code has not run."""
    ran = folder / "ran"
    (folder / "own.py").write_text(
        f"open({str(ran)!r}, 'w').close()\nclass Own: pass\nclass OwnConfig: pass\n"
    )
    config = json.loads((folder / CONFIG).read_text())
    config |= {"model_type": "own", "auto_map": {"AutoModel": "own.Own", "AutoConfig": "own.OwnConfig"}}
    (folder / CONFIG).write_text(json.dumps(config))
    assert "can't be loaded" in refused(folder)
    assert not ran.exists()
