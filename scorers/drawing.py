"""Plausible values of a share and of an AUROC, where judgements of one excerpt stand or fall together.

Draws are those of a Bayesian bootstrap [Rubin 1981]: every excerpt has a weight, Exponential(1), in all of
its judgements at once, and so what they share widens the interval. As resampling fails where all judgements
are right, each side has besides an imaginary right and an imaginary wrong judgement, of weight Gamma(1/2).
With one judgement an excerpt a share's draws are then those of its Jeffreys posterior,
Beta(right + 1/2, wrong + 1/2), which is what detection has.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from exegete.scorers.statistics import Array

_PSEUDO = 0.5


@lru_cache(maxsize=16)
def excerpt_weights(n: int, seed: int, n_draws: int) -> tuple[Array, Array]:
    """Weights of n excerpts, and of the four imaginary judgements.

    Returns:
        (B, n) and (B, 4), read-only.
    """
    rng = np.random.default_rng([seed, 4])
    weights = rng.standard_exponential((n_draws, n)), rng.standard_gamma(_PSEUDO, (n_draws, 4))
    for each in weights:
        each.setflags(write=False)
    return weights


def shared_accuracy_draws(
    fires: NDArray[np.bool_], said: NDArray[np.bool_], rows: NDArray[np.intp], seed: int, n_draws: int
) -> Array:
    """Plausible balanced accuracies of judgements of which several may be of one excerpt.

    Args:
        fires: (n_items,) what is true.
        said: (n_items,) what was said.
        rows: (n_items,) which excerpt an item is of.
        seed: chooses the draws.
        n_draws: how many, B.

    Returns:
        (B,) values between 0 and 1.
    """
    known, own = np.unique(rows, return_inverse=True)
    counts = np.zeros((4, len(known)))  # hits, misses, passes, alarms of every excerpt
    kinds = np.where(fires, np.where(said, 0, 1), np.where(said, 3, 2))
    np.add.at(counts, (kinds, own), 1.0)
    weights, pseudo = excerpt_weights(len(known), seed, n_draws)
    hits, misses, passes, alarms = (weights @ counts.T + pseudo).T
    return np.asarray((hits / (hits + misses) + passes / (passes + alarms)) / 2, dtype=np.float64)


def auroc_draws(fires: NDArray[np.bool_], strength: Array, seed: int, n_draws: int) -> Array:
    """Plausible AUROCs of a strength, one an excerpt.

    Each side has an imaginary excerpt that is stronger than all, and one that is weaker than all.

    Args:
        fires: (n_excerpts,) what is true.
        strength: (n_excerpts,) finite, in any increasing unit.
        seed: chooses the draws.
        n_draws: how many, B.

    Returns:
        (B,) values between 0 and 1.
    """
    weights, pseudo = excerpt_weights(len(fires), seed, n_draws)
    ends = [np.inf, -np.inf]
    firing, silent = np.append(strength[fires], ends), np.append(strength[~fires], ends)
    won = (firing[:, None] > silent) + 0.5 * (firing[:, None] == silent)  # (p + 2, q + 2)
    of_firing = np.concatenate([weights[:, fires], pseudo[:, :2]], axis=1)
    of_silent = np.concatenate([weights[:, ~fires], pseudo[:, 2:]], axis=1)
    pairs = of_firing.sum(1) * of_silent.sum(1)
    return np.asarray(((of_firing @ won) * of_silent).sum(1) / pairs, dtype=np.float64)


def dealt_aurocs(fires: NDArray[np.bool_], strength: Array, orders: NDArray[np.intp]) -> Array:
    """AUROCs with the same strengths dealt to excerpts at random.

    Args:
        fires: (n_excerpts,) what is true.
        strength: (n_excerpts,) in any increasing unit.
        orders: (B, n_excerpts) as of `exegete.scorers.resampling.permutations`.

    Returns:
        (B,) values; their mean is .5.
    """
    _, place, counts = np.unique(strength, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[place]  # ties share the middle of their ranks
    positives = int(fires.sum())
    sums = ranks.take(orders) @ fires.astype(np.float64)
    pairs = positives * (len(fires) - positives)
    return np.asarray((sums - positives * (positives + 1) / 2) / pairs, dtype=np.float64)
