"""EleutherAI's sparsify: `HOOKPOINT/cfg.json` and `HOOKPOINT/sae.safetensors`.

p = W (x - b_dec) + b, without the subtraction in a transcoder (`transcode`); then relu(p) at the k largest p
(`topk`) or at the largest p of each of k groups (`groupmax`). A skip connection adds to the output only.

The hookpoint, the folder's name, is a module path: its output is read, or its input by a transcoder.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from exegete.errors import SubjectError
from exegete.subjects.coder import Encoder, SparseCoder
from exegete.subjects.hub import Place
from exegete.subjects.nonlinearity import GroupMax, TopK
from exegete.subjects.origin import Origin
from exegete.subjects.weights import checked, digest, read_config, read_safetensors, setting, whole_k

CONFIG = "cfg.json"
WEIGHTS: tuple[str, ...] = ("sae.safetensors",)

_HOOKPOINT = re.compile(r"(?:[A-Za-z_]+\.)+\d+(?:\.\w+)*|embed_tokens")


def origin(place: Place) -> Origin:
    """Where it belongs; see the module.

    Raises:
        SubjectError: the config is damaged, or of an activation that is not known.
    """
    return _origin(_settings(place.folder / CONFIG), place)


def read(place: Place) -> SparseCoder:
    """Read the coder.

    Raises:
        SubjectError: the files are damaged, or of an activation that is not known.
    """
    config_path, path = place.folder / CONFIG, place.folder / WEIGHTS[0]
    config = _settings(config_path)
    d = setting(config, "d_in", int, config_path)
    size = "num_latents" if config.get("num_latents") else "expansion_factor"
    n_features = setting(config, size, int, config_path) * (1 if size == "num_latents" else d)
    shapes = {"encoder.weight": "F d", "encoder.bias": "F", "W_dec": "F d", "b_dec": "d"}
    if config.get("skip_connection"):
        shapes["W_skip"] = "d d"
    tensors = checked(read_safetensors(path), shapes, path, {"d": d, "F": n_features})
    k = whole_k(config, config_path, n_features)
    if config.get("activation") == "groupmax" and n_features % k:
        raise SubjectError(f"{config_path} has k = {k} groups, which do not divide the {n_features} features")
    return SparseCoder(
        f"{place.name}@{digest([config_path, path])}",
        _origin(config, place),
        Encoder(
            tensors["encoder.weight"],
            tensors["encoder.bias"],
            None if config.get("transcode") else tensors["b_dec"],
        ),
        GroupMax(k) if config.get("activation") == "groupmax" else TopK(k),
        tensors["W_dec"],
    )


def _settings(path: Path) -> dict[str, Any]:
    config = read_config(path)
    activation = config.get("activation", "topk")
    if activation not in ("topk", "groupmax") or config.get("signed"):
        kind = "signed topk" if config.get("signed") else activation
        raise SubjectError(
            f"{path} is of the activation {kind!r}, which can't be read: topk and groupmax can"
        )
    return config


def _origin(config: dict[str, Any], place: Place) -> Origin:
    last = place.path.rsplit("/", 1)[-1]
    hookpoint = last if _HOOKPOINT.fullmatch(last) else None
    transcodes = bool(config.get("transcode"))
    return Origin(
        site=f"{hookpoint}.input" if hookpoint and transcodes else hookpoint,
        site_out=hookpoint if transcodes else None,
        metadata={
            "format": "sparsify",
            "architecture": config.get("activation", "topk"),
            "transcode": transcodes,
        },
    )
