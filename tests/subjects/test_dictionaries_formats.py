"""sparsify, dictionary_learning, Gemma Scope and directions, each against its formula in plain Python."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from exegete.subjects import directions
from exegete.subjects.dictionaries import dictionary_origin, open_dictionary
from exegete.subjects.origin import Needs
from tests.subjects.dictionary_files import (
    FEATURES,
    OUT,
    STANDARD,
    WIDTH,
    Arrays,
    Encode,
    K,
    above,
    arrays,
    assert_encodes,
    inputs,
    largest,
    minus,
    product,
    relu,
    save_dictionary_learning,
    save_sparsify,
    tensors,
)

SPARSIFY = {
    "encoder.weight": (FEATURES, WIDTH),
    "encoder.bias": (FEATURES,),
    "W_dec": (FEATURES, WIDTH),
    "b_dec": (WIDTH,),
}


@pytest.mark.parametrize("skip", [False, True])
@pytest.mark.parametrize("transcode", [False, True])
def test_sparsify(transcode: bool, skip: bool, tmp_path: Path) -> None:
    """relu at the k largest of W(x - b_dec) + b; a transcoder takes nothing off; a skip changes none."""
    w = arrays(SPARSIFY | ({"W_skip": (WIDTH, WIDTH)} if skip else {}))
    folder = save_sparsify(
        tmp_path / "layers.1.mlp",
        {"activation": "topk", "transcode": transcode, "skip_connection": skip, "normalize_decoder": True},
        w,
    )

    def encode(x: list[float]) -> list[float]:
        return largest(
            product(x if transcode else minus(x, w["b_dec"]), w["encoder.weight"].T, w["encoder.bias"]), K
        )

    dictionary = open_dictionary(str(folder))
    assert_encodes(dictionary, encode, inputs())
    expected = ("layers.1.mlp.input", "layers.1.mlp") if transcode else ("layers.1.mlp", None)
    assert (dictionary.origin.site, dictionary.origin.site_out) == expected
    rows = dictionary.decode_rows(torch.tensor([5]))
    assert rows is not None
    assert rows.tolist() == w["W_dec"][[5]].tolist()


def test_sparsify_groups(tmp_path: Path) -> None:
    """groupmax: relu at the largest of each of k groups of neighbours."""
    w = arrays(SPARSIFY)
    folder = save_sparsify(tmp_path / "layers.1", {"activation": "groupmax"}, w)

    def encode(x: list[float]) -> list[float]:
        p = product(minus(x, w["b_dec"]), w["encoder.weight"].T, w["encoder.bias"])
        size = FEATURES // K
        best = [max(range(g * size, (g + 1) * size), key=lambda f: p[f]) for g in range(K)]
        return [max(0.0, v) if f in best else 0.0 for f, v in enumerate(p)]

    assert_encodes(open_dictionary(str(folder)), encode, inputs())


@pytest.mark.parametrize(
    ("name", "site"),
    [
        ("layers.10", "layers.10"),
        ("h.0.mlp", "h.0.mlp"),
        ("gpt_neox.layers.3.attention", "gpt_neox.layers.3.attention"),
        ("embed_tokens", "embed_tokens"),
        ("my-sae", None),
        ("v1.0", None),
    ],
)
def test_sparsify_hookpoints(name: str, site: str | None, tmp_path: Path) -> None:
    """The folder's name is the site, when it can be a module's path."""
    folder = save_sparsify(tmp_path / name, {"num_latents": 0, "expansion_factor": 2}, {})
    assert dictionary_origin(str(folder)).site == site


def test_sparsify_size_by_expansion(tmp_path: Path) -> None:
    """Without a number of latents, the expansion factor gives it."""
    sizes = {name: tuple(12 if n == FEATURES else n for n in shape) for name, shape in SPARSIFY.items()}
    folder = save_sparsify(tmp_path / "sae", {"num_latents": 0, "expansion_factor": 2}, arrays(sizes))
    assert open_dictionary(str(folder)).n_features == 12


LINEAR = {
    "encoder.weight": (FEATURES, WIDTH),
    "encoder.bias": (FEATURES,),
    "decoder.weight": (WIDTH, FEATURES),
}


def _gated(w: Arrays) -> Encode:
    def encode(x: list[float]) -> list[float]:
        p = product(minus(x, w["decoder_bias"]), w["encoder.weight"].T, [0.0] * FEATURES)
        gain = [math.exp(float(r)) for r in w["r_mag"]]
        magnitude = relu([v * g + float(b) for v, g, b in zip(p, gain, w["mag_bias"], strict=True)])
        return [m if v + float(b) > 0 else 0.0 for v, b, m in zip(p, w["gate_bias"], magnitude, strict=True)]

    return encode


def _linear(w: Arrays, bias: str | None, x: list[float]) -> list[float]:
    return product(x if bias is None else minus(x, w[bias]), w["encoder.weight"].T, w["encoder.bias"])


def _plain(w: Arrays, subtracts: bool, x: list[float]) -> list[float]:
    return product(minus(x, w["b_dec"]) if subtracts else x, w["W_enc"], w["b_enc"])


GATED = {
    "encoder.weight": (FEATURES, WIDTH),
    "decoder.weight": (WIDTH, FEATURES),
    "decoder_bias": (WIDTH,),
    **dict.fromkeys(("r_mag", "gate_bias", "mag_bias"), (FEATURES,)),
}
BIASED = LINEAR | {"b_dec": (WIDTH,)}
CLASSES: dict[str, tuple[dict[str, Any], Any]] = {
    "AutoEncoder": (LINEAR | {"bias": (WIDTH,)}, lambda w: lambda x: relu(_linear(w, "bias", x))),
    "AutoEncoderNew": (LINEAR | {"decoder.bias": (WIDTH,)}, lambda w: lambda x: relu(_linear(w, None, x))),
    "GatedAutoEncoder": (GATED, _gated),
    "AutoEncoderTopK": (BIASED, lambda w: lambda x: largest(_linear(w, "b_dec", x), K)),
    "BatchTopKSAE": (
        BIASED | {"threshold": ()},
        lambda w: lambda x: above(_linear(w, "b_dec", x), [float(w["threshold"])] * FEATURES),
    ),
    "MatryoshkaBatchTopKSAE": (
        STANDARD | {"threshold": ()},
        lambda w: lambda x: above(_plain(w, True, x), [float(w["threshold"])] * FEATURES),
    ),
    "JumpReluAutoEncoder": (
        STANDARD | {"threshold": (FEATURES,)},
        lambda w: lambda x: above(_plain(w, False, x), w["threshold"].tolist()),
    ),
}
EXTRA: dict[str, dict[str, Any]] = {
    "AutoEncoderTopK": {"k": torch.tensor(K, dtype=torch.int), "threshold": torch.tensor(-1.0)},
    "BatchTopKSAE": {"k": torch.tensor(K, dtype=torch.int)},
    "MatryoshkaBatchTopKSAE": {"k": torch.tensor(K, dtype=torch.int), "group_sizes": torch.tensor([5, 15])},
}


@pytest.mark.parametrize("kind", CLASSES)
def test_dictionary_learning(kind: str, tmp_path: Path) -> None:
    """Every class by its formula, with the buffers that its state dict holds beside its weights."""
    shapes, formula = CLASSES[kind]
    w = arrays(shapes)
    trainer = {"dict_class": kind, "k": K, "layer": 3, "lm_name": "EleutherAI/pythia-70m-deduped"}
    trainer |= {"submodule_name": "resid_post_layer_3"}
    folder = save_dictionary_learning(tmp_path / "trainer_0", trainer, tensors(w) | EXTRA.get(kind, {}))
    dictionary = open_dictionary(str(folder))
    assert_encodes(dictionary, formula(w), inputs())
    decoder = w["W_dec"] if "W_dec" in w else w["decoder.weight"].T
    rows = dictionary.decode_rows(torch.tensor([4, 0]))
    assert rows is not None
    assert rows.tolist() == decoder[[4, 0]].tolist()
    assert dictionary.origin.site == "blocks.3.hook_resid_post"
    assert dictionary.origin.model == "EleutherAI/pythia-70m-deduped"
    assert dictionary.origin.metadata["architecture"] == kind


@pytest.mark.parametrize(
    ("more", "site"),
    [
        ({"layer": 2, "submodule_name": "mlp_out_layer_2"}, "blocks.2.hook_mlp_out"),
        ({"layer": 2, "submodule_name": "something"}, None),
        ({"layer": 2}, None),
        ({"submodule_name": "resid_post_layer_2"}, None),
    ],
)
def test_dictionary_learning_sites(more: dict[str, Any], site: str | None, tmp_path: Path) -> None:
    """A site is read from the submodule's name and the layer, and never guessed from one of them."""
    folder = save_dictionary_learning(tmp_path / "ae", {"dict_class": "AutoEncoder", **more}, {})
    assert dictionary_origin(str(folder)).site == site


