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
from exegete.simulators.grammar import Clause, Side

Doubles = NDArray[np.float64]

REACH = 24
"""Words from the peak beyond which a word is never in its window: what a window of 32 tokens holds."""

SILENT_SHARE = 1.0
"""Weight of all silent words to that of all words of activating contexts."""

PRIOR = 1.0
"""Weight of the silence that is added to what is seen of every candidate."""

SCREENED = {"alone": 240, "beside": 120, "any": 16}
"""How many candidates of a sort are looked at together."""

_COST = {"word": 4, "forms": 9, "ending": 10, "beginning": 12, "class": 2, "any": 8}
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
    nothing = np.zeros_like(seen.words)  # the number of ANY
    sorts = [
        _alone(seen, vocabulary, SCREENED["alone"]),
        _beside(seen, seen.words, "after", vocabulary, SCREENED["beside"]),
        _beside(seen, seen.words, "before", vocabulary, SCREENED["beside"]),
        _beside(seen, nothing, "after", vocabulary, SCREENED["any"]),
        _beside(seen, nothing, "before", vocabulary, SCREENED["any"]),
    ]
    clauses = [clause for entries in sorts for clause in entries.clauses]
    order = sorted(range(len(clauses)), key=lambda i: _key(clauses[i]))
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    offsets = np.cumsum([0, *(len(entries.clauses) for entries in sorts)])
    rows = np.concatenate([entries.rows for entries in sorts])
    used = np.zeros(len(seen.tokens), dtype=bool)
    used[rows] = True
    return Table(
        candidates=tuple(clauses[i] for i in order),
        activations=seen.activations[used],
        weights=seen.weights[used],
        rows=(np.cumsum(used) - 1)[rows],
        columns=place[np.concatenate([e.columns + o for e, o in zip(sorts, offsets, strict=False)])],
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
    starts = (np.cumsum(lengths) - lengths)[lengths > 0]
    ends = np.cumsum(lengths)[lengths > 0] - 1
    left, right = np.roll(words, 1), np.roll(words, -1)
    left[starts] = right[ends] = -1
    n_firing = int(lengths[: len(activating)].sum())
    activations, weights = np.zeros(len(tokens)), np.zeros(len(tokens))
    activations[:n_firing] = np.concatenate([e.activations for e in activating])
    weights[:n_firing] = np.concatenate([_weights(e) for e in activating])
    weights[n_firing:] = SILENT_SHARE * weights.sum() / max(1, len(tokens) - n_firing)
    return _Words(tokens, words, left, right, activations, weights)


def _weights(excerpt: Excerpt) -> Doubles:
    """(n_tokens,) how likely each word is to be in a window cut at random around the peak."""
    peak = int(np.argmax(excerpt.activations)) if len(excerpt.activations) else 0
    distance = np.abs(np.arange(len(excerpt.activations)) - peak)
    return np.maximum(0.0, 1.0 - distance / REACH)


def _alone(seen: _Words, vocabulary: Vocabulary, most: int) -> _Entries:
    """Clauses about a word by itself: looked up once a token, then spread over its occurrences."""
    starts, flat, _ = vocabulary.arrays()
    weight = np.bincount(seen.tokens, seen.weights, len(starts) - 1)
    firing = np.bincount(seen.tokens, seen.weights * seen.activations, len(starts) - 1)
    present = np.flatnonzero(weight)
    owner, at = _spread(starts, present)
    number = flat[at]
    n = np.bincount(number, weight[present][owner], len(vocabulary.patterns))
    s = np.bincount(number, firing[present][owner], len(vocabulary.patterns))
    candidates = np.flatnonzero(s)
    clauses = [Clause(vocabulary.patterns[i]) for i in candidates.tolist()]
    kept = _best(clauses, n[candidates], s[candidates], most)
    column = _lookup(candidates[kept], len(vocabulary.patterns))[number]
    owner, column = owner[column >= 0], column[column >= 0]
    # The same, for every occurrence of a token that has a column left.
    edges = np.concatenate([[0], np.cumsum(np.bincount(owner, minlength=len(present)))])
    token = _lookup(present, len(starts) - 1)[seen.tokens]
    rows = np.flatnonzero((np.diff(edges)[token] > 0) & (token >= 0))
    owner, at = _spread(edges, token[rows])
    return _Entries([clauses[i] for i in kept.tolist()], rows[owner], column[at])


def _beside(seen: _Words, targets: Ints, side: Side, vocabulary: Vocabulary, most: int) -> _Entries:
    """Clauses about a word and its neighbour on one side, or about the neighbour alone."""
    neighbours = seen.left if side == "after" else seen.right
    n_patterns = len(vocabulary.patterns)
    fires = np.flatnonzero((seen.activations > 0) & (seen.weights > 0) & (neighbours >= 0))
    pairs = np.unique(targets[fires] * n_patterns + neighbours[fires])
    is_target, is_neighbour = np.zeros(n_patterns, dtype=bool), np.zeros(n_patterns + 1, dtype=bool)
    is_target[targets[fires]] = is_neighbour[neighbours[fires]] = True  # the last, -1, is nobody's
    rows = np.flatnonzero(is_target[targets] & is_neighbour[neighbours])
    found = targets[rows] * n_patterns + neighbours[rows]
    column = np.searchsorted(pairs, found)
    column[column == len(pairs)] = 0
    same = pairs[column] == found if len(pairs) else np.zeros(0, dtype=bool)
    rows, column = rows[same], column[same]
    n = np.bincount(column, seen.weights[rows], len(pairs))
    s = np.bincount(column, (seen.weights * seen.activations)[rows], len(pairs))
    clauses = [
        Clause(vocabulary.patterns[pair // n_patterns], side=side, beside=vocabulary.patterns[pair % n_patterns])
        for pair in pairs.tolist()
    ]
    kept = _best(clauses, n, s, most)
    column = _lookup(kept, len(pairs))[column]
    return _Entries([clauses[i] for i in kept.tolist()], rows[column >= 0], column[column >= 0])


def _best(clauses: Sequence[Clause], n: Doubles, s: Doubles, most: int) -> Ints:
    """Screen candidates: numbers of about the `most` best by what each explains for its characters.

    Args:
        clauses: the candidates.
        n: weight of the words at which each holds.
        s: weighted sum of their activations.
        most: how many to keep; more where several are as good as the last.
    """
    costs = np.asarray([_cost(clause) for clause in clauses], dtype=np.float64)
    gains = s**2 / (n + PRIOR) / costs
    if len(gains) <= most:
        return np.arange(len(gains))
    # A tie must not be broken by a number, nor by the last digit of a sum.
    return np.flatnonzero(gains >= np.partition(gains, -most)[-most] * (1 - 1e-9))


def _cost(clause: Clause) -> int:
    """Characters a clause adds to a label, about."""
    cost = _COST[clause.pattern.kind] + len(clause.pattern.text)
    return cost if clause.beside is None else cost + 10 + len(clause.beside.text)


def _key(clause: Clause) -> tuple[str, str, str, str]:
    """What clauses are sorted by."""
    return (clause.pattern.kind, clause.pattern.text, clause.side or "", clause.beside.text if clause.beside else "")


def _spread(starts: Ints, ids: Ints) -> tuple[Ints, Ints]:
    """List the entries of some of the rows of a ragged array.

    Args:
        starts: (n + 1,) where rows start.
        ids: (m,) rows.

    Returns:
        For every entry, which of `ids` has it, and where it is.
    """
    counts = starts[ids + 1] - starts[ids]
    owner = np.repeat(np.arange(len(ids)), counts)
    return owner, np.arange(len(owner)) + (starts[ids] - (np.cumsum(counts) - counts))[owner]


def _lookup(numbers: Ints, n: int) -> Ints:
    """(n,) the place of each number in a list, -1 for those that are not in it."""
    place = np.full(n, -1, dtype=np.int64)
    place[numbers] = np.arange(len(numbers))
    return place
