"""Evidence as a table: which candidate clauses hold at which words, and how the feature fires there.

Words at which the same candidates hold and the feature is silent can't be told apart by any rule, so they
are one row, and tens of thousands of words become a few thousand rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from exegete.datastore.records import Evidence
from exegete.explainers.lexical_candidates import alone, beside, cost
from exegete.explainers.lexical_layout import Doubles, Words, lay_out
from exegete.explainers.lexical_vocabulary import Ints, Vocabulary
from exegete.simulators.grammar import Clause

if TYPE_CHECKING:
    from scipy.sparse import csr_array


@dataclass(frozen=True, slots=True)
class Table:
    """Candidate clauses by words."""

    candidates: tuple[Clause, ...]
    """In an order that only depends on what they say. Their levels mean nothing yet."""
    costs: Doubles
    """(n_candidates,) characters that each adds to a label."""
    holds: csr_array[np.float64, tuple[int, int]]
    """(n_candidates, n_rows) 1 where a candidate holds."""
    activations: Doubles
    """(n_rows,) raw units; a row is a firing word, or all silent words that no candidate tells apart."""
    weights: Doubles
    """(n_rows,)"""
    total: float
    """Weighted sum of squares of all activations, with those of words at which no candidate holds."""


def build(vocabulary: Vocabulary, evidence: Evidence) -> Table:
    """Make the table of one feature.

    Args:
        vocabulary: numbers for words; it grows.
        evidence: at least one word of it fires.
    """
    from scipy.sparse import csr_array

    words = lay_out(vocabulary, evidence)
    sorts = [
        alone(words, vocabulary),
        beside(words, vocabulary, "after", any_word=False),
        beside(words, vocabulary, "before", any_word=False),
        beside(words, vocabulary, "after", any_word=True),
        beside(words, vocabulary, "before", any_word=True),
    ]
    clauses = [clause for entries in sorts for clause in entries.clauses]
    order = sorted(range(len(clauses)), key=lambda number: _key(clauses[number]))
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    offsets = np.cumsum([0, *(len(entries.clauses) for entries in sorts[:-1])]).tolist()
    rows = np.concatenate([entries.rows for entries in sorts])
    columns = np.concatenate([e.columns + offset for e, offset in zip(sorts, offsets, strict=True)])
    shape = (len(words.tokens), len(order))
    by_word = csr_array((np.ones(len(rows)), (rows, place[columns])), shape=shape)
    kept, weights = _told_apart(
        words, by_word.indptr.astype(np.int64), by_word.indices.astype(np.int64, copy=False)
    )
    return Table(
        candidates=tuple(clauses[number] for number in order),
        costs=np.asarray([cost(clauses[number]) for number in order], dtype=np.float64),
        holds=by_word[kept].T.tocsr(),
        activations=words.activations[kept],
        weights=weights,
        total=float(np.sum(words.weights * words.activations**2)),
    )


def _told_apart(words: Words, starts: Ints, columns: Ints) -> tuple[Ints, Doubles]:
    """Choose one word of all that no candidate tells apart.

    Args:
        words: all words.
        starts: (n_words + 1,) where the candidates of each word start.
        columns: (n_entries,) candidates.

    Returns:
        (n_rows,) words; (n_rows,) the weight of all words each stands for. A word at which no candidate
        holds is left out.
    """
    # Sets of candidates are compared by the sums of their members' random numbers.
    marks = np.random.default_rng(0).integers(2**63, size=int(columns.max(initial=0)) + 1, dtype=np.uint64)
    sums = np.concatenate([np.zeros(1, dtype=np.uint64), np.cumsum(marks[columns], dtype=np.uint64)])
    used = np.flatnonzero(np.diff(starts))
    sums = sums[starts[used + 1]] - sums[starts[used]]
    fires = words.activations[used] > 0
    firing, silent = used[fires], used[~fires]
    _, first, group = np.unique(sums[~fires], return_index=True, return_inverse=True)
    weights = np.bincount(group, words.weights[silent], len(first))
    return np.concatenate([firing, silent[first]]), np.concatenate([words.weights[firing], weights])


def _key(clause: Clause) -> tuple[str, str, str, str]:
    """What clauses are sorted by."""
    neighbour = clause.beside.text if clause.beside else ""
    return clause.pattern.kind, clause.pattern.text, clause.side or "", neighbour
