"""Folders in Neuronpedia's bulk layout, with every field its own exporters write."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

MODEL, SOURCE = "gemma-2-2b", "20-gemmascope-res-16k"
WORDS = (" the", " un", "lock", "ing", ".", " cat", "s")


def activation(index: int | str, tokens: list[Any], values: list[Any], **more: Any) -> dict[str, Any]:
    """A line of activations/."""
    peak = max([v for v in values if isinstance(v, int | float)], default=0)
    return {
        "id": "c1",
        "modelId": MODEL,
        "layer": SOURCE,
        "index": str(index),
        "creatorId": "c0",
        "dataSource": None,
        "tokens": tokens,
        "maxValue": peak,
        "minValue": 0,
        "values": values,
        "maxValueTokenIndex": values.index(peak) if peak in values else 0,
        "dfaValues": [],
        "dfaMaxValue": None,
        "dfaTargetIndex": None,
        "binContains": -1,
        "binMin": -1,
        "binMax": 9.5,
    } | more


def feature(index: int | str, share: float | None = 0.001, **more: Any) -> dict[str, Any]:
    """A line of features/."""
    return {
        "modelId": MODEL,
        "layer": SOURCE,
        "index": str(index),
        "maxActApprox": 9.5,
        "frac_nonzero": share,
        "freq_hist_data_bar_heights": [1, 2],
        "neg_str": ["no"],
        "pos_str": [" yes", "\u202e odd"],
        "pos_values": [1.5],
        "hasVector": False,
        "hookName": "blocks.20.hook_resid_post",
    } | more


def explanation(index: int | str, text: str | None, **more: Any) -> dict[str, Any]:
    """A line of explanations/."""
    return {
        "id": "e1",
        "modelId": MODEL,
        "layer": SOURCE,
        "index": str(index),
        "authorId": "c0",
        "description": text,
        "embedding": None,
        "typeName": "oai_token-act-pair",
        "explanationModelName": "gpt-4o-mini",
        "umap_x": 0,
    } | more


@dataclass
class Export:
    """Lines of every kind, a list a file."""

    activations: list[list[dict[str, Any]]]
    features: list[list[dict[str, Any]]] = field(default_factory=list)
    explanations: list[list[dict[str, Any]]] = field(default_factory=list)
    source: dict[str, Any] | None = field(
        default_factory=lambda: {
            "id": SOURCE,
            "modelId": MODEL,
            "setName": "gemmascope-res-16k",
            "num_prompts": 24576,
            "num_tokens_in_prompt": 128,
            "dataset": "monology/pile-uncopyrighted",
        }
    )

    def write(self, folder: Path, packed: bool = True) -> Path:
        """Write the export below a folder; its source's own folder."""
        place = folder / MODEL / SOURCE
        place.mkdir(parents=True)
        if self.source is not None:
            (place / "source.jsonl").write_text(json.dumps(self.source) + "\n")
        for kind in ("activations", "features", "explanations"):
            for number, lines in enumerate(getattr(self, kind)):
                (place / kind).mkdir(exist_ok=True)
                raw = "".join(json.dumps(line) + "\n" for line in lines).encode()
                path = place / kind / f"batch-{number}.jsonl{'.gz' if packed else ''}"
                path.write_bytes(gzip.compress(raw) if packed else raw)
        return place


def good(words: Sequence[str] = WORDS, seed: int = 0, n: int = 90) -> Export:
    """Five features with excerpts that several of them share, some several times, some silent."""
    rng = np.random.default_rng(seed)
    texts: dict[tuple[str, ...], None] = {}
    while len(texts) < n:
        texts[tuple(str(w) for w in rng.choice(words, int(rng.integers(2, 12))))] = None
    kept = list(texts)
    lines = []
    for index in (0, 1, 2, 7, 2**31 - 1):
        for number in rng.choice(n, n // 2, replace=False):
            tokens = list(kept[number])
            values = [round(float(rng.exponential()), 3) if rng.random() < 0.2 else 0 for _ in tokens]
            bin_ = {"binMin": -1, "binMax": 9.5, "binContains": -1}
            if rng.random() < 0.5:
                bin_ = {"binMin": 0.0, "binMax": 1.9, "binContains": 0.25}
            # An excerpt stands there once for each of its tokens that was drawn.
            lines += [activation(index, tokens, values, **bin_)] * int(rng.integers(1, 3))
    half = len(lines) // 2
    features = [[feature(0, 0.0021), feature(1, 0.0005)], [feature(2), feature(7), feature(2**31 - 1)]]
    return Export(
        [lines[:half], lines[half:]], features, [[explanation(0, "zeros"), explanation(7, "sevens")]]
    )
