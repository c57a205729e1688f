"""One whole dictionary of every kind of folder, to spoil."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import save_file

from exegete.errors import SubjectError
from exegete.subjects.dictionaries import open_dictionary
from tests.subjects.dictionary_files import (
    FEATURES,
    STANDARD,
    WIDTH,
    K,
    arrays,
    saelens_6,
    save_dictionary_learning,
    save_saelens,
    save_sparsify,
    tensors,
)

LINEAR = {"encoder.weight": (FEATURES, WIDTH), "encoder.bias": (FEATURES,)}


def refused(spec: str | Path, width: int | None = None) -> str:
    """The one sentence that opening ends in."""
    with pytest.raises(SubjectError) as caught:
        open_dictionary(str(spec), width)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def saelens(folder: Path) -> Path:
    config = saelens_6("topk", k=K)
    return save_saelens(folder, config, arrays(STANDARD))


def sparsify(folder: Path) -> Path:
    return save_sparsify(folder, {}, arrays(LINEAR | {"W_dec": (FEATURES, WIDTH), "b_dec": (WIDTH,)}))


def dictionary_learning(folder: Path) -> Path:
    state = arrays(LINEAR | {"decoder.weight": (WIDTH, FEATURES), "b_dec": (WIDTH,)})
    return save_dictionary_learning(folder, {"dict_class": "AutoEncoderTopK", "k": K}, tensors(state))


def gemma_scope(folder: Path) -> Path:
    folder.mkdir(parents=True)
    np.savez(folder / "params.npz", **arrays(STANDARD | {"threshold": (FEATURES,)}))
    return folder


def gemma_scope_2(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"architecture": "jump_relu"}))
    save_file(tensors(arrays(STANDARD | {"threshold": (FEATURES,)})), folder / "params.safetensors")
    return folder


KINDS: dict[str, tuple[Callable[[Path], Path], str, str]] = {
    "saelens": (saelens, "cfg.json", "sae_weights.safetensors"),
    "sparsify": (sparsify, "cfg.json", "sae.safetensors"),
    "dictionary_learning": (dictionary_learning, "config.json", "ae.pt"),
    "gemma_scope": (gemma_scope, "", "params.npz"),
    "gemma_scope_2": (gemma_scope_2, "config.json", "params.safetensors"),
}
CONFIGURED = [kind for kind, (_, config, _) in KINDS.items() if config]
