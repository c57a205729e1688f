"""Opening model folders, and what is said of those that can't be opened."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from exegete.errors import SubjectError
from exegete.subjects.devices import choose_device, choose_dtype
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


def test_precision(folders: dict[str, Path]) -> None:
    """A precision that is asked for is the one that runs; on the CPU it is float32 otherwise."""
    subject = open_subject(str(folders["llama"]), device="cpu", dtype="bfloat16")
    assert (subject.dtype, subject.device) == ("bfloat16", "cpu")
    assert subject.activations("layers.1", [subject.tokenise("the fox").ids]).dtype is torch.bfloat16
    assert open_subject(str(folders["llama"]), device="cpu").dtype == "float32"


@pytest.mark.parametrize(("bf16", "chosen"), [(True, torch.bfloat16), (False, torch.float32)])
def test_gpu_where_there_is_one(bf16: bool, chosen: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU is taken where there is one, in bfloat16 if it has that, unless something else is asked."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: bf16)
    gpu = choose_device(None)
    assert gpu.type == "cuda"
    assert choose_dtype(None, gpu) is chosen
    assert choose_dtype("float16", gpu) is torch.float16
    assert choose_device("cpu") == torch.device("cpu")
    assert choose_dtype(None, torch.device("cpu")) is torch.float32


@pytest.mark.parametrize("device", ["nonsense", "cuda:99"])
def test_no_such_device(device: str, folder: Path) -> None:
    """A device that is not there is refused by name."""
    with pytest.raises(SubjectError, match=rf"torch has no device '{device}' here: choose one of cpu"):
        open_subject(str(folder), device=device)


@pytest.mark.parametrize("dtype", ["float8", "", "int8", "load"])
def test_no_such_precision(dtype: str, folder: Path) -> None:
    """A precision that is none is refused, with those that are."""
    with pytest.raises(SubjectError, match=f"'{dtype}' is none of float32, bfloat16, float16"):
        open_subject(str(folder), dtype=dtype)


def test_bos_where_there_was_none(folders: dict[str, Path]) -> None:
    """A BOS token that a dictionary needs stands before the text, gives nothing, and shows in the name."""
    plain, with_bos = (open_subject(str(folders["gpt2"]), prepend_bos=bos) for bos in (None, True))
    assert with_bos.name == f"{plain.name}+bos"
    assert (plain.n_special, with_bos.n_special) == (0, 1)
    ids = plain.tokenise("the quick fox").ids
    bos = with_bos._tokenizer.bos_token_id
    found = with_bos.activations("h.1", [ids, ids[:2]])
    by_hand = plain.activations("h.1", [np.asarray([bos, *ids], dtype=np.int32)])
    torch.testing.assert_close(found[0], by_hand[0, 1:])
    assert not torch.allclose(found[0], plain.activations("h.1", [ids])[0], atol=1e-3)


def test_no_bos_where_there_was_one(folders: dict[str, Path]) -> None:
    """Where a dictionary was trained without, the tokenizer's BOS token is left out."""
    plain, without = (open_subject(str(folders["llama"]), prepend_bos=bos) for bos in (None, False))
    assert without.name == f"{plain.name}-bos"
    assert (plain.n_special, without.n_special) == (1, 0)
    ids = plain.tokenise("the quick fox").ids
    given: list[torch.Tensor] = []
    handle = without._model.get_input_embeddings().register_forward_pre_hook(lambda _m, a: given.append(a[0]))
    without.activations("layers.0", [ids])
    handle.remove()
    assert given[0].tolist() == [ids.tolist()]


@pytest.mark.parametrize(("kind", "bos"), [("llama", True), ("gpt2", False), ("bert", True), ("bert", False)])
def test_bos_as_it_was(kind: str, bos: bool, folders: dict[str, Path]) -> None:
    """A tokenizer that does what is wanted, or has its own token before texts, is left alone."""
    plain, told = open_subject(str(folders[kind])), open_subject(str(folders[kind]), prepend_bos=bos)
    assert (told.name, told.n_special) == (plain.name, plain.n_special)


def test_a_tokenizer_without_bos(folder: Path) -> None:
    """Where there is only an end token, that one stands first; where there is none, it is refused."""
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text())
    del config["bos_token"]
    path.write_text(json.dumps(config | {"eos_token": "<pad>"}))
    assert open_subject(str(folder), prepend_bos=True)._prefix == [1]
    path.write_text(json.dumps(config))
    with pytest.raises(SubjectError, match="trained with a BOS token, which the model's tokenizer lacks"):
        open_subject(str(folder), prepend_bos=True)


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
