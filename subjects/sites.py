"""Where to read: hook names of the interpretability libraries as modules of the Hugging Face ones.

    hook name                      read                      meaning
    blocks.L.hook_resid_pre        a block's input           residual stream before the block
    blocks.L.hook_resid_mid        the second norm's input   residual stream between attention and MLP
    blocks.L.hook_resid_post       a block's output          residual stream after the block
    blocks.L.ln2.hook_normalized   the second norm's input,  what the MLP reads, before the norm's gain
                                   normed
    blocks.L.mlp.hook_in           the MLP's input           what the MLP reads
    blocks.L.mlp.hook_post         the down projection's     MLP neurons, after the nonlinearity
                                   input
    blocks.L.hook_mlp_out          the MLP's output          what the MLP adds (before BERT's LayerNorm)
    blocks.L.hook_attn_out         the attention's output    what attention adds
    blocks.L.attn.hook_z           the output projection's   attention heads, concatenated
                                   input

Gemma 2 and 3 and OLMo 2 and 3 norm once more what the MLP and attention give: what is added to the residual
stream, and read here, is what comes out of those norms. Blocks whose halves work in parallel (GPT-NeoX) or
norm after adding (BERT) have no stream between them.

Any other name is taken as a module path, and the module's output is read, or its input when `.input` is put
after the path.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Literal

from exegete.errors import SubjectError

Side = Literal["input", "output"]


@dataclass(frozen=True, slots=True)
class Site:
    """A module and which side of it is read."""

    module: str
    side: Side
    layer: int | None
    """The block the module belongs to, when its path says so."""
    normed: bool = False
    """Whether a norm's input is read as that norm scales it, without its gain and bias."""


@dataclass(frozen=True, slots=True)
class _Family:
    """Module paths of one architecture, `{L}` for the layer; the others lie within the block."""

    block: str
    down: str
    projection: str
    attention: str
    """What gives attention's part of the residual stream."""
    mlp_out: str
    """What gives the MLP's part."""
    mlp: str = "mlp"
    norm: str | None = None
    """The norm before the MLP, where the MLP has its own input."""
    middle: str | None = None
    """The module whose input is the stream between attention and MLP."""


_LLAMA = _Family(
    "layers.{L}",
    down="mlp.down_proj",
    projection="self_attn.o_proj",
    attention="self_attn",
    mlp_out="mlp",
    norm="post_attention_layernorm",
    middle="post_attention_layernorm",
)
_OLMO = replace(
    _LLAMA,
    attention="post_attention_layernorm",
    mlp_out="post_feedforward_layernorm",
    norm=None,
    middle="mlp",
)
_GEMMA = replace(_OLMO, norm="pre_feedforward_layernorm", middle="pre_feedforward_layernorm")
_FAMILIES: dict[str, _Family] = {
    "bert": _Family(
        "encoder.layer.{L}",
        down="output.dense",
        projection="attention.output.dense",
        attention="attention.output.dense",
        mlp_out="output.dense",
        mlp="intermediate.dense",
    ),
    "gpt2": _Family(
        "h.{L}",
        down="mlp.c_proj",
        projection="attn.c_proj",
        attention="attn",
        mlp_out="mlp",
        norm="ln_2",
        middle="ln_2",
    ),
    "gpt_neox": _Family(
        "layers.{L}",
        down="mlp.dense_4h_to_h",
        projection="attention.dense",
        attention="attention",
        mlp_out="mlp",
        norm="post_attention_layernorm",
    ),
    **dict.fromkeys(("gemma", "llama", "mistral", "qwen2", "qwen3"), _LLAMA),
    **dict.fromkeys(("olmo2", "olmo3"), _OLMO),
    **dict.fromkeys(("gemma2", "gemma3_text"), _GEMMA),
    "gemma3": replace(_GEMMA, block="language_model.layers.{L}"),
}

