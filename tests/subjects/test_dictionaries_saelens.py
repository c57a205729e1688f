"""SAELens' architectures, each against its formula token by token in plain Python."""

from __future__ import annotations

import math
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from exegete.subjects.dictionaries import dictionary_origin, open_dictionary
from exegete.subjects.origin import Needs
from tests.subjects.dictionary_files import (
    FEATURES,
    OUT,
    STANDARD,
    WIDTH,
    K,
    above,
    arrays,
    assert_encodes,
    inputs,
    largest,
    minus,
    plain_standard,
    product,
    relu,
    saelens_6,
    save_saelens,
)

TRANSCODER = STANDARD | {"W_dec": (FEATURES, OUT), "b_dec": (OUT,)}


def layer_norm(x: list[float]) -> list[float]:
    mean, deviation = statistics.fmean(x), statistics.stdev(x)
    return [(v - mean) / (deviation + 1e-5) for v in x]


def rescale(x: list[float]) -> list[float]:
    length = math.sqrt(math.fsum(v * v for v in x))
    return [v * math.sqrt(len(x)) / length for v in x]


NORMS = {
    "none": list,
    "layer_norm": layer_norm,
    "constant_norm_rescale": rescale,
    "expected_average_only_in": list,
}


@pytest.mark.parametrize("subtracts", [True, False])
@pytest.mark.parametrize("norm", NORMS)
def test_standard(norm: str, subtracts: bool, tmp_path: Path) -> None:
    """relu(p), with every normalisation, and with or without the decoder's bias taken off the input."""
    w = arrays(STANDARD)
    config = saelens_6("standard", normalize_activations=norm, apply_b_dec_to_input=subtracts)

    def encode(x: list[float]) -> list[float]:
        x = NORMS[norm](x)
        return relu(product(minus(x, w["b_dec"]) if subtracts else x, w["W_enc"], w["b_enc"]))

    assert_encodes(open_dictionary(str(save_saelens(tmp_path / "sae", config, w))), encode, inputs())


@pytest.mark.parametrize("rescales", [False, True])
def test_topk(rescales: bool, tmp_path: Path) -> None:
    """relu at the k largest, which rescaling by the decoder's norms changes; the rows are then normed."""
    w = arrays(STANDARD)
    norms = [math.hypot(*row) for row in w["W_dec"].tolist()]
    config = saelens_6("topk", k=K, rescale_acts_by_decoder_norm=rescales)

    def encode(x: list[float]) -> list[float]:
        p = product(minus(x, w["b_dec"]), w["W_enc"], w["b_enc"])
        return largest([v * n for v, n in zip(p, norms, strict=True)] if rescales else p, K)

    dictionary = open_dictionary(str(save_saelens(tmp_path / "sae", config, w)))
    assert_encodes(dictionary, encode, inputs())
    rows = dictionary.decode_rows(torch.tensor([3, 1]))
    expected = w["W_dec"][[3, 1]] / (np.asarray(norms)[[3, 1], None] if rescales else 1)
    np.testing.assert_allclose(rows, expected, rtol=1e-5)


