"""Small dictionaries with random weights, in the files of whoever would have saved them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

from exegete.subjects.dictionaries import Dictionary

WIDTH, FEATURES, OUT, K, TOKENS = 6, 20, 5, 4, 9
Arrays = dict[str, NDArray[np.float32]]
Encode = Callable[[list[float]], list[float]]
"""A token's input to its features, in plain Python."""


def arrays(shapes: Mapping[str, Sequence[int]], seed: int = 0) -> Arrays:
    """Random weights; thresholds are above 0, and decoders' rows of different lengths."""
    rng = np.random.default_rng(seed)
    made = {name: np.asarray(rng.normal(size=tuple(shape)), np.float32) for name, shape in shapes.items()}
    return {
        name: np.asarray(abs(v) + 0.2, np.float32) if "threshold" in name else v for name, v in made.items()
    }


def inputs(n: int = TOKENS, width: int = WIDTH) -> torch.Tensor:
    """(n, width) activations of a site, whose mean and scale are nothing special."""
    rng = np.random.default_rng(1)
    return torch.from_numpy(rng.normal(0.4, 1.7, size=(n, width)).astype(np.float32))


def tensors(values: Arrays) -> dict[str, torch.Tensor]:
    return {name: torch.tensor(v) for name, v in values.items()}


def save_saelens(folder: Path, config: Mapping[str, Any], values: Arrays) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cfg.json").write_text(json.dumps(config))
    save_file(tensors(values), folder / "sae_weights.safetensors")
    return folder


def save_sparsify(folder: Path, config: Mapping[str, Any], values: Arrays) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cfg.json").write_text(json.dumps({"d_in": WIDTH, "num_latents": FEATURES, "k": K, **config}))
    save_file(tensors(values), folder / "sae.safetensors")
    return folder


def save_dictionary_learning(folder: Path, trainer: Mapping[str, Any], state: Mapping[str, Any]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    sizes = {"activation_dim": WIDTH, "dict_size": FEATURES}
    (folder / "config.json").write_text(
        json.dumps({"trainer": {**sizes, **trainer}, "buffer": {"ctx_len": 128}})
    )
    torch.save(dict(state), folder / "ae.pt")
    return folder


STANDARD = {"W_enc": (WIDTH, FEATURES), "b_enc": (FEATURES,), "W_dec": (FEATURES, WIDTH), "b_dec": (WIDTH,)}


def saelens_6(architecture: str, **more: Any) -> dict[str, Any]:
    """A config as SAELens 6 saves it."""
    return {
        "d_in": WIDTH,
        "d_sae": FEATURES,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": True,
        "normalize_activations": "none",
        "reshape_activations": "none",
        "metadata": {
            "sae_lens_version": "6.54.12",
            "model_name": "gpt2-small",
            "hook_name": "blocks.1.hook_resid_post",
            "hook_head_index": None,
            "prepend_bos": True,
            "context_size": 128,
            "dataset_path": "Skylion007/openwebtext",
            "neuronpedia_id": "gpt2-small/1-test",
        },
        "architecture": architecture,
        **more,
    }


def plain_standard(folder: Path, **more: Any) -> Path:
    """A standard autoencoder of SAELens, when any will do."""
    return save_saelens(folder, saelens_6("standard", **more), arrays(STANDARD))


def product(x: Sequence[float], matrix: NDArray[np.float32], bias: Sequence[float]) -> list[float]:
    """x W + b for a matrix (d, F), one feature and one channel at a time."""
    rows, columns = matrix.shape
    return [
        math.fsum(x[i] * float(matrix[i, f]) for i in range(rows)) + float(bias[f]) for f in range(columns)
    ]


def minus(x: Sequence[float], bias: NDArray[np.float32]) -> list[float]:
    return [a - float(b) for a, b in zip(x, bias, strict=True)]


def relu(p: Sequence[float]) -> list[float]:
    return [max(0.0, v) for v in p]


def above(p: Sequence[float], threshold: Sequence[float]) -> list[float]:
    """JumpReLU."""
    return [max(0.0, v) if v > float(t) else 0.0 for v, t in zip(p, threshold, strict=True)]


def largest(p: Sequence[float], k: int) -> list[float]:
    """relu at the k largest."""
    kept = sorted(range(len(p)), key=lambda f: -p[f])[:k]
    return [max(0.0, v) if f in kept else 0.0 for f, v in enumerate(p)]


def assert_encodes(dictionary: Dictionary, encode: Encode, acts_ND: torch.Tensor) -> None:
    """What a dictionary encodes and fires is what the formula gives, token by token."""
    expected = torch.tensor([encode(row.double().tolist()) for row in acts_ND])
    n, n_features = expected.shape
    assert (n_features, dictionary.sparse) == (dictionary.n_features, True)
    firing = int((expected > 0).sum())
    assert 0 < firing < expected.numel(), "a formula that never or always fires shows nothing"
    close = {"rtol": 1e-4, "atol": 1e-5}

    every = dictionary.encode(acts_ND, torch.arange(n_features))
    torch.testing.assert_close(every, expected, **close)
    assert bool(((every == 0) == (expected == 0)).all())
    some = torch.tensor([7, 2, n_features - 1, 2])
    blocks = dictionary.encode(acts_ND.reshape(3, n // 3, -1), some)
    torch.testing.assert_close(blocks, expected[:, some].reshape(3, n // 3, 4), **close)

    token, feature, value = dictionary.fire(acts_ND)
    where = [(t, f) for t in range(n) for f in range(n_features) if expected[t, f] > 0]
    assert list(zip(token.tolist(), feature.tolist(), strict=True)) == where
    torch.testing.assert_close(value, torch.stack([expected[t, f] for t, f in where]), **close)
    assert (token.dtype, feature.dtype, value.dtype) == (torch.int64, torch.int64, torch.float32)
