"""Features of known truth on generated text, as a folder that `exegete import parquet` reads.

    0        the word WORD
    1        a class of three words, each with its own strength
    2        words with the ending ENDING
    3        the word after AFTER
    4, 5     fire at random: no label can be right
    6        dead
    7        fires in too few contexts
    8 to 19  a single word each

Every context has its document's name on every tenth place (doc0123), so that a window of it says, wherever it
turns up, which document, and so which split, it is of.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

DOCUMENTS = 300
WORDS = 40
"""Words a document, which is one context."""

ONSETS, NUCLEI, CODAS = "bdfgklmnprstvz", "aeiou", ("l", "n", "r", "s", "t")
ENDING = "ish"
MARK = re.compile(r"doc\d{4}")

Rule = Callable[[list[str], int], float]


def _vocabulary() -> list[str]:
    """Two hundred words; eight of them end in ENDING, and no other does."""
    rng = np.random.default_rng(11)
    words: dict[str, None] = {}
    while len(words) < 192:
        syllables = [
            f"{rng.choice(list(ONSETS))}{rng.choice(list(NUCLEI))}{rng.choice(CODAS)}" for _ in range(2)
        ]
        words["".join(syllables)] = None
    plain = list(words)
    return plain + [f"{word[:4]}{ENDING}" for word in plain[100:108]]


VOCABULARY = _vocabulary()
WORD, AFTER, RARE = VOCABULARY[0], VOCABULARY[1], "once"
CLASS: Mapping[str, float] = {VOCABULARY[2]: 3.0, VOCABULARY[3]: 2.0, VOCABULARY[4]: 1.5}
SINGLE = VOCABULARY[20:32]
DEAD, SCARCE = 6, 7
RANDOM = (4, 5)
FEATURES = tuple(range(8 + len(SINGLE)))
ALIVE = tuple(f for f in FEATURES if f not in (DEAD, SCARCE))

TRUTH: Mapping[int, str] = {
    0: f'the word "{WORD}"',
    1: "the words " + ", ".join(f'"{word}"' for word in CLASS),
    2: f'words ending in "{ENDING}"',
    3: f'the word after "{AFTER}"',
    **{8 + i: f'the word "{word}"' for i, word in enumerate(SINGLE)},
}
"""The right label of every feature that has one."""


def documents() -> list[tuple[str, list[str]]]:
    """(name, words) of all documents."""
    rng = np.random.default_rng(5)
    found = []
    for number in range(DOCUMENTS):
        words = [str(word) for word in rng.choice(VOCABULARY, WORDS)]
        words[5::10] = [f"doc{number:04d}"] * len(words[5::10])
        if number < 6:
            words[12] = RARE
        found.append((f"doc{number:04d}", words))
    return found


def rules() -> dict[int, Rule]:
    """How strongly each feature that fires does so at a place."""
    noise = np.random.default_rng(7).uniform(0.8, 1.2, (DOCUMENTS, WORDS))
    chance = np.random.default_rng(9).random((DOCUMENTS, WORDS, 2))

    def number(words: list[str]) -> int:
        return int(words[5][3:])

    def at_random(which: int) -> Rule:
        return lambda words, i: float(chance[number(words), i, which] < 0.008)

    def is_word(word: str) -> Rule:
        return lambda words, i: float(words[i] == word)

    found: dict[int, Rule] = {
        0: is_word(WORD),
        1: lambda words, i: CLASS.get(words[i], 0.0),
        2: lambda words, i: float(words[i].endswith(ENDING)),
        3: lambda words, i: float(i > 0 and words[i - 1] == AFTER),
        4: at_random(0),
        5: at_random(1),
        SCARCE: is_word(RARE),
        **{8 + k: is_word(word) for k, word in enumerate(SINGLE)},
    }

    def noisy(rule: Rule) -> Rule:
        return lambda words, i: rule(words, i) * float(noise[number(words), i])

    return {feature: noisy(rule) for feature, rule in found.items()}


def write_folder(folder: Path, renamed: Mapping[str, str] | None = None) -> Path:
    """Write contexts, activations and features, words renamed as told; the folder."""
    renamed = renamed or {}
    folder.mkdir(parents=True)
    texts, firing = documents(), rules()
    contexts = {
        "context_id": pa.array(range(len(texts)), pa.int64()),
        "document": pa.array([name for name, _ in texts]),
        "tokens": pa.array([[renamed.get(w, w) for w in words] for _, words in texts], pa.list_(pa.string())),
    }
    rows: list[tuple[int, int, int, float]] = [
        (feature, context, i, value)
        for feature, rule in firing.items()
        for context, (_, words) in enumerate(texts)
        for i in range(len(words))
        if (value := rule(words, i)) > 0
    ]
    columns = list(zip(*rows, strict=True))
    activations = {
        "feature": pa.array(columns[0], pa.int32()),
        "context_id": pa.array(columns[1], pa.int64()),
        "position": pa.array(columns[2], pa.int32()),
        "activation": pa.array(columns[3], pa.float32()),
    }
    pq.write_table(pa.table(contexts), folder / "contexts.parquet")
    pq.write_table(pa.table(activations), folder / "activations.parquet")
    features = {"feature": pa.array(FEATURES, pa.int32()), "planted": [f in TRUTH for f in FEATURES]}
    pq.write_table(pa.table(features), folder / "features.parquet")
    return folder
