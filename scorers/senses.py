"""What each sense of a label is worth, from the simulation that the whole label was scored on.

Several senses can score well together while one of them does all the work. So each is held against the
excerpts by itself: what it finds, what only it finds, and what it makes up. (The polysemanticity score of
Kopf et al. 2025, PRISM, says how unlike the labels are to each other, and not what they predict.)

A sense predicts a word to which it gives half a level or more (less is the noise of expected levels), and
finds a firing excerpt when it predicts a word at which the feature fires. It has a share of its own when it
finds more firing excerpts alone than it predicts silent ones alone, by a difference of proportions whose 95%
interval is clear of zero [Newcombe 1998, method 10, from the intervals of Wilson 1927]. A feature counts as
polysemantic when two senses or more do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from exegete.scorers.reading import ACTIVATING, PREDICTED, Reading
from exegete.scorers.statistics import pair, pearson

_Z = 1.959963984540054
"""97.5% quantile of the normal distribution."""

Bools = NDArray[np.bool_]


def sense_details(reading: Reading) -> Mapping[str, float | None]:
    """Measure each sense of a label.

    Args:
        reading: a label's simulation, with its senses', enough to be scored.

    Returns:
        Nothing for a label without senses. Otherwise `n_senses`; `own_senses`, how many have a share of their
        own; `polysemantic`, 1 when two have, else 0; and for every sense i from 1:

        - `sense_i_coverage`: share of firing excerpts it finds; `sense_i_mass`: share of the sum of their
          activations at words it predicts;
        - `sense_i_only`: share of firing excerpts that it finds and no other sense does; `sense_i_only_low`:
          lower end of the interval of that share, less the share of silent excerpts that only it predicts;
        - `sense_i_precision`: of excerpts it finds or wrongly predicts, those it finds; None where there are
          none;
        - `sense_i_r`: r of its own levels over all words; None when it predicts the same everywhere.
    """
    if not reading.by_sense:
        return {}
    fires = np.asarray([group in ACTIVATING for group in reading.groups])
    found = np.stack([_found(reading, levels) for levels in reading.by_sense])  # (n_senses, n_excerpts)
    alone = found & (found.sum(0) == 1)
    details: dict[str, float | None] = {}
    own = 0
    for i, levels in enumerate(reading.by_sense):
        low = _difference_low(alone[i, fires], alone[i, ~fires])
        own += low > 0
        said = int(found[i].sum())
        measured = {
            "coverage": float(found[i, fires].mean()),
            "mass": _mass(reading, levels),
            "only": float(alone[i, fires].mean()),
            "only_low": low,
            "precision": float(found[i, fires].sum() / said) if said else None,
            "r": pearson(pair(levels, [excerpt.activations for excerpt in reading.excerpts])),
        }
        details |= {f"sense_{i + 1}_{name}": value for name, value in measured.items()}
    return {"n_senses": float(len(found)), "own_senses": float(own), "polysemantic": float(own > 1)} | details


def _found(reading: Reading, levels: Sequence[NDArray[np.float32]]) -> Bools:
    """(n_excerpts,) whether a sense finds a firing excerpt, or predicts a silent one at all."""
    return np.asarray(
        [
            bool(((said >= PREDICTED) & ((excerpt.activations > 0) | (group not in ACTIVATING))).any())
            for said, excerpt, group in zip(levels, reading.excerpts, reading.groups, strict=True)
        ]
    )


def _mass(reading: Reading, levels: Sequence[NDArray[np.float32]]) -> float:
    """Share of the sum of activations that is at words a sense predicts."""
    true = np.concatenate([excerpt.activations for excerpt in reading.excerpts]).astype(np.float64)
    return float(true[np.concatenate(levels) >= PREDICTED].sum() / true.sum())


def _difference_low(one: Bools, other: Bools) -> float:
    """Lower end of the 95% interval of the difference of two proportions, one less other."""
    low, _ = _wilson(int(one.sum()), len(one))
    _, high = _wilson(int(other.sum()), len(other))
    p, q = one.mean(), other.mean()
    return float(p - q - np.hypot(p - low, high - q))


def _wilson(count: int, n: int) -> tuple[float, float]:
    """Wilson's 95% interval of a proportion."""
    middle = count + _Z * _Z / 2
    half = _Z * np.sqrt(count * (n - count) / n + _Z * _Z / 4)
    return float((middle - half) / (n + _Z * _Z)), float((middle + half) / (n + _Z * _Z))
