"""Features of known truth on endless text that reads like documentation, for jobs of thousands of features.

The text is a chain of words in which each follows the one before it as often as in the Python documentation:
its words are as long, and its lines cost as many tokens, as real ones. Every feature fires on two words, the
second more weakly. One half, the *plain* ones, fire nowhere else; the others as often again at words chosen
at random, so that the best label there is leaves a job something to revise.
"""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from exegete.subjects.corpora import open_corpus

CONTEXT_WORDS = 96
WEAKLY = 0.6
"""How strongly the second word fires, beside the first."""
FREQUENT = (0.03, 0.2)
"""Words are taken that occur in this share of the contexts: enough for all three splits."""


def write_features(folder: Path, n_features: int, n_contexts: int, seed: int = 0) -> None:
    """Write contexts.parquet and activations.parquet, as `exegete import parquet` reads them.

    Args:
        folder: where to.
        n_features: features; the even ones are plain.
        n_contexts: contexts of 96 words, each a document of its own.
        seed: of the text, the words and the noise.
    """
    rng = np.random.default_rng(seed)
    names, codes = _text(rng, n_contexts)
    folder.mkdir(parents=True, exist_ok=True)
    contexts = {
        "context_id": pa.array(range(n_contexts), pa.int64()),
        "document": [f"d{number}" for number in range(n_contexts)],
        "tokens": [[names[code] for code in row] for row in codes.tolist()],
    }
    pq.write_table(pa.table(contexts), folder / "contexts.parquet")
    schema = pa.schema(
        {"feature": pa.int32(), "context_id": pa.int64(), "position": pa.int32(), "activation": pa.float32()}
    )
    pairs = _pairs(rng, names, codes, n_features)
    with pq.ParquetWriter(folder / "activations.parquet", schema) as writer:
        for feature, (first, second) in enumerate(pairs):
            strength = np.where(codes == first, 1.0, np.where(codes == second, WEAKLY, 0.0))
            if feature % 2:
                anywhere = rng.random(codes.shape) < np.count_nonzero(strength) / codes.size
                strength = np.where(anywhere, 1.0, strength)
            context, position = np.nonzero(strength)
            values = strength[context, position] * rng.uniform(0.9, 1.1, len(context))
            columns = (np.full(len(context), feature), context, position, values)
            arrays = [pa.array(c).cast(kind) for c, kind in zip(columns, schema.types, strict=True)]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))


def _text(rng: np.random.Generator, n_contexts: int) -> tuple[list[str], np.ndarray]:
    """The words there are, each with its leading space, and (n_contexts, CONTEXT_WORDS) places among them."""
    followers: dict[str, list[str]] = defaultdict(list)
    for document in open_corpus("stdlib-docs").documents():
        words = [(" " if m[1] else "") + m[2] for m in re.finditer(r"(\s*)(\w+|[^\w\s])", document.text)]
        for word, after in zip(words, words[1:] + words[:1], strict=True):
            followers[word].append(after)
    names = sorted(followers)
    place = {name: code for code, name in enumerate(names)}
    after = [[place[word] for word in followers[name]] for name in names]
    chain, code = [], 0
    for draw in rng.random(n_contexts * CONTEXT_WORDS).tolist():
        code = after[code][int(draw * len(after[code]))]
        chain.append(code)
    return names, np.asarray(chain).reshape(n_contexts, CONTEXT_WORDS)


def _pairs(
    rng: np.random.Generator, names: list[str], codes: np.ndarray, n_features: int
) -> list[tuple[int, int]]:
    """Two words for every feature, of those that are neither rare nor everywhere."""
    in_contexts = np.zeros(len(names))
    for row in codes:
        in_contexts[np.unique(row)] += 1 / len(codes)
    low, high = FREQUENT
    fit = [
        c for c in np.flatnonzero((in_contexts > low) & (in_contexts < high)) if names[c].strip().isalpha()
    ]
    return [tuple(rng.choice(fit, 2, replace=False).tolist()) for _ in range(n_features)]
