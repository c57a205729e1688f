"""The same dictionaries through the packages that write them, where those are installed.

They are no dependencies: `pip install sae-lens eai-sparsify dictionary-learning` in an environment apart.
"""

from __future__ import annotations

import importlib
import json
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

from exegete.subjects.dictionaries import open_dictionary
from tests.subjects.dictionary_files import FEATURES, OUT, WIDTH, K, inputs

pytestmark = pytest.mark.filterwarnings("ignore")


def official(name: str) -> Any:
    """A package, or a skipped test."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return importlib.import_module(name)
        except ImportError as error:
            pytest.skip(f"{name} is not installed ({error})")


def scatter(module: torch.nn.Module) -> torch.nn.Module:
    """Random values in every weight and threshold, biases included."""
    torch.manual_seed(3)
    for name, tensor in module.state_dict().items():
        if tensor.is_floating_point():
            fresh = torch.randn_like(tensor)
            tensor.copy_(fresh.abs() + 0.2 if "threshold" in name else fresh)
    return module


def assert_same(folder: Path, theirs: torch.Tensor, acts: torch.Tensor) -> None:
    """Our reading of a folder is their encoding."""
    ours = open_dictionary(str(folder))
    assert 0 < int((theirs > 0).sum()) < theirs.numel()
    torch.testing.assert_close(ours.encode(acts, torch.arange(ours.n_features)), theirs, rtol=1e-4, atol=1e-5)
    token, feature, value = ours.fire(acts)
    fired = torch.zeros_like(theirs)
    fired[token, feature] = value
    torch.testing.assert_close(fired, theirs, rtol=1e-4, atol=1e-5)


SAELENS = (
    ("standard", {}),
    ("topk", {"k": K}),
    ("topk", {"k": K, "rescale_acts_by_decoder_norm": True}),
    ("jumprelu", {}),
    ("gated", {}),
    *((a, {"d_out": OUT}) for a in ("transcoder", "skip_transcoder")),
    *((f"jumprelu_{a}", {"d_out": OUT}) for a in ("transcoder", "skip_transcoder")),
)


@pytest.mark.parametrize("norm", ["none", "layer_norm", "constant_norm_rescale", "expected_average_only_in"])
@pytest.mark.parametrize(("architecture", "more"), SAELENS)
def test_saelens(architecture: str, more: dict[str, Any], norm: str, tmp_path: Path) -> None:
    """A model that SAELens saves encodes as it does there."""
    registry = official("sae_lens.registry")
    official("sae_lens")
    sae_class, config_class = registry.get_sae_class(architecture)
    subtracts = "transcoder" not in architecture
    config = config_class(
        d_in=WIDTH, d_sae=FEATURES, apply_b_dec_to_input=subtracts, normalize_activations=norm, **more
    )
    sae = scatter(sae_class(config))
    sae.save_model(tmp_path)
    with torch.no_grad():
        assert_same(tmp_path, sae.encode(inputs()), inputs())


@pytest.mark.parametrize("rescales", [False, True])
@pytest.mark.parametrize("architecture", ["batchtopk", "matryoshka_batchtopk"])
def test_saelens_checkpoints(architecture: str, rescales: bool, tmp_path: Path) -> None:
    """A training checkpoint encodes as the model that SAELens saves at the end of training."""
    registry = official("sae_lens.registry")
    sae_lens = official("sae_lens")
    sae_class, config_class = registry.get_sae_training_class(architecture)
    widths = {"matryoshka_widths": [5, FEATURES]} if "matryoshka" in architecture else {}
    config = config_class(d_in=WIDTH, d_sae=FEATURES, k=K, rescale_acts_by_decoder_norm=rescales, **widths)
    sae = scatter(sae_class(config))
    sae.save_model(tmp_path / "checkpoint")
    sae.save_inference_model(tmp_path / "final")
    final = sae_lens.SAE.load_from_disk(tmp_path / "final")
    with torch.no_grad():
        theirs = final.encode(inputs())
    assert_same(tmp_path / "checkpoint", theirs, inputs())
    assert_same(tmp_path / "final", theirs, inputs())


@pytest.mark.parametrize("topk", [False, True])
def test_saelens_before_6(topk: bool, tmp_path: Path) -> None:
    """SAELens reads a config of before 6.0 as we do."""
    registry = official("sae_lens.registry")
    sae_lens = official("sae_lens")
    sae_class, config_class = registry.get_sae_class("standard")
    scatter(sae_class(config_class(d_in=WIDTH, d_sae=FEATURES))).save_model(tmp_path)
    flat = {"d_in": WIDTH, "d_sae": FEATURES, "dtype": "float32", "hook_point": "blocks.8.hook_resid_pre"}
    flat |= {"activation_fn_str": "topk", "activation_fn_kwargs": {"k": K}} if topk else {}
    (tmp_path / "cfg.json").write_text(json.dumps(flat))
    with torch.no_grad():
        assert_same(tmp_path, sae_lens.SAE.load_from_disk(tmp_path).encode(inputs()), inputs())


@pytest.mark.parametrize("activation", ["topk", "groupmax"])
@pytest.mark.parametrize("transcode", [False, True])
def test_sparsify(transcode: bool, activation: str, tmp_path: Path) -> None:
    """A coder that sparsify saves encodes as it does there."""
    sparsify = official("sparsify")
    config = sparsify.SparseCoderConfig(
        num_latents=FEATURES, k=K, transcode=transcode, skip_connection=transcode, activation=activation
    )
    coder = scatter(sparsify.SparseCoder(WIDTH, config))
    coder.save_to_disk(tmp_path / "layers.1")
    with torch.no_grad():
        top = coder.encode(inputs())
    theirs = torch.zeros(len(inputs()), FEATURES).scatter_(-1, top.top_indices, top.top_acts)
    assert_same(tmp_path / "layers.1", theirs, inputs())


DICTIONARIES = {
    "AutoEncoder": ("dictionary_learning.dictionary", {}),
    "AutoEncoderNew": ("dictionary_learning.dictionary", {}),
    "GatedAutoEncoder": ("dictionary_learning.dictionary", {}),
    "JumpReluAutoEncoder": ("dictionary_learning.dictionary", {}),
    "AutoEncoderTopK": ("dictionary_learning.trainers.top_k", {"k": K}),
    "BatchTopKSAE": ("dictionary_learning.trainers.batch_top_k", {"k": K}),
    "MatryoshkaBatchTopKSAE": (
        "dictionary_learning.trainers.matryoshka_batch_top_k",
        {"k": K, "group_sizes": [5, 15]},
    ),
}


@pytest.mark.parametrize("kind", DICTIONARIES)
def test_dictionary_learning(kind: str, tmp_path: Path) -> None:
    """An autoencoder of dictionary_learning, saved as its trainers do, encodes as it does there."""
    module, more = DICTIONARIES[kind]
    autoencoder = scatter(getattr(official(module), kind)(WIDTH, FEATURES, **more))
    torch.save(autoencoder.state_dict(), tmp_path / "ae.pt")
    trainer = {"dict_class": kind, "activation_dim": WIDTH, "dict_size": FEATURES, "k": K}
    (tmp_path / "config.json").write_text(json.dumps({"trainer": trainer}))
    with torch.no_grad():
        assert_same(tmp_path, autoencoder.encode(inputs()), inputs())
