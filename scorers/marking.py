"""Marked words, true and false: false marks on the same kinds of words at the same places as the true ones.

Whoever is shown marked words and asked whether they are those that a feature fires on must find no answer
in where the marks stand or what they look like. So each excerpt with true marks has a substitute: another
excerpt with as many marks, on words that do not fire.

1. A word's kind is whether it is a word, a number or a mark, begins with a capital, and is short, middling
   or long (up to 3, up to 6, more characters).
2. A false mark costs one for each word that it stands away from the true mark's place, `OTHER_CLASS` for
   another class, `OTHER_LOOK` for other capitals and for each step of length. The marks of one excerpt take
   the cheapest silent words, one after the other.
3. Excerpts are assigned so that the sum of costs is least [linear assignment]; none serves for more than its
   share. Ties are broken by a hash of both contexts and the seed.

Over 128 neurons (`python -m benchmarks.marks`) 85% of wrong marks stand at the very place of a right one and
98% within a word of it, 95% on a word of the same kind; simulators that go by places alone score .50.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from exegete.datastore.hashing import uniform
from exegete.datastore.records import Excerpt
from exegete.scorers.statistics import Array

SHARE = 0.3
"""A word is marked as firing above this share of its excerpt's peak [Paulo et al. 2024]."""

OTHER_CLASS = 8.0
OTHER_LOOK = 2.0
"""What a false mark costs on another kind of word, in words of distance."""

_NEVER = 1e6
"""Cost of a word that can't be marked: more than all marks of an excerpt can cost otherwise."""


@dataclass(frozen=True, slots=True)
class Marked:
    """One excerpt with some of its words marked."""

    row: int
    """Which of the excerpts it is."""
    places: NDArray[np.intp]
    """(n_marks,) its marked words, increasing."""


def marks_of(excerpt: Excerpt) -> NDArray[np.intp]:
    """Words that fire above 30% of the excerpt's peak; none in a silent one."""
    return np.flatnonzero(excerpt.activations > SHARE * max(excerpt.peak, 0.0))


def substitutes(
    excerpts: Sequence[Excerpt], models: Sequence[Marked], hosts: Sequence[int], seed: int
) -> list[Marked | None]:
    """False marks that look like true ones.

    Args:
        excerpts: all excerpts.
        models: those with true marks.
        hosts: rows of the excerpts that may carry false marks; silent words of them are marked.
        seed: breaks ties.

    Returns:
        For every model its substitute, or None where no excerpt has as many silent words left.
    """
    if not models or not hosts:
        return [None] * len(models)
    from scipy.optimize import linear_sum_assignment

    table = _Table([excerpts[row] for row in hosts], seed)
    placed = [table.place(excerpts[model.row], model.places) for model in models]
    cost = np.stack([cost for cost, _ in placed])  # (n_models, n_hosts)
    turns = -(-len(models) // len(hosts))
    # A second turn costs a little, so that marks are spread over the excerpts that there are.
    chosen, taken = linear_sum_assignment(np.concatenate([cost + turn for turn in range(turns)], axis=1))
    found: list[Marked | None] = [None] * len(models)
    for model, turn in zip(chosen.tolist(), taken.tolist(), strict=True):
        host = turn % len(hosts)
        if cost[model, host] < _NEVER:
            found[model] = Marked(hosts[host], np.sort(placed[model][1][host]))
    return found


@lru_cache(65_536)
def kind(token: str) -> tuple[int, int, int]:
    """A word's class (0 word, 1 number, 2 mark), capital (0, 1) and length (0 short to 2 long)."""
    text = token.strip()
    word, number = (any(map(is_one, text)) for is_one in (str.isalpha, str.isdigit))
    return 0 if word else 2 - number, int(text[:1].isupper()), min(max(len(text) - 1, 0) // 3, 2)


class _Table:
    """The words of some excerpts side by side, and what a false mark on each would cost."""

    def __init__(self, hosts: Sequence[Excerpt], seed: int) -> None:
        shape = len(hosts), max(len(host.activations) for host in hosts)
        self._kinds = np.zeros((*shape, 3), dtype=np.intp)
        self._silent = np.zeros(shape, dtype=np.bool_)
        for row, host in enumerate(hosts):
            n = len(host.activations)
            self._kinds[row, :n] = [kind(token) for token in host.context.tokens]
            self._silent[row, :n] = host.activations <= 0
        self._places = np.arange(shape[1])
        ids = np.array([host.context.id for host in hosts])[:, None]
        self._ties = uniform(seed, ids, self._places)  # below 1: they decide between equals only

    def place(self, model: Excerpt, places: NDArray[np.intp]) -> tuple[Array, NDArray[np.intp]]:
        """Put as many false marks into every host as a model has true ones.

        Returns:
            (n_hosts,) costs, `_NEVER` or more where there are too few silent words;
            (n_hosts, n_marks) places.
        """
        free = self._silent.copy()
        rows = np.arange(len(free))
        total = np.zeros(len(free))
        found = np.zeros((len(free), len(places)), dtype=np.intp)
        for mark, place in enumerate(places.tolist()):
            cls, capital, length = kind(model.context.tokens[place])
            away = np.abs(self._places - place) + self._ties
            look = np.abs(self._kinds[..., 1] - capital) + np.abs(self._kinds[..., 2] - length)
            cost = away + OTHER_CLASS * (self._kinds[..., 0] != cls) + OTHER_LOOK * look
            cost = np.where(free, cost, _NEVER)
            found[:, mark] = cost.argmin(1)
            total += cost[rows, found[:, mark]]
            free[rows, found[:, mark]] = False
        return total, found
