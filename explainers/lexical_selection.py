"""Choosing clauses: forward selection of whatever explains most for its characters.

A rule predicts, for a word, the level of its strongest clause. Starting from silence,

1. every candidate is tried at every strength: by how much less would the weighted squared error be, minus a
   penalty of PRIOR words at which the step up from the prediction so far were wrong;
2. the candidate and strength with the largest gain a character is taken;
3. until the characters are used up, or nothing gains.

The penalty is what a ridge would charge; it asks more of a clause that was seen once than of one seen often.
Only levels' ratios matter to a correlation, so the level "strong" stands for what the best candidates reach
in this feature, not for its maximum.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from exegete.datastore.records import MAX_LEVEL
from exegete.explainers.lexical_table import PRIOR, Doubles, Table
from exegete.simulators.grammar import STRENGTHS, Clause

LEAST_GAIN = 0.0
"""Share of the activations' sum of squares that a clause must explain."""

_LEVELS = np.asarray(list(STRENGTHS.values()), dtype=np.float64)
_N = len(_LEVELS)

_LEADING, _QUANTILE = 12, 0.9
"""The level "strong" stands for this quantile of the mean activations of so many best candidates."""


@dataclass(frozen=True, slots=True)
class Choice:
    """One step of the selection."""

    clause: Clause
    gain: float
    """Share of the activations' sum of squares that it explained, less its penalty."""
    cost: float
    """Characters."""


def select(table: Table, allowed: NDArray[np.bool_], characters: float) -> list[Choice]:
    """Choose clauses.

    Args:
        table: the evidence.
        allowed: (n_candidates,) which candidates may be chosen.
        characters: about how many the label may have.

    Returns:
        Choices in the order in which they were made.
    """
    from scipy.sparse import csr_array

    shape = (len(table.weights), len(table.candidates))
    by_row = csr_array((np.ones(len(table.rows)), (table.rows, table.columns)), shape=shape)
    by_column = by_row.T.tocsr()
    size = np.maximum(by_column @ table.weights, 1e-12)  # (n_candidates,)
    unit = _unit(size, by_column @ (table.weights * table.activations))
    target, total = table.activations / unit, table.total / unit**2
    said = np.zeros(len(target))  # (n_rows,) the prediction so far
    sums = by_column @ _tried(target, said, table.weights)  # (n_candidates, 2 * n_levels)
    left, allowed, choices = characters, allowed.copy(), list[Choice]()
    while True:
        gains = (sums[:, :_N] - PRIOR * (sums[:, _N:] / size[:, None]) ** 2) / total
        gains[~allowed | (table.costs > left)] = 0.0
        gains[gains < LEAST_GAIN] = 0.0
        # Rounded, so that a tie goes to the first candidate and not to the last digit of a sum.
        best = int(np.argmax(np.round(gains / table.costs[:, None], 12)))
        chosen, level = divmod(best, _N)
        if gains[chosen, level] <= 0:
            return choices
        clause = replace(table.candidates[chosen], level=int(_LEVELS[level]))
        choices.append(Choice(clause, float(gains[chosen, level]), float(table.costs[chosen])))
        allowed[chosen] = False
        left -= table.costs[chosen]
        rows = by_column.indices[by_column.indptr[chosen] : by_column.indptr[chosen + 1]]
        rows = rows[said[rows] < _LEVELS[level]]
        before = _tried(target[rows], said[rows], table.weights[rows])
        said[rows] = _LEVELS[level]
        sums += by_row[rows].T @ (_tried(target[rows], said[rows], table.weights[rows]) - before)


def _tried(target: Doubles, said: Doubles, weights: Doubles) -> Doubles:
    """What saying each level would change at each word.

    Returns:
        (n_rows, 2 * n_levels): by how much less the weighted squared error would be, then the weighted step.
    """
    raised = np.maximum(said[:, None], _LEVELS)
    better = (target - said)[:, None] ** 2 - (target[:, None] - raised) ** 2
    return np.concatenate([better, raised - said[:, None]], axis=1) * weights[:, None]


def _unit(size: Doubles, firing: Doubles) -> float:
    """The activation that one level stands for, raw units."""
    mean = firing / (size + PRIOR)
    leading = np.argsort(-np.round(mean * firing, 12), kind="stable")[:_LEADING]
    return float(np.quantile(mean[leading], _QUANTILE)) / MAX_LEVEL
