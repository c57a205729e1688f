"""Planted features on text in pieces of words, with sentences, and contexts that begin anywhere.

What a window looks like (its length, how it begins and ends) is then as in a harvest of a model, and has
nothing to do with where features fire: each fires on four words, whose looks are those of all words.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from exegete.datastore.evidence import AgentEvidence, ReportEvidence
from exegete.datastore.importing import ImportSpec, import_parquet
from exegete.datastore.records import Evidence, Plan
from exegete.datastore.workspace import Workspace

DOCUMENTS = 250
PER_DOCUMENT = 5
"""Contexts a document."""
CONTEXT = 96
"""Tokens a context."""
FEATURES = 24
PLAN = Plan(top=10, per_decile=3, quiet=20, hard=10)
"""What a job scores labels on."""
SYLLABLES = tuple(a + b for a in "bdfgklmnprstvz" for b in "aeiou")
COMMON = 60
"""So many words are too common for a feature to fire on."""


@cache
def vocabulary() -> tuple[tuple[str, ...], ...]:
    """The pieces of every word, the commonest first; a word has one to three."""
    rng = np.random.default_rng(2)
    found: dict[tuple[str, ...], None] = {}
    while len(found) < 400:
        found[tuple(str(piece) for piece in rng.choice(SYLLABLES, rng.integers(1, 4)))] = None
    return tuple(found)


@cache
def truth() -> tuple[frozenset[int], ...]:
    """The four words that each feature fires on, as places in the vocabulary."""
    rng = np.random.default_rng(4)
    rare = rng.permutation(np.arange(COMMON, 400))[: 4 * FEATURES].reshape(FEATURES, 4)
    return tuple(frozenset(words.tolist()) for words in rare)


def spelled(word: int) -> str:
    """A word as it is compared: its pieces together, lower case."""
    return "".join(vocabulary()[word])


@dataclass(frozen=True)
class Planted:
    """The evidence of all features, in their order."""

    report: tuple[Evidence, ...]
    refine: tuple[Evidence, ...]


def import_planted(folder: Path) -> Planted:
    """Write the text and its features, import them, and read what labels are tried and scored on."""
    source = folder / "pieces"
    source.mkdir(parents=True)
    _write(source)
    workspace = Workspace.open_or_create(folder / "workspace")
    import_parquet(source, ImportSpec(quiet=600), workspace.evidence)
    file = workspace.open_evidence(None)
    report, refine = ReportEvidence(file), AgentEvidence(file)
    found = Planted(
        tuple(report.report(feature, PLAN) for feature in file.features),
        tuple(refine.refine(feature, PLAN) for feature in file.features),
    )
    file.close()
    return found


def _write(folder: Path) -> None:
    rng = np.random.default_rng(3)
    features = {word: feature for feature, words in enumerate(truth()) for word in words}
    fired: list[tuple[int, int, int, float]] = []
    contexts: list[list[str]] = []
    for _ in range(DOCUMENTS):
        words, tokens = _document(rng)
        for start in range(0, PER_DOCUMENT * CONTEXT, CONTEXT):
            for position, word in enumerate(words[start : start + CONTEXT]):
                if word in features:
                    fired.append((features[word], len(contexts), position, float(rng.uniform(0.5, 1.5))))
            contexts.append(tokens[start : start + CONTEXT])
    kinds = (pa.int32(), pa.int64(), pa.int32(), pa.float32())
    columns = [pa.array(column, kind) for column, kind in zip(zip(*fired, strict=True), kinds, strict=True)]
    names = ["feature", "context_id", "position", "activation"]
    pq.write_table(pa.table(columns, names), folder / "activations.parquet")
    told = {
        "context_id": pa.array(range(len(contexts)), pa.int64()),
        "document": [f"d{number // PER_DOCUMENT}" for number in range(len(contexts))],
        "tokens": pa.array(contexts, pa.list_(pa.string())),
    }
    pq.write_table(pa.table(told), folder / "contexts.parquet")


def _document(rng: np.random.Generator) -> tuple[list[int], list[str]]:
    """For every token the word it begins, -1 for any other, and its text."""
    chances = 1 / np.arange(4, 404)
    words: list[int] = []
    tokens: list[str] = []
    first = True
    while len(tokens) < PER_DOCUMENT * CONTEXT:
        for word in rng.choice(400, 200, p=chances / chances.sum()).tolist():
            pieces = vocabulary()[word]
            words += [word, *[-1] * (len(pieces) - 1)]
            tokens += [f" {pieces[0].capitalize() if first else pieces[0]}", *pieces[1:]]
            first = bool(rng.random() < 0.1)
            if first:
                words.append(-1)
                tokens.append(".")
    return words, tokens
