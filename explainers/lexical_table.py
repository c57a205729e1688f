"""Evidence as a table: which possible clauses hold at which words, and how the feature fires there.

1. *Words and weights.* A score is computed on windows around firings and about as many silent ones, where a
   word counts for far more than in the corpus. So a word of an activating context has the weight of being in
   such a window, falling with the distance from the peak; all silent words together weigh as much as
   SILENT_SHARE of these.
2. *Candidates.* Whatever can be said of a firing word: by itself, with a neighbour, by a neighbour alone.
3. *Screening.* Those whose firing stands out against the rest: by how much of the activation's sum of squares
   each would explain by itself, its mean shrunken towards silence, for the characters it costs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from exegete.datastore.records import Evidence, Excerpt
from exegete.explainers.lexical_vocabulary import Ints, Vocabulary
from exegete.simulators.grammar import ANY, Clause, Pattern

Doubles = NDArray[np.float64]

REACH = 24
"""Words from the peak beyond which a word is never in its window: what a window of 32 tokens holds."""

SILENT_SHARE = 1.0
"""Weight of all silent words to that of all words of activating contexts."""

PRIOR = 1.0
"""Weight of the silence that is added to what is seen of every candidate."""

SCREENED = {"alone": 240, "beside": 120, "any": 16}
"""How many candidates of a sort are looked at together."""

_COST = {"word": 4, "forms": 9, "ending": 10, "beginning": 12, "class": 2}
"""Characters a pattern needs beside its text."""


@dataclass(frozen=True, slots=True)
class Table:
    """Words (rows) by candidate clauses (columns)."""

    candidates: tuple[Clause, ...]
    """In an order that only depends on what they say. Their levels mean nothing."""
    activations: Doubles
    """(n_rows,) raw units. Words for which no candidate holds have no row."""
    weights: Doubles
    """(n_rows,)"""
    rows: Ints
    """(n_entries,) with `columns`: where which candidate holds."""
    columns: Ints
    """(n_entries,)"""
    costs: Doubles
    """(n_candidates,) characters that each adds to a label."""
    total: float
    """Weighted sum of squares of all activations, rows or not."""


@dataclass(frozen=True, slots=True)
class _Words:
    """All words of the evidence, contexts end to end."""

    tokens: Ints
    """(n,) numbers of tokens."""
    words: Ints
    """(n,) numbers of their patterns "word"."""
    left: Ints
    """(n,) that of the word before, -1 at a beginning."""
    right: Ints
    """(n,) that of the word after, -1 at an end."""
    activations: Doubles
    """(n,) raw units."""
    weights: Doubles
    """(n,)"""


@dataclass(frozen=True, slots=True)
class _Entries:
    """Where the candidates of one sort hold."""

    clauses: list[Clause]
    rows: Ints
    """(n_entries,) words."""
    columns: Ints
    """(n_entries,) numbers of clauses."""


def build(vocabulary: Vocabulary, evidence: Evidence) -> Table:
    """Make the table of one feature.

    Args:
        vocabulary: numbers for words; it grows.
        evidence: at least one word of it fires.
    """
    seen = _lay_out(vocabulary, evidence)
    sorts = [
        _alone(seen, vocabulary),
        _beside(seen, vocabulary, "after"),
        _beside(seen, vocabulary, "before"),
        _anything_beside(seen, vocabulary, "after"),
        _anything_beside(seen, vocabulary, "before"),
    ]
    clauses = [clause for entries in sorts for clause in entries.clauses]
    order = sorted(range(len(clauses)), key=lambda i: _key(clauses[i]))
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    offsets = np.cumsum([0, *(len(entries.clauses) for entries in sorts)])
    columns = place[np.concatenate([e.columns + o for e, o in zip(sorts, offsets, strict=False)])]
    used, rows = np.unique(np.concatenate([entries.rows for entries in sorts]), return_inverse=True)
    return Table(
        candidates=tuple(clauses[i] for i in order),
        activations=seen.activations[used],
        weights=seen.weights[used],
        rows=rows,
        columns=columns,
        costs=np.asarray([_cost(clauses[i]) for i in order], dtype=np.float64),
        total=float(seen.weights @ seen.activations**2),
    )


def _lay_out(vocabulary: Vocabulary, evidence: Evidence) -> _Words:
    """Number and weigh all words, in an order that does not depend on that of the excerpts."""
    activating = sorted(evidence.activating, key=lambda e: (-e.peak, e.context.id, e.context.start))
    silent = sorted(evidence.quiet, key=lambda e: (e.context.id, e.context.start))
    rows = vocabulary.read([e.context for e in [*activating, *silent]])
    lengths = np.asarray([len(row) for row in rows], dtype=np.int64)
    tokens = np.concatenate(rows)
    words = vocabulary.arrays()[2][tokens]
    starts = np.cumsum(lengths) - lengths
    left, right = np.roll(words, 1), np.roll(words, -1)
    left[starts[lengths > 0]] = -1
    right[(starts + lengths - 1)[lengths > 0]] = -1
    n_firing = int(lengths[: len(activating)].sum())
    activations = np.zeros(len(tokens))
    activations[:n_firing] = np.concatenate([e.activations for e in activating])
    weights = np.zeros(len(tokens))
    weights[:n_firing] = np.concatenate([_weights(e) for e in activating])
    weights[n_firing:] = SILENT_SHARE * weights.sum() / max(1, len(tokens) - n_firing)
    return _Words(tokens, words, left, right, activations, weights)


def _weights(excerpt: Excerpt) -> Doubles:
    """(n_tokens,) how likely each word is to be in a window cut at random around the peak."""
    distance = np.abs(np.arange(len(excerpt.activations)) - int(np.argmax(excerpt.activations)))
    return np.maximum(0.0, 1.0 - distance / REACH)


def _alone(seen: _Words, vocabulary: Vocabulary) -> _Entries:
    """Clauses about a word by itself."""
    starts, flat, _ = vocabulary.arrays()
    weight = np.bincount(seen.tokens, seen.weights, len(starts) - 1)
    firing = np.bincount(seen.tokens, seen.weights * seen.activations, len(starts) - 1)
    present = np.flatnonzero(weight)
    owner, of_token = _spread(starts, present)
    numbers, inverse = np.unique(flat[of_token], return_inverse=True)
    patterns = [vocabulary.patterns[n] for n in numbers.tolist()]
    n, s = np.bincount(inverse, weight[present][owner]), np.bincount(inverse, firing[present][owner])
    raise NotImplementedError
