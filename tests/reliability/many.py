"""Any number of features of known truth, made cheaply: for tests of whole jobs that are large, not deep.

Feature i fires on one word of the planted vocabulary, with strengths of its own, so that no two features have
the same strongest excerpts, and hardly any two calls are equal. One in 50 is dead, and one in 50 fires in too
few contexts.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from exegete.datastore.importing import ImportSpec, import_parquet
from exegete.datastore.workspace import Workspace
from tests.agent.planted import VOCABULARY, documents

WORDS = VOCABULARY[20:180]
FIRES = 60
"""Places a feature fires at, at most; a word of the vocabulary stands at some fifty."""
_CHUNK = 5_000
"""Features written at a time."""


def make_workspace(root: Path, n_features: int) -> Workspace:
    """A workspace with one harvest of so many features."""
    folder = root / "many"
    folder.mkdir(parents=True)
    texts = documents()
    pq.write_table(
        pa.table(
            {
                "context_id": pa.array(range(len(texts)), pa.int64()),
                "document": [name for name, _ in texts],
                "tokens": [words for _, words in texts],
            }
        ),
        folder / "contexts.parquet",
    )
    _write_activations(folder / "activations.parquet", [words for _, words in texts], n_features)
    features = pa.table({"feature": pa.array(range(n_features), pa.int32())})
    pq.write_table(features, folder / "features.parquet")
    workspace = Workspace.open_or_create(root / "workspace")
    import_parquet(folder, ImportSpec(top=8, sample=30, quiet=150), workspace.evidence)
    return workspace


def _write_activations(path: Path, texts: list[list[str]], n_features: int) -> None:
    """Activations of all features, some thousand at a time."""
    places: dict[str, list[tuple[int, int]]] = {word: [] for word in WORDS}
    for number, words in enumerate(texts):
        for position, word in enumerate(words):
            if word in places:
                places[word].append((number, position))
    schema = pa.schema(
        [
            ("feature", pa.int32()),
            ("context_id", pa.int64()),
            ("position", pa.int32()),
            ("activation", pa.float32()),
        ]
    )
    rng = np.random.default_rng(17)
    with pq.ParquetWriter(path, schema) as writer:
        for start in range(0, n_features, _CHUNK):
            columns: list[list[Any]] = [[], [], [], []]
            for feature in range(start, min(start + _CHUNK, n_features)):
                at = np.asarray(places[WORDS[feature % len(WORDS)]])[:FIRES]
                at = at[: {0: 0, 1: 6}.get(feature % 50, FIRES)]
                columns[0].append(np.full(len(at), feature))
                columns[1].append(at[:, 0])
                columns[2].append(at[:, 1])
                columns[3].append(rng.uniform(0.8, 1.2, len(at)))
            arrays = [
                pa.array(np.concatenate(column), field.type)
                for column, field in zip(columns, schema, strict=True)
            ]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))