def save_npz(folder: Path, values: Arrays) -> Path:
    folder.mkdir(parents=True)
    np.savez(folder / "params.npz", **values)
    return folder


@pytest.mark.parametrize("case", ["W_", "w_"])
def test_gemma_scope(case: str, tmp_path: Path) -> None:
    """JumpReLU, with nothing taken off the input; the arrays' names in either case."""
    w = arrays(STANDARD | {"threshold": (FEATURES,)})
    folder = tmp_path / "gemma-scope-2b-pt-res" / "layer_20" / "width_16k" / "average_l0_71"
    dictionary = open_dictionary(str(save_npz(folder, {n.replace("W_", case): v for n, v in w.items()})))
    assert_encodes(dictionary, lambda x: above(_plain(w, False, x), w["threshold"].tolist()), inputs())
    assert dictionary.origin.site == "blocks.20.hook_resid_post"
    assert dictionary.origin.model == "google/gemma-2-2b"
    assert dictionary.origin.needs == Needs(prepend_bos=True)


@pytest.mark.parametrize(
    ("path", "site", "site_out", "model"),
    [
        (
            "gemma-scope-9b-it-res/layer_9/width_16k/l0_1",
            "blocks.9.hook_resid_post",
            None,
            "google/gemma-2-9b-it",
        ),
        ("gemma-scope-2b-pt-mlp/layer_3/width_16k/l0_1", "blocks.3.hook_mlp_out", None, "google/gemma-2-2b"),
        ("gemma-scope-2b-pt-att/layer_3/width_16k/l0_1", "blocks.3.attn.hook_z", None, "google/gemma-2-2b"),
        (
            "gemma-scope-2b-pt-transcoders/layer_3/width_16k/l0_1",
            "blocks.3.ln2.hook_normalized",
            "blocks.3.hook_mlp_out",
            "google/gemma-2-2b",
        ),
        ("gemma-scope-2b-pt-res/embedding/width_4k/l0_1", None, None, "google/gemma-2-2b"),
        ("mine/layer_3", None, None, None),
    ],
)
def test_gemma_scope_sites(
    path: str, site: str | None, site_out: str | None, model: str | None, tmp_path: Path
) -> None:
    """The first release has no config: the repository's name and the layer's folder tell the site."""
    said = dictionary_origin(str(save_npz(tmp_path / path, {})))
    assert (said.site, said.site_out, said.model) == (site, site_out, model)


