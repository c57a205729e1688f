"""From the probabilities of levels to one level a word [Bills et al. 2023, step 2].

At every word the model's next token is some level with probability p_i, or something else. The word's level
is the expectation over the levels alone,

    sum_i i p_i / sum_i p_i

and the missing mass, 1 - sum_i p_i, says how much of the distribution that leaves out: other tokens, and
levels whose probability the server did not tell. An expectation over next to nothing is noise that looks
like a number, so an excerpt in which too many words have too little mass is missing, and is never zeros.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from exegete.datastore.records import MAX_LEVEL, Floats
from exegete.llm.slots import Odds

LEVELS = tuple(str(level) for level in range(10))
"""Single digits, each one token for every tokenizer, so that one token's probability is a level's: "10" is
two tokens for some, and then its first can't be told from level 1. Digit 9 is level 10."""
LEAST_MASS = 0.01
"""A word whose levels have less probability together says nothing that can be relied on."""
MOST_POOR = 0.1
"""Share of an excerpt's words that may be such."""
_ROUNDING = 0.01


@dataclass(frozen=True, slots=True)
class Expected:
    """An excerpt's levels and what they leave out."""

    levels: Floats
    """(n_words,) from 0 to 10."""
    missing_mass: float
    """Mean over the words of 1 - sum p_i, between 0 and 1."""


def expected_levels(slots: Sequence[Odds | None]) -> Expected | str:
    """Expected levels of an excerpt's words.

    Args:
        slots: for every word, natural logarithms of the probabilities of `LEVELS`, None for one that was not
            told; None for a word that could not be found among the server's tokens. At least one word.

    Returns:
        The levels, or why the excerpt has none.
    """
    told = [odds for odds in slots if odds is not None]
    if len(told) < len(slots):
        return "the server's tokens could not be aligned with the words of the prompt"
    logs = np.array(
        [[-np.inf if p is None else p for p in odds] for odds in told], dtype=np.float64
    )  # (n, 10)
    mass = np.exp(logs).sum(1)  # (n,)
    if (mass > 1 + _ROUNDING).any():
        return f"the server's probabilities of levels add up to {mass.max():.3g} at a word"
    poor = mass < LEAST_MASS
    if poor.mean() > MOST_POOR or np.isneginf(logs).all(1).any():
        return (
            f"the model does not answer with levels: at {int(poor.sum())} of {len(mass)} words they have "
            f"less than {LEAST_MASS:.0%} of its probability together"
        )
    return Expected(_mean_level(logs).astype(np.float32), float(np.clip(1 - mass, 0, 1).mean()))


def _mean_level(logs: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n,) expectations of (n, levels) distributions that need not add up to 1."""
    shares = np.exp(logs - logs.max(1, keepdims=True))  # the largest is 1: nothing underflows to 0 / 0
    means: NDArray[np.float64] = shares @ np.arange(len(LEVELS)) / shares.sum(1)
    return means * (MAX_LEVEL / (len(LEVELS) - 1))