def test_topk_of_fewer_than_k_positive(tmp_path: Path) -> None:
    """Where fewer than k are above 0, the others of the k largest are 0 and do not fire."""
    w = arrays(STANDARD)
    w["b_enc"] -= 3
    folder = save_saelens(tmp_path / "sae", saelens_6("topk", k=FEATURES // 2), w)
    assert_encodes(
        open_dictionary(str(folder)),
        lambda x: largest(product(minus(x, w["b_dec"]), w["W_enc"], w["b_enc"]), FEATURES // 2),
        inputs(),
    )


@pytest.mark.parametrize("architecture", ["jumprelu", "batchtopk", "matryoshka_batchtopk"])
def test_jumprelu(architecture: str, tmp_path: Path) -> None:
    """relu(p) above each feature's threshold, or above one in a training checkpoint (in float64)."""
    shapes = STANDARD | ({"threshold": (FEATURES,)} if architecture == "jumprelu" else {"topk_threshold": ()})
    w = arrays(shapes)
    w |= {name: np.asarray(v, dtype=np.float64) for name, v in w.items() if name == "topk_threshold"}
    threshold = w.get("threshold", np.full(FEATURES, float(w.get("topk_threshold", 0))))

    def pre(x: list[float]) -> list[float]:
        return product(minus(x, w["b_dec"]), w["W_enc"], w["b_enc"])

    every = [v for row in inputs() for v in zip(pre(row.tolist()), threshold.tolist(), strict=True)]
    assert any(0 < p <= t for p, t in every), "no activation is cut off by a threshold"
    dictionary = open_dictionary(str(save_saelens(tmp_path / "sae", saelens_6(architecture), w)))
    assert_encodes(dictionary, lambda x: above(pre(x), threshold.tolist()), inputs())


def test_gated(tmp_path: Path) -> None:
    """relu(x'(W·e^r_mag) + b_mag) where x'W + b_gate is above 0."""
    shapes = {name: shape for name, shape in STANDARD.items() if name != "b_enc"}
    w = arrays(shapes | dict.fromkeys(("b_gate", "b_mag", "r_mag"), (FEATURES,)))

    closed: list[bool] = []

    def encode(x: list[float]) -> list[float]:
        x = minus(x, w["b_dec"])
        gate = product(x, w["W_enc"], w["b_gate"])
        magnitude = relu(product(x, w["W_enc"] * np.exp(w["r_mag"]), w["b_mag"]))
        closed.extend(g <= 0 < m for g, m in zip(gate, magnitude, strict=True))
        return [m if g > 0 else 0.0 for g, m in zip(gate, magnitude, strict=True)]

    assert_encodes(
        open_dictionary(str(save_saelens(tmp_path / "sae", saelens_6("gated"), w))), encode, inputs()
    )
    assert any(closed), "every gate is open: the gating shows nothing"


@pytest.mark.parametrize("skip", ["", "skip_"])
@pytest.mark.parametrize("jump", ["", "jumprelu_"])
def test_transcoders(jump: str, skip: str, tmp_path: Path) -> None:
    """A transcoder takes nothing off its input, and its rows are as wide as its output."""
    shapes = (
        TRANSCODER | ({"threshold": (FEATURES,)} if jump else {}) | ({"W_skip": (OUT, WIDTH)} if skip else {})
    )
    w = arrays(shapes)
    config = saelens_6(f"{jump}{skip}transcoder", d_out=OUT, apply_b_dec_to_input=False)
    config["metadata"] |= {"hook_name": "blocks.1.mlp.hook_in", "hook_name_out": "blocks.1.hook_mlp_out"}

    def encode(x: list[float]) -> list[float]:
        p = product(x, w["W_enc"], w["b_enc"])
        return above(p, w["threshold"].tolist()) if jump else relu(p)

    dictionary = open_dictionary(str(save_saelens(tmp_path / "sae", config, w)))
    assert_encodes(dictionary, encode, inputs())
    assert (dictionary.origin.site, dictionary.origin.site_out) == (
        "blocks.1.mlp.hook_in",
        "blocks.1.hook_mlp_out",
    )
    rows = dictionary.decode_rows(torch.tensor([0]))
    assert rows is not None
    assert rows.tolist() == w["W_dec"][:1].tolist()


def test_transcoder_that_claims_to_subtract(tmp_path: Path) -> None:
    """Nothing is taken off a transcoder's input, even where its bias is as wide and its config says so."""
    w = arrays(STANDARD)
    folder = save_saelens(tmp_path / "sae", saelens_6("transcoder", apply_b_dec_to_input=True), w)
    assert_encodes(open_dictionary(str(folder)), lambda x: relu(product(x, w["W_enc"], w["b_enc"])), inputs())


@pytest.mark.parametrize("sign", [1, -1])
def test_thresholds_below_0(sign: int, tmp_path: Path) -> None:
    """A threshold below 0, or one that was never set, lets nothing below 0 through."""
    w = arrays(STANDARD | {"threshold": (FEATURES,)})
    w["threshold"] *= sign
    dictionary = open_dictionary(str(save_saelens(tmp_path / "sae", saelens_6("jumprelu"), w)))
    threshold = w["threshold"].tolist()
    assert_encodes(
        dictionary,
        lambda x: above(product(minus(x, w["b_dec"]), w["W_enc"], w["b_enc"]), threshold),
        inputs(),
    )


FLAT: dict[str, Any] = {
    "d_in": WIDTH,
    "d_sae": FEATURES,
    "model_name": "gpt2-small",
    "hook_point": "blocks.8.hook_resid_pre",
    "hook_point_layer": 8,
    "hook_point_head_index": None,
    "context_size": 128,
    "dataset_path": "Skylion007/openwebtext",
    "l1_coefficient": 8e-05,
}


def test_before_6(tmp_path: Path) -> None:
    """A flat config: names of its own, and what it leaves out was done (standard, the subtraction, BOS)."""
    w = arrays(STANDARD)
    dictionary = open_dictionary(str(save_saelens(tmp_path / "sae", FLAT, w)))
    assert_encodes(
        dictionary, lambda x: relu(product(minus(x, w["b_dec"]), w["W_enc"], w["b_enc"])), inputs()
    )
    assert dictionary.origin.site == "blocks.8.hook_resid_pre"
    assert dictionary.origin.model == "gpt2-small"
    assert dictionary.origin.needs == Needs(prepend_bos=True)


def test_topk_before_6(tmp_path: Path) -> None:
    """Before 6.0 topk was an activation function, whatever the architecture was called."""
    w = arrays(STANDARD)
    config = FLAT | {
        "architecture": "standard",
        "activation_fn_str": "topk",
        "activation_fn_kwargs": {"k": K},
        "apply_b_dec_to_input": False,
        "prepend_bos": False,
        "normalize_activations": "layer_norm",
        "sae_lens_training_version": "3.13.0",
    }
    dictionary = open_dictionary(str(save_saelens(tmp_path / "sae", config, w)))
    assert_encodes(dictionary, lambda x: largest(product(layer_norm(x), w["W_enc"], w["b_enc"]), K), inputs())
    assert dictionary.origin.needs.prepend_bos is False


@pytest.mark.parametrize(("said", "notes"), [(True, 1), (False, 0), (None, 0)])
def test_normalisation_before_6(said: bool | None, notes: int, tmp_path: Path) -> None:
    """Whether inputs were normalised was yes or no: yes meant a factor that was folded, or is missing."""
    w = arrays(STANDARD)
    folder = save_saelens(tmp_path / "sae", FLAT | {"normalize_activations": said}, w)
    dictionary = open_dictionary(str(folder))
    assert_encodes(
        dictionary, lambda x: relu(product(minus(x, w["b_dec"]), w["W_enc"], w["b_enc"])), inputs()
    )
    assert len(dictionary.origin.notes) == notes


@pytest.mark.parametrize(
    ("name", "hook", "kwargs", "centred"),
    [
        ("sae", "blocks.8.hook_resid_pre", None, False),
        ("sae", "blocks.8.hook_resid_pre", {"center_writing_weights": False}, False),
        ("sae", "blocks.8.hook_resid_pre", {"center_writing_weights": True}, True),
        ("sae", "blocks.8.hook_mlp_out", {"center_writing_weights": True}, True),
        ("sae", "blocks.8.attn.hook_z", {"center_writing_weights": True}, False),
        ("GPT2-Small-SAEs-Reformatted/blocks.8.hook_resid_pre", "blocks.8.hook_resid_pre", None, True),
    ],
)
def test_centred(name: str, hook: str, kwargs: dict[str, Any] | None, centred: bool, tmp_path: Path) -> None:
    """Inputs are centred where the model's writes to the stream were: by the config, or known by its name."""
    w = arrays(STANDARD)
    config = FLAT | {"hook_point": hook, "model_from_pretrained_kwargs": kwargs}

    def encode(x: list[float]) -> list[float]:
        x = [v - statistics.fmean(x) for v in x] if centred else x
        return relu(product(minus(x, w["b_dec"]), w["W_enc"], w["b_enc"]))

    dictionary = open_dictionary(str(save_saelens(tmp_path / name, config, w)))
    assert dictionary.origin.needs.centred is centred
    assert_encodes(dictionary, encode, inputs())


def test_one_head(tmp_path: Path) -> None:
    """A dictionary of one head reads that head's part of the concatenated heads."""
    w = arrays(STANDARD)
    config = saelens_6("standard")
    config["metadata"] |= {"hook_name": "blocks.1.attn.hook_z", "hook_head_index": 2}
    dictionary = open_dictionary(str(save_saelens(tmp_path / "sae", config, w)), width=4 * WIDTH)

    def encode(x: list[float]) -> list[float]:
        return relu(product(minus(x[2 * WIDTH : 3 * WIDTH], w["b_dec"]), w["W_enc"], w["b_enc"]))

    assert_encodes(dictionary, encode, inputs(width=4 * WIDTH))


def test_origin(tmp_path: Path) -> None:
    """What the config says of its making is kept, and is had without the weights."""
    folder = plain_standard(tmp_path / "sae")
    said = open_dictionary(str(folder)).origin
    (folder / "sae_weights.safetensors").write_bytes(b"")
    assert dictionary_origin(str(folder)) == said
    assert (said.site, said.site_out, said.model) == ("blocks.1.hook_resid_post", None, "gpt2-small")
    assert said.metadata == {
        "format": "saelens",
        "architecture": "standard",
        "model_name": "gpt2-small",
        "hook_name": "blocks.1.hook_resid_post",
        "prepend_bos": True,
        "context_size": 128,
        "dataset_path": "Skylion007/openwebtext",
        "neuronpedia_id": "gpt2-small/1-test",
        "sae_lens_version": "6.54.12",
    }


def test_module_path_before_hook_name(tmp_path: Path) -> None:
    """Where a config names the Hugging Face module too, that is the site: it can't be read in two ways."""
    config = saelens_6("standard")
    config["metadata"] |= {"hf_hook_name": "model.layers.1.output", "exclude_special_tokens": True}
    said = dictionary_origin(str(save_saelens(tmp_path / "sae", config, arrays(STANDARD))))
    assert said.site == "model.layers.1.output"
    assert said.needs.exclude_special_tokens
