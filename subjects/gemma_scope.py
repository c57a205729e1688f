"""Gemma Scope: JumpReLU autoencoders and transcoders of Gemma 2 and 3.

    Gemma Scope 1    params.npz, no config: the site is read from the path (`…-res/layer_20/…`)
    Gemma Scope 2    params.safetensors and config.json, which names Hugging Face modules

relu(p) where p > threshold, with p = x W_enc + b_enc; nothing is taken off the input [Lieberum et al. 2024].
The first release's transcoders read what the MLP's norm gives before its gain, which they folded away.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from exegete.errors import SubjectError
from exegete.subjects.coder import Encoder, SparseCoder
from exegete.subjects.hub import Place
from exegete.subjects.nonlinearity import JumpRelu
from exegete.subjects.origin import Needs, Origin
from exegete.subjects.weights import checked, digest, read_config, read_npz, read_safetensors, text

if TYPE_CHECKING:
    import torch

CONFIG = "config.json"
WEIGHTS: tuple[str, ...] = ("params.npz", "params.safetensors")

_HOOKS = {
    "res": ("hook_resid_post", None),
    "mlp": ("hook_mlp_out", None),
    "att": ("attn.hook_z", None),
    "transcoders": ("ln2.hook_normalized", "hook_mlp_out"),
}


def origin(place: Place) -> Origin:
    """Where it belongs, from the config or else the path.

    Raises:
        SubjectError: the config is damaged, or of an architecture that is not known.
    """
    return _from_config(place) if (place.folder / WEIGHTS[1]).exists() else _from_path(place)


def read(place: Place) -> SparseCoder:
    """Read the coder.

    Raises:
        SubjectError: the files are damaged, or of an architecture that is not known.
    """
    belongs = origin(place)
    second = place.folder / WEIGHTS[1]
    path = second if second.exists() else place.folder / WEIGHTS[0]
    found = read_safetensors(path) if path == second else read_npz(path)
    tensors = {re.sub("^w_", "W_", name): tensor for name, tensor in found.items()}
    out = "d" if belongs.site_out is None else "o"
    shapes = {"W_enc": "d F", "b_enc": "F", "W_dec": f"F {out}", "b_dec": out, "threshold": "F"}
    if "affine_skip_connection" in tensors:
        shapes["affine_skip_connection"] = f"d {out}"
    taken: dict[str, torch.Tensor] = checked(tensors, shapes, path, {})
    files = [place.folder / CONFIG, path] if path == second else [path]
    return SparseCoder(
        f"{place.name}@{digest(files)}",
        belongs,
        Encoder(taken["W_enc"].T.contiguous(), taken["b_enc"]),
        JumpRelu(taken["threshold"]),
        taken["W_dec"],
    )


def _from_path(place: Place) -> Origin:
    kind = re.search(r"gemma-scope-(\w+)-(pt|it)-(res|mlp|att|transcoders)(?=/|$)", place.path)
    layer = re.search(r"(?:^|/)layer_(\d+)(?=/|$)", place.path)
    site, site_out, model = None, None, None
    if kind:
        model = f"google/gemma-2-{kind[1]}" + ("-it" if kind[2] == "it" else "")
    if kind and layer:
        hook, hook_out = _HOOKS[kind[3]]
        site = f"blocks.{layer[1]}.{hook}"
        site_out = f"blocks.{layer[1]}.{hook_out}" if hook_out else None
    return Origin(
        site=site,
        site_out=site_out,
        model=model,
        needs=Needs(prepend_bos=True),
        metadata={"format": "gemma scope", "architecture": "jump_relu"},
    )


def _from_config(place: Place) -> Origin:
    path = place.folder / CONFIG
    config = read_config(path)
    if config.get("architecture") != "jump_relu":
        raise SubjectError(
            f"{path} is of the architecture {config.get('architecture')!r}, which can't be read: "
            "jump_relu can"
        )
    site, site_out = text(config, "hf_hook_point_in"), text(config, "hf_hook_point_out")
    kept = ("model_name", "hf_hook_point_in", "hf_hook_point_out", "affine_connection")
    return Origin(
        site=site,
        site_out=None if site_out == site else site_out,
        model=text(config, "model_name"),
        needs=Needs(prepend_bos=True),
        metadata={"format": "gemma scope 2", "architecture": "jump_relu"}
        | {key: config[key] for key in kept if config.get(key) is not None},
    )
