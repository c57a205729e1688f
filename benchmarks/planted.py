"""Features of known truth, planted on real text, as a folder that `exegete import parquet` reads.

Kinds: a single word; a class of words; a word ending; the word after another; and features that fire at
random at the same density, for which no label can be right.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from exegete.subjects.corpora import open_corpus

CONTEXT_WORDS = 96
CLASSES = (
    ("one", "two", "three", "four", "first", "second", "third"),
    ("class", "classes", "instance", "instances", "object", "objects"),
    ("string", "strings", "bytes", "text", "character", "characters"),
    ("may", "must", "should", "can", "cannot", "could"),
    ("list", "tuple", "dictionary", "set", "sequence", "mapping"),
    ("and", "or", "not", "if", "else", "while"),
    ("he", "she", "it", "they", "we", "you"),
    ("before", "after", "during", "until", "when"),
)
ENDINGS = ("ing", "tion", "ed", "ly", "ment", "able", "er", "ence")
AFTER = ("the", "of", "to", "is", "a", "for", "in", "by")
RANDOM = 16
SINGLE = 24

Rule = Callable[[list[str], int], bool]


def write_planted(folder: Path, seed: int = 0) -> dict[int, str]:
    """Write contexts.parquet and activations.parquet.

    Args:
        folder: where to.
        seed: of the noise and of the random features.

    Returns:
        The kind of each feature.
    """
    rng = np.random.default_rng(seed)
    contexts = _contexts()
    rules = _rules(contexts, rng)
    rows: dict[str, list[float]] = {"feature": [], "context_id": [], "position": [], "activation": []}
    for context_id, (_, words) in enumerate(contexts):
        lower = [word.strip().lower() for word in words]
        for feature, (_, rule) in enumerate(rules):
            for position in range(len(lower)):
                if rule(lower, position):
                    rows["feature"].append(feature)
                    rows["context_id"].append(context_id)
                    rows["position"].append(position)
                    rows["activation"].append(float(rng.uniform(0.6, 1.0)))
    kinds = ("int32", "int64", "int32", "float32")
    pq.write_table(
        pa.table({name: pa.array(rows[name], kind) for name, kind in zip(rows, kinds, strict=True)}),
        folder / "activations.parquet",
    )
    pq.write_table(
        pa.table(
            {
                "context_id": pa.array(range(len(contexts)), pa.int64()),
                "document": [document for document, _ in contexts],
                "tokens": [words for _, words in contexts],
            }
        ),
        folder / "contexts.parquet",
    )
    return {feature: kind for feature, (kind, _) in enumerate(rules)}


def _contexts() -> list[tuple[str, list[str]]]:
    """The Python documentation as windows of words and marks, each with its leading space."""
    found = []
    for document in open_corpus("stdlib-docs").documents():
        words = [(" " if m[1] else "") + m[2] for m in re.finditer(r"(\s*)(\w+|[^\w\s])", document.text)]
        for start in range(0, len(words), CONTEXT_WORDS):
            if len(words) - start >= CONTEXT_WORDS // 4:
                found.append((document.name, words[start : start + CONTEXT_WORDS]))
    return found


def _rules(contexts: list[tuple[str, list[str]]], rng: np.random.Generator) -> list[tuple[str, Rule]]:
    counts = Counter(word.strip().lower() for _, words in contexts for word in words)
    common = sorted(w for w in counts if w.isalpha() and len(w) > 3 and 60 <= counts[w] <= 600)
    rules: list[tuple[str, Rule]] = []
    rules += [("single word", _any_of({word})) for word in rng.choice(common, SINGLE, replace=False).tolist()]
    rules += [("class of words", _any_of(set(members))) for members in CLASSES]
    rules += [("word ending", _ending(ending)) for ending in ENDINGS]
    rules += [("word after another", _after(word)) for word in AFTER]
    rules += [("random", _random(rng, 0.002 * (1 + number % 4))) for number in range(RANDOM)]
    return rules


def _any_of(members: set[str]) -> Rule:
    return lambda words, i: words[i] in members


def _ending(ending: str) -> Rule:
    return lambda words, i: words[i].endswith(ending) and len(words[i]) > len(ending) + 2


def _after(word: str) -> Rule:
    return lambda words, i: i > 0 and words[i - 1] == word and words[i].isalpha()


def _random(rng: np.random.Generator, share: float) -> Rule:
    return lambda words, i: bool(rng.random() < share)
