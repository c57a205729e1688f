"""Choosing clauses: forward selection of whatever explains most for its characters.

A rule predicts, for a word, the level of its strongest clause. Starting from silence,

1. every candidate is tried at every strength: by how much less would the weighted squared error be, minus
   what it would be more if PRIOR words more were silent at which the clause holds;
2. the candidate and strength with the largest gain a character is taken, and earlier ones that say nothing
   more beside it are dropped;
3. until the characters are used up, or nothing gains.

The penalty is what a ridge would charge; it asks more of a clause that was seen once than of one seen often.
Gain a character fits most into a label, but takes "number" where "number" after "the" would be right; so the
same is done once more by gain alone, and the rule that explains more is kept.

Only levels' ratios matter to a correlation, so the level "strong" stands for what the best candidates reach
in this feature, not for its maximum.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from exegete.datastore.records import MAX_LEVEL
from exegete.explainers.lexical_candidates import PRIOR
from exegete.explainers.lexical_layout import Doubles
from exegete.explainers.lexical_table import Table
from exegete.simulators.grammar import STRENGTHS, Clause

LEAST_GAIN = 0.003
"""Share of the activations' sum of squares that a clause must explain to be worth reading."""

MARGIN = 0.03
"""How much more a rule found without thrift must explain: it has fewer and narrower clauses."""

_LEVELS = np.asarray(list(STRENGTHS.values()), dtype=np.float64)
_N = len(_LEVELS)

_LEADING, _QUANTILE = 12, 0.9
"""The level "strong" stands for this quantile of the mean activations of so many best candidates."""


@dataclass(frozen=True, slots=True)
class Choice:
    """One clause of a rule that was found."""

    number: int
    """Of the candidate in its table."""
    clause: Clause
    cost: float
    """Characters, about."""


@dataclass(frozen=True, slots=True)
class Selection:
    """A rule that was found."""

    choices: tuple[Choice, ...]
    """In the order in which they were made."""
    explained: float
    """Share of the activations' sum of squares, less penalties."""


def select(table: Table, allowed: NDArray[np.bool_], characters: float) -> Selection:
    """Find a rule.

    Args:
        table: the evidence.
        allowed: (n_candidates,) which candidates may be chosen.
        characters: about how many the label may have.

    Returns:
        The better of the rules found with and without thrift.
    """
    thrifty, plain = (_Search(table, allowed, characters, thrift).run() for thrift in (1.0, 0.0))
    return plain if plain.explained > thrifty.explained + MARGIN else thrifty


class _Search:
    """A selection under way."""

    def __init__(self, table: Table, allowed: NDArray[np.bool_], characters: float, thrift: float) -> None:
        """Start from silence; gains are divided by the characters they cost to the power `thrift`."""
        self._table = table
        self._allowed = allowed.copy()
        self._characters = characters
        self._price = table.costs**thrift
        self._size = np.maximum(self._summed(table.weights), 1e-12)  # (n_candidates,)
        unit = _unit(self._size, self._summed(table.weights * table.activations))
        self._target, self._total = table.activations / unit, table.total / unit**2
        self._said = np.zeros(len(self._target))  # (n_rows,) the prediction so far
        rows = np.arange(len(self._target))
        self._sums = self._summed(self._tried(rows))  # (n_candidates, 2 * n_levels)
        self._dense = table.holds.toarray()
        self._choices: list[Choice] = []
        self._explained = 0.0

    def run(self) -> Selection:
        """Take clause after clause while one is worth it."""
        while True:
            gains = (
                self._sums[:, :_N] - PRIOR * (self._sums[:, _N:] / self._size[:, None]) ** 2
            ) / self._total
            left = self._characters - sum(choice.cost for choice in self._choices)
            gains[~self._allowed | (self._table.costs > left)] = 0.0
            gains[gains < LEAST_GAIN] = 0.0
            # Rounded, so that a tie goes to the first candidate and not to the last digit of a sum.
            best = int(np.argmax(np.round(gains / self._price[:, None], 12)))
            number, strength = divmod(best, _N)
            if gains[number, strength] <= 0:
                return Selection(tuple(self._choices), self._explained)
            self._explained += float(gains[number, strength])
            self._take(number, float(_LEVELS[strength]))

    def _summed(self, values: Doubles) -> Doubles:
        """For each candidate, the sum of the values of the rows at which it holds; first axis rows."""
        return np.asarray(self._table.holds @ values, dtype=np.float64)

    def _take(self, number: int, level: float) -> None:
        """Add a clause to the rule."""
        clause = replace(self._table.candidates[number], level=int(level))
        self._choices = [one for one in self._choices if not self._covered(one, clause, number)]
        self._choices.append(Choice(number, clause, float(self._table.costs[number])))
        self._allowed[number] = False
        rows = np.flatnonzero((self._dense[number] > 0) & (self._said < level))
        before = self._tried(rows)
        self._said[rows] = level
        self._sums += self._dense[:, rows] @ (self._tried(rows) - before)

    def _covered(self, one: Choice, clause: Clause, number: int) -> bool:
        """Say whether an earlier choice says nothing more beside a new clause ("view", beside its forms)."""
        if clause.side is not None or one.clause.pattern.kind == "any" or clause.level < one.clause.level:
            return False
        return bool(np.all(self._dense[one.number] <= self._dense[number]))

    def _tried(self, rows: NDArray[np.int64]) -> Doubles:
        """What saying each level would change at some of the rows.

        Returns:
            (n, 2 * n_levels): how much less the weighted squared error would be, then the weighted step up.
        """
        target, said = self._target[rows, None], self._said[rows, None]
        raised = np.maximum(said, _LEVELS)
        better = (target - said) ** 2 - (target - raised) ** 2
        return np.concatenate([better, raised - said], axis=1) * self._table.weights[rows, None]


def _unit(size: Doubles, firing: Doubles) -> float:
    """The activation that one level stands for, raw units.

    Args:
        size: (n_candidates,) weight of the words at which each holds.
        firing: (n_candidates,) weighted sum of their activations.
    """
    mean = firing / (size + PRIOR)
    leading = np.argsort(-np.round(mean * firing, 12), kind="stable")[:_LEADING]
    return float(np.quantile(mean[leading], _QUANTILE)) / MAX_LEVEL
