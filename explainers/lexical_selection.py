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
    thrift: float
    """1 when gains were weighed against characters, 0 when not."""


class Problem:
    """A table made ready for selection."""

    def __init__(self, table: Table) -> None:
        """Work out what every selection from the table starts with."""
        self.table = table
        self.holds: Doubles = table.holds.toarray()
        """(n_candidates, n_rows)"""
        self.size = np.maximum(np.asarray(table.holds @ table.weights), 1e-12)
        """(n_candidates,) weight of the words at which each holds."""
        unit = _unit(self.size, np.asarray(table.holds @ (table.weights * table.activations)))
        self.target = table.activations / unit
        """(n_rows,) activations as levels."""
        self.total = table.total / unit**2
        """Weighted sum of squares of all levels."""
        rows = np.arange(len(self.target))
        self.sums = np.asarray(table.holds @ self.tried(rows, np.zeros(len(rows))))
        """(n_candidates, 2 * n_levels) what `tried` sums to where each holds, while nothing is said."""

    def tried(self, rows: NDArray[np.int64], said: Doubles) -> Doubles:
        """What saying each level would change at some of the rows.

        Args:
            rows: (n,) which.
            said: (n_rows,) the prediction so far.

        Returns:
            (n, 2 * n_levels): how much less the weighted squared error would be, then the weighted step up.
        """
        target, before = self.target[rows, None], said[rows, None]
        raised = np.maximum(before, _LEVELS)
        better = (target - before) ** 2 - (target - raised) ** 2
        return np.concatenate([better, raised - before], axis=1) * self.table.weights[rows, None]


def select(problem: Problem, characters: float) -> Selection:
    """Find a rule, with thrift and without.

    Args:
        problem: the evidence.
        characters: about how many the label may have.

    Returns:
        The better of the two.
    """
    every = np.ones(len(problem.table.candidates), dtype=bool)
    thrifty = Search(problem, every, characters, thrift=1.0).run()
    if thrifty.explained >= 1 - MARGIN:
        return thrifty
    plain = Search(problem, every, characters, thrift=0.0).run()
    return plain if plain.explained > thrifty.explained + MARGIN else thrifty


class Search:
    """A selection under way."""

    def __init__(
        self, problem: Problem, allowed: NDArray[np.bool_], characters: float, thrift: float
    ) -> None:
        """Start from silence.

        Args:
            problem: the evidence.
            allowed: (n_candidates,) which candidates may be chosen.
            characters: about how many the label may have.
            thrift: gains are divided by the characters they cost to this power.
        """
        self._problem = problem
        self._allowed = allowed.copy()
        self._characters = characters
        self._thrift = thrift
        self._price = problem.table.costs[:, None] ** thrift
        self._sums = problem.sums.copy()
        self._said = np.zeros(len(problem.target))  # (n_rows,) the prediction so far
        self._choices: list[Choice] = []
        self._explained = 0.0

    def run(self) -> Selection:
        """Take clause after clause while one is worth it, drop one that no longer is, and so on."""
        while self._grow() or self._drop():
            pass
        return Selection(tuple(self._choices), self._explained, self._thrift)

    def _grow(self) -> bool:
        """Take clauses; say whether there were any."""
        problem, grown = self._problem, False
        while True:
            penalties = PRIOR * (self._sums[:, _N:] / problem.size[:, None]) ** 2
            gains = (self._sums[:, :_N] - penalties) / problem.total
            left = self._characters - sum(choice.cost for choice in self._choices)
            gains[~self._allowed | (problem.table.costs > left)] = 0.0
            gains[gains < LEAST_GAIN] = 0.0
            # Rounded, so that a tie goes to the first candidate and not to the last digit of a sum.
            number, strength = divmod(int(np.argmax(np.round(gains / self._price, 12))), _N)
            if gains[number, strength] <= 0:
                return grown
            grown = True
            self._explained += float(gains[number, strength])
            self._take(number, float(_LEVELS[strength]))

    def _take(self, number: int, level: float) -> None:
        """Add a clause to the rule."""
        clause = replace(self._problem.table.candidates[number], level=int(level))
        self._choices = [one for one in self._choices if not self._covered(one, clause, number)]
        self._choices.append(Choice(number, clause, float(self._problem.table.costs[number])))
        self._allowed[number] = False
        self._say(np.where(self._problem.holds[number] > 0, np.maximum(self._said, level), self._said))

    def _drop(self) -> bool:
        """Drop the clause least worth its place, if it is worth none beside those taken after it."""
        if not self._choices:
            return False
        problem, rows = self._problem, np.flatnonzero(self._said)
        numbers = np.asarray([choice.number for choice in self._choices])
        levels = np.asarray([choice.clause.level for choice in self._choices], dtype=np.float64)
        each = problem.holds[numbers[:, None], rows] * levels[:, None]  # (n_choices, n)
        first = np.argmax(each, axis=0)
        each[first, np.arange(len(rows))] = 0.0
        without = each.max(axis=0)  # what would be said without the clause that decides
        target, said, weights = problem.target[rows], self._said[rows], problem.table.weights[rows]
        worse = ((target - without) ** 2 - (target - said) ** 2) * weights
        n = len(numbers)
        steps = np.bincount(first, (said - without) * weights, n) / problem.size[numbers]
        worth = (np.bincount(first, worse, n) - PRIOR * steps**2) / problem.total
        least = int(np.argmin(np.round(worth, 12)))
        if worth[least] > 0:
            return False
        self._explained -= float(worth[least])
        del self._choices[least]
        fallen = self._said.copy()
        fallen[rows[first == least]] = without[first == least]
        self._say(fallen)
        return True

    def _say(self, said: Doubles) -> None:
        """Change the prediction, and what follows from it."""
        rows = np.flatnonzero(said != self._said)
        before = self._problem.tried(rows, self._said)
        self._said = said
        self._sums += self._problem.holds[:, rows] @ (self._problem.tried(rows, said) - before)

    def _covered(self, one: Choice, clause: Clause, number: int) -> bool:
        """Say whether an earlier choice says nothing more beside a new clause ("view", beside its forms)."""
        if clause.side is not None or one.clause.pattern.kind == "any" or clause.level < one.clause.level:
            return False
        return bool(np.all(self._problem.holds[one.number] <= self._problem.holds[number]))


def _unit(size: Doubles, firing: Doubles) -> float:
    """The activation that one level stands for, raw units.

    Args:
        size: (n_candidates,) weight of the words at which each holds.
        firing: (n_candidates,) weighted sum of their activations.
    """
    mean = firing / (size + PRIOR)
    leading = np.argsort(-np.round(mean * firing, 12), kind="stable")[:_LEADING]
    return float(np.quantile(mean[leading], _QUANTILE)) / MAX_LEVEL
