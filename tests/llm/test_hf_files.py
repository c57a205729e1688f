"""Names of local models: another model never answers under a name that was used before."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoModelForCausalLM

from exegete.errors import UsageError
from exegete.llm import parse
from exegete.llm.hf import HuggingFace
from exegete.llm.hf_files import digest_of
from tests.llm import local

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model's folder, not to be changed."""
    return local.save(tmp_path_factory.mktemp("models") / "tiny", template=local.TEMPLATE)


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    """A copy to change."""
    return shutil.copytree(original, tmp_path / "tiny")


@pytest.fixture
def cached(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same model as org/tiny in a hub cache, branch main."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    repo = tmp_path / "hub" / "models--org--tiny"
    shutil.copytree(folder, repo / "snapshots" / COMMIT)
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text(COMMIT)
    return repo / "snapshots" / COMMIT


def test_folder_names(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder's canonical name has a digest, reads back as itself, and is the same with a slash."""
    name = parse(f"hf:{folder}")
    assert str(name) == f"hf:{folder}#{digest_of(folder)}"
    assert parse(str(name)) == name == parse(f"hf:{folder}/")
    copy = shutil.copytree(folder, folder.with_name("copy"))
    assert digest_of(copy) == name.digest
    monkeypatch.chdir(folder.parent)
    assert str(parse("hf:./tiny")) == f"hf:tiny#{name.digest}"


def _one_weight_deep_inside(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    weights["model.layers.1.mlp.up_proj.weight"][0, 0] += 1.0
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def _renamed_tensor(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes().replace(b"layers.1.mlp.up_proj", b"layers.1.mlp.xx_proj"))


@pytest.mark.parametrize(
    "change",
    [
        _one_weight_deep_inside,
        _renamed_tensor,
        lambda folder: local.set_ends(folder, [5]),
        lambda folder: (folder / "chat_template.jinja").write_text("other"),
        lambda folder: (folder / "tokenizer.json").write_bytes(
            (folder / "tokenizer.json").read_bytes() + b" "
        ),
        lambda folder: shutil.copy(folder / "model.safetensors", folder / "more.safetensors"),
        lambda folder: (folder / "config.json").rename(folder / "generation_config.json"),
    ],
)
def test_another_model_has_another_name(folder: Path, change: Callable[[Path], object]) -> None:
    """Whatever decides a reply is in the digest, and a name with an old digest is refused in words."""
    before = parse(f"hf:{folder}")
    change(folder)
    assert parse(f"hf:{folder}") != before
    with pytest.raises(UsageError, match="holds another model by now"):
        parse(str(before))


def test_notes_beside_a_model_change_nothing(folder: Path) -> None:
    """What decides no reply is not in the digest."""
    before = parse(f"hf:{folder}")
    (folder / "README.md").write_text("x")
    (folder / "checkpoint").mkdir()
    assert parse(f"hf:{folder}") == before


@pytest.mark.parametrize(
    "content", [b"", b"\xff" * 9, b"\x02" + b"\0" * 7 + b"[]", b"\x09" + b"\0" * 7 + b'{"a": 17}']
)
def test_broken_weights_have_a_name_and_do_not_open(folder: Path, content: bytes) -> None:
    """A broken file is no crash where the name is read, and a sentence where it is opened."""
    (folder / "model.safetensors").write_bytes(content)
    name = parse(f"hf:{folder}")
    assert name.digest is not None
    with pytest.raises(UsageError, match="can't be loaded") as error:
        HuggingFace(name)
    assert "\n" not in str(error.value)


def test_hub_names(cached: Path) -> None:
    """A hub's model that is here is named by its commit; the name opens it and reads back as itself."""
    name = parse("hf:org/tiny")
    assert str(name) == f"hf:org/tiny@{COMMIT}"
    assert parse(str(name)) == name == parse("hf:org/tiny@main")
    assert HuggingFace(name).name == name


def test_hub_names_that_are_not_here(cached: Path) -> None:
    """Another revision or model keeps its name, is never fetched, and opening it says how to get it."""
    for rest in ("org/tiny@other", "org/other", "two words", "a/b/c", "x" * 5000):
        name = parse(f"hf:{rest}")
        assert parse(str(name)) == name
        assert name.name == rest
    for rest in ("org/tiny@other", "org/other"):
        with pytest.raises(UsageError, match=r"neither a folder nor a model .* `hf download org/"):
            HuggingFace(parse(f"hf:{rest}"))


def test_a_folder_without_a_model(tmp_path: Path) -> None:
    """A folder of something else is refused for what it lacks."""
    with pytest.raises(UsageError, match=r"no config\.json"):
        HuggingFace(parse(f"hf:{tmp_path}"))


def test_pickled_weights_are_not_read(folder: Path) -> None:
    """A folder with pickled weights alone is refused, and says why."""
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(UsageError, match=r"no safetensors weights.*pickled"):
        HuggingFace(parse(f"hf:{folder}"))


def test_half_a_model_is_not_filled_in(folder: Path) -> None:
    """A trunk without its head would be completed at random: it is refused by the name of what it lacks."""
    AutoModel.from_pretrained(folder).save_pretrained(folder)
    with pytest.raises(UsageError, match=r"lack lm_head\.weight: it has to be a whole causal language model"):
        HuggingFace(parse(f"hf:{folder}"))


def test_code_in_a_model_is_not_run(folder: Path) -> None:
    """A model that brings its own code is refused, and the code is not run."""
    config = (folder / "config.json").read_text()
    auto = '"auto_map": {"AutoConfig": "own.Own", "AutoModelForCausalLM": "own.Model"}, "model_type": "own"'
    (folder / "config.json").write_text(config.replace('"model_type": "llama"', auto))
    (folder / "own.py").write_text("raise SystemExit('it was run')")
    with pytest.raises(UsageError, match="can't be loaded"):
        HuggingFace(parse(f"hf:{folder}"))


def test_a_tokenizer_that_is_missing(folder: Path) -> None:
    """A model without its tokenizer is a sentence."""
    for path in folder.glob("tokenizer*"):
        path.unlink()
    with pytest.raises(UsageError, match=r"tokenizer in .* can't be loaded") as error:
        HuggingFace(parse(f"hf:{folder}"))
    assert "\n" not in str(error.value)


def test_tied_heads_are_whole(tmp_path: Path) -> None:
    """A model whose head is its embedding has no weights of its own for it, and lacks nothing."""
    where = local.save(tmp_path / "m", "gpt2-lm")
    assert AutoModelForCausalLM.from_pretrained(where).config.tie_word_embeddings
    assert HuggingFace(parse(f"hf:{where}")).name.digest is not None
