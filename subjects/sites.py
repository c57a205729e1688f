"""Where to read: hook names of the interpretability libraries as modules of the Hugging Face ones.

    hook name                   read                      meaning
    blocks.L.hook_resid_pre     a block's input           residual stream before the block
    blocks.L.hook_resid_post    a block's output          residual stream after the block
    blocks.L.mlp.hook_post      the down projection's     MLP neurons, after the nonlinearity
                                input
    blocks.L.hook_mlp_out       the MLP's output          what the MLP adds (before BERT's LayerNorm)
    blocks.L.hook_attn_out      the attention's output    what attention adds
    blocks.L.attn.hook_z        the output projection's   attention heads, concatenated
                                input

Any other name is taken as a module path, and the module's output is read.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class _Family:
    """Module paths of one architecture, `{L}` for the layer."""

    block: str
    down: str
    mlp: str
    attention: str
    projection: str


_LLAMA = _Family("layers.{L}", "mlp.down_proj", "mlp", "self_attn", "self_attn.o_proj")
_FAMILIES: dict[str, _Family] = {
    "bert": _Family(
        "encoder.layer.{L}",
        "output.dense",
        "output.dense",
        "attention.output.dense",
        "attention.output.dense",
    ),
    "gpt2": _Family("h.{L}", "mlp.c_proj", "mlp", "attn", "attn.c_proj"),
    "gpt_neox": _Family("layers.{L}", "mlp.dense_4h_to_h", "mlp", "attention", "attention.dense"),
    **dict.fromkeys(("llama", "mistral", "qwen2", "qwen3"), _LLAMA),
}

_HOOK = re.compile(
    r"blocks\.(\d+)\.(hook_resid_pre|hook_resid_post|mlp\.hook_post|hook_mlp_out|hook_attn_out|attn\.hook_z)"
)


def resolve_site(name: str, model_type: str, modules: Collection[str], prefix: str = "") -> Site:
    """Find the module a site's name stands for.

    Args:
        name: hook name or module path.
        model_type: the architecture, as the model's config names it.
        modules: every module path of the bare model.
        prefix: the bare model's name within its language model ("transformer", "model"), dropped when given.

    Returns:
        The site.

    Raises:
        SubjectError: no such module; the message names the nearest.
    """
    hook = _HOOK.fullmatch(name)
    if hook:
        site = _from_hook(int(hook[1]), hook[2], model_type)
    else:
        path = name
        if prefix and path not in modules and path.startswith(prefix + "."):
            path = path[len(prefix) + 1 :]
        numbers = re.findall(r"(?:^|\.)(\d+)(?=\.|$)", path)
        site = Site(path, "output", int(numbers[0]) if numbers else None)
    if site.module not in modules or not site.module:
        nearest = difflib.get_close_matches(site.module, sorted(m for m in modules if m), n=3, cutoff=0.4)
        hint = f"; the nearest are {', '.join(nearest)}" if nearest else ""
        raise SubjectError(f"the model has no module {name!r}{hint}: pass one of its module paths as --site")
    return site


def _from_hook(layer: int, hook: str, model_type: str) -> Site:
    family = _FAMILIES.get(model_type)
    if family is None:
        raise SubjectError(
            f"hook names are known for {', '.join(sorted(_FAMILIES))} and not for {model_type!r}: "
            "pass a module path as --site"
        )
    block = family.block.format(L=layer)
    places: dict[str, tuple[str, Side]] = {
        "hook_resid_pre": (block, "input"),
        "hook_resid_post": (block, "output"),
        "mlp.hook_post": (f"{block}.{family.down}", "input"),
        "hook_mlp_out": (f"{block}.{family.mlp}", "output"),
        "hook_attn_out": (f"{block}.{family.attention}", "output"),
        "attn.hook_z": (f"{block}.{family.projection}", "input"),
    }
    return Site(*places[hook], layer)