_HOOKS = (
    *("hook_resid_pre", "hook_resid_mid", "hook_resid_post", "ln2.hook_normalized", "mlp.hook_in"),
    *("mlp.hook_post", "hook_mlp_out", "hook_attn_out", "attn.hook_z"),
)
_HOOK = re.compile(rf"blocks\.(\d+)\.({'|'.join(map(re.escape, _HOOKS))})")


def resolve_site(name: str, model_type: str, modules: Collection[str], prefix: str = "") -> Site:
    """Find the module a site's name stands for.

    Args:
        name: hook name, or module path with or without `.input` or `.output` after it.
        model_type: the architecture, as the model's config names it.
        modules: every module path of the bare model.
        prefix: the bare model's name within its language model ("transformer", "model"), dropped when given.

    Returns:
        The site.

    Raises:
        SubjectError: no such module, block or hook name; the message names what there is.
    """
    hook = _HOOK.fullmatch(name)
    site = _from_hook(int(hook[1]), hook[2], model_type) if hook else _from_path(name, modules, prefix)
    if site.module not in modules or not site.module:
        raise SubjectError(_no_such(name, site, _FAMILIES.get(model_type) if hook else None, modules))
    return site


def _no_such(name: str, site: Site, family: _Family | None, modules: Collection[str]) -> str:
    """What is said of a name that is none: which blocks, hook names or modules there are."""
    if family is not None and site.layer is not None:
        ends = family.block.partition("{L}")[0]
        layers = sorted({int(m[len(ends) :]) for m in modules if re.fullmatch(re.escape(ends) + r"\d+", m)})
        if layers and site.layer not in layers:
            return (
                f"the model has no block {site.layer}, which {name!r} names: pass one of {layers[0]} to "
                f"{layers[-1]}"
            )
    if family is None and name.startswith("blocks."):
        return f"{name!r} is no hook name: pass blocks.L. and one of {', '.join(_HOOKS)}, or a module path"
    nearest = difflib.get_close_matches(site.module, sorted(m for m in modules if m), n=3, cutoff=0.4)
    hint = f"; the nearest are {', '.join(nearest)}" if nearest else ""
    return f"the model has no module {name!r}{hint}: pass one of its module paths as --site"


def _from_hook(layer: int, hook: str, model_type: str) -> Site:
    family = _FAMILIES.get(model_type)
    if family is None:
        raise SubjectError(
            f"hook names are known for {', '.join(sorted(_FAMILIES))} and not for {model_type!r}: "
            "pass a module path as --site"
        )
    block = family.block.format(L=layer)
    places: dict[str, tuple[str | None, Side]] = {
        "hook_resid_pre": ("", "input"),
        "hook_resid_mid": (family.middle, "input"),
        "hook_resid_post": ("", "output"),
        "ln2.hook_normalized": (family.norm, "input"),
        "mlp.hook_in": (family.mlp, "input"),
        "mlp.hook_post": (family.down, "input"),
        "hook_mlp_out": (family.mlp_out, "output"),
        "hook_attn_out": (family.attention, "output"),
        "attn.hook_z": (family.projection, "input"),
    }
    module, side = places[hook]
    if module is None:
        raise SubjectError(f"a block of {model_type!r} has no {hook}: pass a module path as --site")
    return Site(f"{block}.{module}" if module else block, side, layer, hook == "ln2.hook_normalized")


def _from_path(name: str, modules: Collection[str], prefix: str) -> Site:
    """A module path as it stands, or as another library or the whole model would write it."""
    path, side = name, "output"
    if name not in modules and name.endswith((".input", ".output")):
        path, _, side = name.rpartition(".")
    inner = path.removeprefix(prefix + ".") if prefix else path
    # Text models within one that also sees, such as Gemma 3's, are written without it in many places.
    path = next((p for p in (path, inner, f"language_model.{inner}") if p in modules), inner)
    numbers = re.findall(r"(?:^|\.)(\d+)(?=\.|$)", path)
    return Site(path, "input" if side == "input" else "output", int(numbers[0]) if numbers else None)
