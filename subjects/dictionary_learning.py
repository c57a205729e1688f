"""dictionary_learning: `ae.pt` and `config.json`, whose `trainer.dict_class` names the class.

    AutoEncoder              relu(W (x - bias) + b)
    AutoEncoderNew           relu(W x + b)
    GatedAutoEncoder         relu(e^r_mag·p + mag_bias) where p + gate_bias > 0, with p = W (x - decoder_bias)
    AutoEncoderTopK          relu(p) at the k largest p, with p = W (x - b_dec) + b
    BatchTopKSAE,            relu(p) where p > threshold, with p = W (x - b_dec) + b
    MatryoshkaBatchTopKSAE
    JumpReluAutoEncoder      relu(p) where p > threshold, with p = W x + b

The library's own loader multiplies an AutoEncoder's features by their decoder norms, which are 1 but for its
April update's trainer; here they stay as they were trained.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from exegete.errors import SubjectError
from exegete.subjects.coder import Encoder, SparseCoder
from exegete.subjects.hub import Place
from exegete.subjects.nonlinearity import Gated, JumpRelu, Nonlinearity, Relu, TopK
from exegete.subjects.origin import Origin
from exegete.subjects.weights import checked, digest, read_config, read_torch, setting, text, whole_k

if TYPE_CHECKING:
    import torch

CONFIG = "config.json"
WEIGHTS: tuple[str, ...] = ("ae.pt",)

Tensors = Mapping[str, "torch.Tensor"]


@dataclass(frozen=True, slots=True)
class _Kind:
    """One class's tensors, and what its encoder takes from them."""

    shapes: Mapping[str, str]
    subtracts: str | None
    """The bias that is taken off the input."""
    nonlinearity: Callable[[Tensors, int], Nonlinearity]
    """From the tensors and k (0 where there is none)."""
    unused: tuple[str, ...] = ()


def _threshold(tensors: Tensors, _: int) -> Nonlinearity:
    n_features = len(tensors["encoder.bias"] if "encoder.bias" in tensors else tensors["b_enc"])
    return JumpRelu(tensors["threshold"].expand(n_features).clone())


_LINEAR = {"encoder.weight": "F d", "encoder.bias": "F", "decoder.weight": "d F"}
_PLAIN = {"W_enc": "d F", "b_enc": "F", "W_dec": "F d", "b_dec": "d"}
_GATED = {
    "encoder.weight": "F d",
    "decoder.weight": "d F",
    "decoder_bias": "d",
    "r_mag": "F",
    "gate_bias": "F",
}
_KINDS: dict[str, _Kind] = {
    "AutoEncoder": _Kind(_LINEAR | {"bias": "d"}, "bias", lambda *_: Relu()),
    "AutoEncoderNew": _Kind(_LINEAR | {"decoder.bias": "d"}, None, lambda *_: Relu()),
    "GatedAutoEncoder": _Kind(
        _GATED | {"mag_bias": "F"},
        "decoder_bias",
        lambda tensors, _: Gated(tensors["gate_bias"], tensors["r_mag"].exp(), tensors["mag_bias"]),
    ),
    "AutoEncoderTopK": _Kind(_LINEAR | {"b_dec": "d"}, "b_dec", lambda _, k: TopK(k), ("k", "threshold")),
    "BatchTopKSAE": _Kind(_LINEAR | {"b_dec": "d", "threshold": ""}, "b_dec", _threshold, ("k",)),
    "MatryoshkaBatchTopKSAE": _Kind(_PLAIN | {"threshold": ""}, "b_dec", _threshold, ("k", "group_sizes")),
    "JumpReluAutoEncoder": _Kind(_PLAIN | {"threshold": "F"}, None, _threshold),
}


def origin(place: Place) -> Origin:
    """Where it belongs, as far as `trainer` says.

    Raises:
        SubjectError: the config is damaged, or of a class that is not known.
    """
    trainer = _trainer(place)
    name, layer = text(trainer, "submodule_name"), trainer.get("layer")
    site = None
    if isinstance(layer, int) and name is not None:
        hooks = {"resid_post": "hook_resid_post", "resid_pre": "hook_resid_pre", "mlp_out": "hook_mlp_out"}
        hook = next((hook for part, hook in hooks.items() if re.search(part, name)), None)
        site = None if hook is None else f"blocks.{layer}.{hook}"
    kept = ("layer", "lm_name", "submodule_name", "trainer_class")
    return Origin(
        site=site,
        model=text(trainer, "lm_name"),
        metadata={"format": "dictionary_learning", "architecture": trainer["dict_class"]}
        | {key: trainer[key] for key in kept if trainer.get(key) is not None},
    )


def read(place: Place) -> SparseCoder:
    """Read the coder.

    Raises:
        SubjectError: the files are damaged, want code run, or are of a class that is not known.
    """
    trainer = _trainer(place)
    kind = _KINDS[trainer["dict_class"]]
    config_path, path = place.folder / CONFIG, place.folder / WEIGHTS[0]
    sizes = {"d": trainer.get("activation_dim"), "F": trainer.get("dict_size")}
    state = read_torch(path)
    known = {name: size for name, size in sizes.items() if isinstance(size, int)}
    tensors = checked(state, kind.shapes, path, known, kind.unused)
    linear = "encoder.weight" in tensors
    W_Fd = tensors["encoder.weight"] if linear else tensors["W_enc"].T.contiguous()
    b_F = tensors.get("encoder.bias", tensors.get("b_enc", W_Fd.new_zeros(len(W_Fd))))
    k = whole_k(trainer, config_path, len(W_Fd)) if trainer["dict_class"] == "AutoEncoderTopK" else 0
    if k and "k" in state and bool((state["k"] != k).any()):
        raise SubjectError(f"{config_path} has k = {k} and {path.name} has another: fetch both again")
    return SparseCoder(
        f"{place.name}@{digest([config_path, path])}",
        origin(place),
        Encoder(W_Fd, b_F, None if kind.subtracts is None else tensors[kind.subtracts]),
        kind.nonlinearity(tensors, k),
        tensors["decoder.weight"].T if linear else tensors["W_dec"],
    )


def _trainer(place: Place) -> dict[str, Any]:
    path = place.folder / CONFIG
    trainer = setting(read_config(path), "trainer", dict, path)
    kind = setting(trainer, "dict_class", str, path)
    if kind not in _KINDS:
        raise SubjectError(f"{path} is of the class {kind!r}, which can't be read: {', '.join(_KINDS)} can")
    return trainer