def test_gemma_scope_2(tmp_path: Path) -> None:
    """The second release's autoencoders: the same formula, and a config that names the module."""
    w = arrays(STANDARD | {"threshold": (FEATURES,)})
    save_file({n.replace("W_", "w_"): v for n, v in tensors(w).items()}, tmp_path / "params.safetensors")
    config = {
        "architecture": "jump_relu",
        "model_name": "gemma-v3-4b-pt",
        "hf_hook_point_in": "model.layers.9.output",
    }
    config["hf_hook_point_out"] = "model.layers.9.output"
    (tmp_path / "config.json").write_text(json.dumps(config))
    dictionary = open_dictionary(str(tmp_path))
    assert_encodes(dictionary, lambda x: above(_plain(w, False, x), w["threshold"].tolist()), inputs())
    assert (dictionary.origin.site, dictionary.origin.model) == ("model.layers.9.output", "gemma-v3-4b-pt")
    assert dictionary.origin.site_out is None  # it writes where it reads
    assert dictionary.origin.needs.prepend_bos


@pytest.mark.parametrize("affine", [False, True])
def test_gemma_scope_2_transcoders(affine: bool, tmp_path: Path) -> None:
    """Its transcoders write elsewhere, with or without an affine skip, which changes no feature."""
    shapes = STANDARD | {"W_dec": (FEATURES, OUT), "b_dec": (OUT,), "threshold": (FEATURES,)}
    w = arrays(shapes | ({"affine_skip_connection": (WIDTH, OUT)} if affine else {}))
    save_file({n.replace("W_", "w_"): v for n, v in tensors(w).items()}, tmp_path / "params.safetensors")
    points = {
        "hf_hook_point_in": "model.layers.9.pre_feedforward_layernorm.output",
        "hf_hook_point_out": "model.layers.9.post_feedforward_layernorm.output",
    }
    (tmp_path / "config.json").write_text(json.dumps({"architecture": "jump_relu", **points}))
    dictionary = open_dictionary(str(tmp_path))
    assert_encodes(dictionary, lambda x: above(_plain(w, False, x), w["threshold"].tolist()), inputs())
    assert dictionary.origin.site == points["hf_hook_point_in"]
    assert dictionary.origin.site_out == points["hf_hook_point_out"]
    rows = dictionary.decode_rows(torch.tensor([4]))
    assert rows is not None
    assert rows.shape == (1, OUT)


