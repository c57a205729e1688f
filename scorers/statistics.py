"""How well simulated levels follow true activations: correlation and explained deviation.

Words of one excerpt are not independent, so whatever is resampled is resampled by excerpt. Correlation is
therefore written as a function of six sums an excerpt, and a resample is one matrix product:

    simulated, true ── pair ─> Paired.moments (n_excerpts, 6)
    weights (B, n_excerpts) @ moments ─> (B, 6) ── correlation ─> (B,)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import isnan
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from exegete.datastore.records import Floats

Array = NDArray[np.float64]
Real = TypeVar("Real", np.float32, np.float64)

CONSTANT_SIMULATION = "constant simulation"
CONSTANT_ACTIVATIONS = "constant activations"

_FLAT = 1e-10
"""A variance below this share of the mean square is rounding, not variance."""


@dataclass(frozen=True)
class Paired:
    """Simulated and true values of the same words, excerpt after excerpt; what follows is worked out once."""

    values: Array
    """(2, n_words) levels, 0 to 10, and activations, raw units."""
    lengths: NDArray[np.intp]
    """(n_excerpts,) words of every excerpt; they sum to n_words."""

    @property
    def simulated(self) -> Array:
        """(n_words,) levels."""
        return np.asarray(self.values[0])

    @property
    def true(self) -> Array:
        """(n_words,) activations."""
        return np.asarray(self.values[1])

    @cached_property
    def why_undefined(self) -> str | None:
        """Why these words have no correlation, or None when they have one."""
        for side, reason in enumerate((CONSTANT_SIMULATION, CONSTANT_ACTIVATIONS)):
            if self._flat[side]:
                values = self.values[side]
                return f"{reason}: {values[0]:.3g} on all {len(values):,} words"
        return None

    @cached_property
    def standardised(self) -> Paired:
        """The same words with mean 0 and standard deviation 1 (a constant side becomes zeros).

        Correlations are unchanged by it, and sums of squares no longer cancel.
        """
        centred = self.values - self.values.mean(1, keepdims=True)
        centred[self._flat] = 0
        deviation = np.sqrt(np.mean(centred * centred, axis=1, keepdims=True))
        deviation[self._flat] = 1
        return Paired(centred / deviation, self.lengths)

    @cached_property
    def _flat(self) -> NDArray[np.bool_]:
        """(2,) which sides are constant."""
        return np.asarray(self.values.min(1) == self.values.max(1))

    @cached_property
    def moments(self) -> Array:
        """Sums over the words of every excerpt, all that a correlation needs.

        (n_excerpts, 6): n, Σx, Σy, Σxx, Σyy, Σxy, where x is the simulated and y the true value.
        """
        words = np.empty((6, len(self.true)))
        words[0], words[1:3] = 1, self.values
        np.square(self.values, out=words[3:5])
        np.multiply(self.simulated, self.true, out=words[5])
        starts = np.cumsum(self.lengths) - self.lengths
        return np.ascontiguousarray(np.add.reduceat(words, starts, axis=1).T)


def pair(simulated: Sequence[Floats], true: Sequence[Floats]) -> Paired:
    """Put simulated and true values of the same excerpts side by side.

    Args:
        simulated: for every excerpt, (n_words,) levels.
        true: for every excerpt, (n_words,) activations.

    Raises:
        ValueError: there are no excerpts, one has no words, two lengths differ, or a value is not finite.
    """
    lengths = list(map(len, true))
    if not lengths or 0 in lengths or list(map(len, simulated)) != lengths:
        raise ValueError("simulated and true values must be of the same excerpts, each of one word or more")
    values = np.concatenate([*simulated, *true], dtype=np.float64).reshape(2, -1)
    if not np.isfinite(values).all():
        raise ValueError("simulated and true values must be finite numbers")
    return Paired(values, np.array(lengths, dtype=np.intp))


def correlation(sums: Array) -> Array:
    """Pearson's r from sums of moments, NaN where one side does not vary.

    Args:
        sums: (..., 6) as of `Paired.moments`, added up over excerpts with any weights.

    Returns:
        (...,) correlations, -1 to 1.
    """
    n, x, y, xx, yy, xy = (sums[..., column] for column in range(6))
    with np.errstate(divide="ignore", invalid="ignore"):
        x_variance = xx - x * x / n  # times n, like everything here
        y_variance = yy - y * y / n
        r = (xy - x * y / n) / np.sqrt(x_variance * y_variance)
    defined = (x_variance > _FLAT * xx) & (y_variance > _FLAT * yy)
    return np.where(defined, np.minimum(np.maximum(r, -1.0), 1.0), np.nan)


def pearson(paired: Paired, weights: Sequence[float] | Array | None = None) -> float | None:
    """Pearson's r over all words, or over the corpus when excerpts carry their sampling weights.

    With weights 1 / inclusion probability the sums estimate those of the corpus [Horvitz & Thompson 1952],
    and their ratio its correlation [Hájek 1971].

    Args:
        paired: simulated and true values.
        weights: (n_excerpts,) not negative; None weighs all alike. Only their ratios matter.

    Returns:
        r, or None when a side does not vary (see `Paired.why_undefined`).
    """
    if paired.why_undefined is not None:
        return None
    sums = paired.standardised.moments
    return optional(correlation(sums.sum(0) if weights is None else np.asarray(weights) @ sums))


def absolute_deviation_explained(paired: Paired) -> float | None:
    """1 - mean|true - predicted| / mean|true|, after the best linear map of levels to activations.

    The measure, and calibration by a linear map, are those of Bills et al. 2023 ("Language models can explain
    neurons in language models", scoring). The map is fitted by least squares on the same words it is judged
    on, so this flatters a label by what two parameters can.

    Returns:
        At most 1; None when a side does not vary.
    """
    if paired.why_undefined is not None:
        return None
    x, y = paired.simulated, paired.true
    x_deviation = x - x.mean()
    slope = (x_deviation @ y) / (x_deviation @ x_deviation)
    residual = y - y.mean() - slope * x_deviation
    return float(1.0 - np.abs(residual).mean() / np.abs(y).mean())


def largest(values: NDArray[Real], lengths: Sequence[int] | NDArray[np.intp]) -> NDArray[Real]:
    """The largest value of every excerpt.

    Args:
        values: (n_words,) of excerpts end to end.
        lengths: words of every excerpt, of one at least; they sum to n_words.

    Returns:
        (n_excerpts,).

    Raises:
        ValueError: an excerpt has no words.
    """
    words = np.asarray(lengths)
    if not words.all():
        raise ValueError("an excerpt without words has no largest value")
    return np.asarray(np.maximum.reduceat(values, words.cumsum() - words))


def optional(value: float | np.floating | Array) -> float | None:
    """A number, or None where it is NaN."""
    number = float(value)
    return None if isnan(number) else number
