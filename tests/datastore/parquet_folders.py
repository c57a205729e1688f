"""Folders of Parquet files, as a person would write them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

WORDS = (" the", " un", "lock", "ing", ".", " cat", "s")


@dataclass(frozen=True)
class Folder:
    """Rows of the three files."""

    contexts: list[tuple[int, str, list[str]]]
    activations: list[tuple[int, int, int, float]]
    features: dict[int, str] | None = None
    row_group: int = 1000

    def tables(self) -> dict[str, pa.Table]:
        """Arrow tables by file name."""
        feature, context_id, position, activation = ([row[i] for row in self.activations] for i in range(4))
        found = {
            "contexts.parquet": pa.table(
                {
                    "context_id": pa.array([c[0] for c in self.contexts], pa.int64()),
                    "document": pa.array([c[1] for c in self.contexts], pa.string()),
                    "tokens": pa.array([c[2] for c in self.contexts], pa.list_(pa.string())),
                }
            ),
            "activations.parquet": pa.table(
                {
                    "feature": pa.array(feature, pa.int32()),
                    "context_id": pa.array(context_id, pa.int64()),
                    "position": pa.array(position, pa.int32()),
                    "activation": pa.array(activation, pa.float32()),
                }
            ),
        }
        if self.features is not None:
            found["features.parquet"] = pa.table(
                {
                    "feature": pa.array(list(self.features), pa.int32()),
                    "name": list(self.features.values()),
                }
            )
        return found

    def write(self, path: Path) -> None:
        """Write the files."""
        path.mkdir(parents=True, exist_ok=True)
        for name, table in self.tables().items():
            pq.write_table(table, path / name, row_group_size=self.row_group)


def good(words: Sequence[str] = WORDS, n: int = 60, seed: int = 0) -> Folder:
    """Contexts of two to twelve tokens in 30 documents, no two alike, and five features."""
    rng = np.random.default_rng(seed)
    texts: dict[tuple[str, ...], None] = {}
    while len(texts) < n:
        texts[tuple(str(w) for w in rng.choice(words, int(rng.integers(2, 12))))] = None
    contexts = [(int(i) * 3 + 1, f"doc {i // 2}", list(text)) for i, text in enumerate(texts)]
    activations = [
        (feature, context_id, position, float(np.float32(rng.exponential() + 0.01)))
        for context_id, _, tokens in contexts
        for feature in (0, 1, 2, 7, 2**31 - 1)
        for position in range(len(tokens))
        if rng.random() < 0.15
    ]
    return Folder(contexts, activations)
