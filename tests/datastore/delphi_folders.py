"""Caches as delphi's save_splits writes them, from dense activations."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from exegete.errors import FormatError

WORDS = (" the", " un", "lock", "ing", ".", " cat", "s", "\x1b[2J", " ", "\x1f")


class Words:
    """A tokenizer whose ids are places in a list."""

    name = "words@1"

    def texts(self, ids: NDArray[np.int64]) -> list[str]:
        """The words."""
        if not all(0 <= i < len(WORDS) for i in ids.tolist()):
            raise FormatError(f"token {ids.max()} is not one of the tokenizer words@1")
        return [WORDS[i] for i in ids.tolist()]


@dataclass
class Folder:
    """A hook's activations, (rows, positions, features), and the ranges of features they are stored in."""

    tokens: NDArray[np.int64]
    acts: NDArray[np.float32]
    ranges: list[tuple[int, int]]
    kinds: tuple[Any, Any] = (np.uint16, np.float16)
    """Types of locations and activations."""
    config: dict[str, Any] | None = field(
        default_factory=lambda: {
            "dataset_repo": "EleutherAI/SmolLM2-135M-10B",
            "dataset_split": "train[:1%]",
            "cache_ctx_len": 8,
            "n_splits": 2,
            "model_name": "EleutherAI/pythia-70m",
        }
    )

    def tensors(self) -> dict[str, dict[str, NDArray[Any]]]:
        """Tensors by file name."""
        found = {}
        places = np.argwhere(self.acts != 0)
        for start, end in self.ranges:
            own = places[(places[:, 2] >= start) & (places[:, 2] <= end)]
            found[f"{start}_{end}.safetensors"] = {
                "locations": (own - np.asarray([0, 0, start])).astype(self.kinds[0]),
                "activations": self.acts[tuple(own.T)].astype(self.kinds[1]),
                "tokens": self.tokens,
            }
        return found

    def write(self, folder: Path, hook: str = "layers.3.mlp") -> Path:
        """Write a hook's folder below `folder`."""
        place = folder / hook
        place.mkdir(parents=True)
        for name, tensors in self.tensors().items():
            save_file(tensors, place / name)
        if self.config is not None:
            (place / "config.json").write_text(json.dumps(self.config, indent=4))
        return place


def good(rows: int = 150, width: int = 8, features: int = 12, seed: int = 0) -> Folder:
    """Rows, some of them twice, with features 0 to 11, of which 5 never fires and 9 is never above 0."""
    rng = np.random.default_rng(seed)
    tokens = rng.integers(0, len(WORDS), (rows, width))
    acts = rng.exponential(size=(rows, width, features)).astype(np.float16).astype(np.float32)
    acts[rng.random(acts.shape) > 0.06] = 0
    acts[:, :, 5] = 0
    acts[:, :, 9] *= -1
    tokens[rows // 2], acts[rows // 2] = tokens[0], acts[0]
    return Folder(tokens, acts, [(0, 3), (4, 11)])