@pytest.mark.parametrize("tensor", ["", ":probe"])
def test_directions(tensor: str, tmp_path: Path) -> None:
    """A direction's activation is the product with it, of either sign; what fires is what is above 0."""
    w = arrays({"probe": (3, WIDTH), "other": (2, WIDTH)})
    kept = w if tensor else {"probe": w["probe"]}
    save_file(tensors(kept), tmp_path / "found.safetensors")
    dictionary = open_dictionary(f"directions:{tmp_path / 'found.safetensors'}{tensor}", WIDTH)
    assert (dictionary.n_features, dictionary.width, dictionary.sparse) == (3, WIDTH, False)
    assert dictionary.name.startswith("found:probe@")
    acts = inputs()
    expected = [product(row.tolist(), w["probe"].T, [0.0] * 3) for row in acts]
    assert any(v < 0 for row in expected for v in row)
    found = dictionary.encode(acts.reshape(3, 3, WIDTH), torch.tensor([2, 0]))
    torch.testing.assert_close(found, torch.tensor(expected)[:, [2, 0]].reshape(3, 3, 2))
    token, feature, value = dictionary.fire(acts)
    where = [(t, f) for t, row in enumerate(expected) for f, v in enumerate(row) if v > 0]
    assert list(zip(token.tolist(), feature.tolist(), strict=True)) == where
    torch.testing.assert_close(value, torch.tensor([expected[t][f] for t, f in where]))
    rows = dictionary.decode_rows(torch.tensor([1]))
    assert rows is not None
    v = torch.as_tensor(w["probe"][1])
    torch.testing.assert_close(rows, (v / (v @ v))[None])  # adding one raises the product by 1


def test_directions_in_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Few tokens at a time fire what all at once do."""
    save_file(tensors(arrays({"v": (3, WIDTH)})), tmp_path / "v.safetensors")
    dictionary = open_dictionary(f"directions:{tmp_path / 'v.safetensors'}")
    whole = dictionary.fire(inputs())
    monkeypatch.setattr(directions, "CHUNK", 2 * WIDTH)
    for found, expected in zip(dictionary.fire(inputs()), whole, strict=True):
        torch.testing.assert_close(found, expected)


def test_one_direction(tmp_path: Path) -> None:
    """A single vector is a matrix of one row."""
    save_file({"v": torch.arange(4.0)}, tmp_path / "v.safetensors")
    dictionary = open_dictionary(f"directions:{tmp_path / 'v.safetensors'}")
    assert dictionary.encode(torch.ones(2, 4), torch.tensor([0])).tolist() == [[6.0], [6.0]]
