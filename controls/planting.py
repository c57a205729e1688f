"""From a rule to activations: log-normal strengths, some firings missed, some weak ones elsewhere.

    activation = scale of the feature · level of the rule · exp(N(0, SPREAD))

Beside them two kinds of activations for which no label can be right: firing at random as often as a planted
feature does, and a planted feature's activations dealt to other contexts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exegete.controls.passages import Ints, Passages
from exegete.datastore.records import Floats

SPREAD = 0.35
"""Standard deviation of the logarithm of strengths."""
MISSED = 0.05
"""Share of firings that are left out."""
STRAY = 0.05
"""Weak firings elsewhere, as a share of the right ones."""
WEAK = (0.05, 0.3)
"""Strength of those, as a share of the feature's scale."""


@dataclass(frozen=True, slots=True)
class Fired:
    """Where one feature fires, in tokens."""

    row: Ints
    """(n,) the context."""
    position: Ints
    """(n,) the token in it."""
    value: Floats
    """(n,) above 0, raw units."""


def plant(passages: Passages, levels: Floats, rng: np.random.Generator) -> Fired:
    """Fire where a rule holds, with noise.

    Args:
        passages: the text.
        levels: (n_words,) of the rule, without noise.
        rng: the feature's own.
    """
    right = np.flatnonzero(levels > 0)
    kept = right[rng.random(len(right)) >= MISSED]
    silent = np.flatnonzero(levels == 0)
    stray = silent[rng.integers(len(silent), size=rng.poisson(STRAY * len(right)))]
    scale = float(np.exp(rng.normal()))
    strong = levels[kept] * np.exp(rng.normal(0.0, SPREAD, len(kept)))
    weak = rng.uniform(*WEAK, len(stray))
    return _fired(passages, np.concatenate([kept, stray]), scale * np.concatenate([strong, weak]))


def at_random(passages: Passages, n: int, rng: np.random.Generator) -> Fired:
    """Fire at n words at random, each as likely as any other."""
    at = rng.choice(len(passages.word), min(n, len(passages.word)), replace=False)
    return _fired(passages, at, np.exp(rng.normal(0.0, SPREAD, len(at))))


def dealt(passages: Passages, fired: Fired, rng: np.random.Generator) -> Fired:
    """Deal a feature's activations to other contexts, whatever their length and split."""
    lengths = np.asarray([context.n_tokens for context in passages.contexts], dtype=np.int64)
    row = rng.permutation(len(lengths))[fired.row]
    pair, first = np.unique(row * (int(lengths.max()) + 1) + fired.position % lengths[row], return_index=True)
    return Fired(row[first], pair % (int(lengths.max()) + 1), fired.value[first])


def _fired(passages: Passages, at: Ints, value: NDArray[np.floating[Any]]) -> Fired:
    """Firings of words as those of their tokens; of a word that fires twice, the first."""
    at, first = np.unique(at, return_index=True)
    value = value[first]
    n = passages.n_tokens[at]
    offset = np.arange(int(n.sum())) - np.repeat(np.cumsum(n) - n, n)
    return Fired(
        np.repeat(passages.row[at], n),
        np.repeat(passages.token[at], n) + offset,
        np.repeat(value, n).astype(np.float32),
    )
