"""SAELens: `cfg.json` and `sae_weights.safetensors`, as saved before and after 6.0.

x' = scaled(x), less b_dec if `apply_b_dec_to_input` (never in transcoders); p = x' W_enc + b_enc; then

    standard, transcoder, skip_transcoder          relu(p)
    topk                                           relu(p) at the k largest p
    jumprelu, jumprelu_transcoder,                 relu(p) where p > threshold
    jumprelu_skip_transcoder
    batchtopk, matryoshka_batchtopk                relu(p) where p > topk_threshold: checkpoints of training,
                                                   which are saved as jumprelu when it ends
    gated                                          relu(x'W_enc·e^r_mag + b_mag) where x'W_enc + b_gate > 0

With `rescale_acts_by_decoder_norm`, p is times each feature's ‖W_dec‖, and W_dec is normed. A skip connection
adds to the output and has no part in the features.

Before 6.0 the config is flat (afterwards its second half is in `metadata`), with other names for some keys;
what is missing there (the subtraction, BOS) was done.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, get_args

from exegete.errors import SubjectError
from exegete.subjects.coder import Encoder, Scaling, SparseCoder
from exegete.subjects.hub import Place
from exegete.subjects.nonlinearity import Gated, JumpRelu, Nonlinearity, Relu, TopK
from exegete.subjects.origin import Needs, Origin
from exegete.subjects.weights import checked, digest, read_config, read_safetensors, setting, text, whole_k

if TYPE_CHECKING:
    import torch

CONFIG = "cfg.json"
WEIGHTS: tuple[str, ...] = ("sae_weights.safetensors",)

_BATCH = ("batchtopk", "matryoshka_batchtopk")
_TRANSCODERS = ("transcoder", "skip_transcoder", "jumprelu_transcoder", "jumprelu_skip_transcoder")
ARCHITECTURES = ("standard", "topk", "jumprelu", *_BATCH, "gated", *_TRANSCODERS)

# Trained on models whose writes to the residual stream had been centred, which their configs do not say.
_CENTRED = (
    "GPT2-Small-SAEs-Reformatted",
    "GPT2-Small-Feature-Splitting-Experiment-Layer-8",
    "gpt2-small-mlp-out-saes",
)

_METADATA = (
    *("model_name", "hook_name", "hook_name_out", "hook_head_index", "hf_hook_name", "hf_hook_name_out"),
    *("prepend_bos", "exclude_special_tokens", "model_from_pretrained_kwargs", "context_size"),
    *("dataset_path", "neuronpedia_id", "sae_lens_version"),
)


def origin(place: Place) -> Origin:
    """Where it belongs; see the module.

    Raises:
        SubjectError: the config is damaged, or of an architecture that is not known.
    """
    return _origin(_settings(place.folder / CONFIG), place)


def read(place: Place) -> SparseCoder:
    """Read the coder.

    Raises:
        SubjectError: the files are damaged, or of an architecture that is not known.
    """
    path, config_path = place.folder / WEIGHTS[0], place.folder / CONFIG
    config = _settings(config_path)
    architecture = config["architecture"]
    sizes = {"d": setting(config, "d_in", int, config_path), "F": setting(config, "d_sae", int, config_path)}
    shapes = _shapes(architecture)
    tensors = checked(read_safetensors(path), shapes, path, sizes, unused=("scaling_factor",))
    W_Fd, W_dec_Fo = tensors["W_enc"].T.contiguous(), tensors["W_dec"]
    b_F = tensors["b_enc"] if "b_enc" in tensors else W_Fd.new_zeros(len(W_Fd))
    if config.get("rescale_acts_by_decoder_norm"):
        norm_F = W_dec_Fo.norm(dim=-1).clamp(min=1e-8)
        W_Fd, b_F, W_dec_Fo = W_Fd * norm_F[:, None], b_F * norm_F, W_dec_Fo / norm_F[:, None]
    subtracts = config["apply_b_dec_to_input"] and architecture not in _TRANSCODERS
    return SparseCoder(
        f"{place.name}@{digest([config_path, path])}",
        _origin(config, place),
        Encoder(W_Fd, b_F, tensors["b_dec"] if subtracts else None, config["scaling"]),
        _nonlinearity(config, tensors, config_path, len(W_Fd)),
        W_dec_Fo,
    )


def _shapes(architecture: str) -> dict[str, str]:
    out = "o" if architecture in _TRANSCODERS else "d"
    shapes = {"W_enc": "d F", "W_dec": f"F {out}", "b_dec": out}
    if architecture == "gated":
        return shapes | {"b_gate": "F", "b_mag": "F", "r_mag": "F"}
    shapes["b_enc"] = "F"
    if architecture.startswith("jumprelu"):
        shapes["threshold"] = "F"
    if architecture in _BATCH:
        shapes["topk_threshold"] = ""
    if "skip" in architecture:
        shapes["W_skip"] = "o d"
    return shapes


def _nonlinearity(
    config: Mapping[str, Any], tensors: Mapping[str, torch.Tensor], path: Path, n_features: int
) -> Nonlinearity:
    architecture = config["architecture"]
    if architecture == "topk":
        return TopK(whole_k(config, path, n_features))
    if architecture == "gated":
        return Gated(tensors["b_gate"], tensors["r_mag"].exp(), tensors["b_mag"])
    if architecture in _BATCH:
        return JumpRelu(tensors["topk_threshold"].expand(n_features).clone())
    if architecture.startswith("jumprelu"):
        return JumpRelu(tensors["threshold"])
    return Relu()


def _settings(path: Path) -> dict[str, Any]:
    """The config as one flat table with the names and defaults of 6.0, checked as far as it can be alone."""
    raw = read_config(path)
    metadata = raw.get("metadata")
    config: dict[str, Any] = {**metadata, **raw} if isinstance(metadata, dict) else _before_6(raw)
    architecture = config.get("architecture")
    if architecture not in ARCHITECTURES:
        raise SubjectError(
            f"{path} is of the architecture {architecture!r}, which can't be read: "
            f"{', '.join(ARCHITECTURES)} can"
        )
    scaling = config.get("normalize_activations") or "none"
    # Identity at run time: the factor was folded into the weights, or was never there.
    config["scaling"] = cast("Scaling", "none" if scaling == "expected_average_only_in" else scaling)
    if config["scaling"] not in get_args(Scaling):
        raise SubjectError(
            f"{path} normalises its inputs by {scaling!r}, which can't be read: none, "
            "expected_average_only_in, layer_norm and constant_norm_rescale can"
        )
    config.setdefault("apply_b_dec_to_input", True)
    if config.get("hook_head_index") is not None and setting(config, "hook_head_index", int, path) < 0:
        raise SubjectError(
            f"{path} has {config['hook_head_index']} for 'hook_head_index': heads count from 0"
        )
    return config


def _before_6(raw: Mapping[str, Any]) -> dict[str, Any]:
    names = {
        "hook_point": "hook_name",
        "hook_point_head_index": "hook_head_index",
        "activation_fn_str": "activation_fn",
    }
    config = {names.get(key, key): value for key, value in raw.items()}
    config.setdefault("architecture", "standard")
    config.setdefault("prepend_bos", True)
    if isinstance(config.get("normalize_activations"), bool):
        config["normalize_activations"] = (
            "expected_average_only_in" if config["normalize_activations"] else "none"
        )
    activation = config.get("activation_fn") or "relu"
    if activation == "topk":
        config["architecture"] = "topk"
        given = config.get("activation_fn_kwargs")
        config["k"] = given.get("k") if isinstance(given, dict) else None
    elif activation != "relu":
        config["architecture"] = activation
    return config


def _origin(config: Mapping[str, Any], place: Place) -> Origin:
    hook = text(config, "hook_name")
    writes_residual = re.search(r"hook_(resid|mlp_out|attn_out|embed)", hook or "") is not None
    kwargs = config.get("model_from_pretrained_kwargs")
    centred = (isinstance(kwargs, dict) and bool(kwargs.get("center_writing_weights"))) or any(
        name in place.path for name in _CENTRED
    )
    bos = config.get("prepend_bos")
    notes = []
    if config.get("normalize_activations") == "expected_average_only_in":
        notes.append(
            f"{place.name} was trained on inputs scaled by a factor that its files do not hold: unless it "
            "was folded into the weights, its features fire at the wrong levels"
        )
    return Origin(
        site=text(config, "hf_hook_name") or hook,
        site_out=text(config, "hf_hook_name_out") or text(config, "hook_name_out"),
        model=text(config, "model_name"),
        head=config.get("hook_head_index"),
        needs=Needs(
            prepend_bos=bos if isinstance(bos, bool) else None,
            centred=centred and writes_residual,
            exclude_special_tokens=bool(config.get("exclude_special_tokens")),
        ),
        metadata={"format": "saelens", "architecture": config["architecture"]}
        | {key: config[key] for key in _METADATA if config.get(key) is not None},
        notes=tuple(notes),
    )
