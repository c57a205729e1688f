"""Features and labels of known worth, made up: what intervals are held against (benchmarks/coverage.py).

Six ways in which a feature can fire and a label can follow it, so that no method is fitted to one:

    sparse     one to a few words of an excerpt; the label overlooks excerpts whole
    single     one word of an excerpt; levels are rough
    heavy      as sparse, with strengths of a heavy tail (log-normal, sigma 1 in place of .5)
    scattered  a few words of an excerpt; the label overlooks words one by one, and raises alarms so
    bursts     runs of 4 to 17 words, which the label finds whole, with wrong ends, or not at all
    dense      half of all words; the label is right to a degree everywhere, and overlooks no excerpt whole

"top" excerpts are of the strongest 5%, "sampled" ones evenly of all strengths; hard quiet excerpts raise 2.5
times the false alarms of others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np

from exegete.scorers.statistics import Array, Paired, correlation

_LONGEST = 30


@dataclass(frozen=True)
class Design:
    """How many excerpts of each kind are read."""

    top: int
    sampled: int
    quiet: int
    hard: int

    @property
    def total(self) -> int:
        """Excerpts in all."""
        return sum(self.strata)

    @property
    def strata(self) -> tuple[int, ...]:
        """Sizes of the kinds that are there."""
        return tuple(size for size in (self.top, self.sampled, self.quiet, self.hard) if size)


@dataclass(frozen=True)
class Quality:
    """How good a label is: chances that it finds a firing excerpt, and that it raises a false alarm."""

    finds: float
    alarms: float


BANDS: Mapping[str, tuple[Quality, ...]] = {
    "good": tuple(Quality(*q) for q in ((1.0, 0.0), (0.99, 0.01), (0.98, 0.03), (0.95, 0.05), (0.9, 0.05))),
    "middling": tuple(Quality(*q) for q in ((0.8, 0.1), (0.7, 0.1), (0.6, 0.2), (0.5, 0.2), (0.5, 0.1))),
    "poor": tuple(Quality(*q) for q in ((0.4, 0.3), (0.25, 0.4), (0.2, 0.2), (0.15, 0.4), (0.3, 0.5))),
}
"""Labels of several worths each: of a single one, all or none of the samples of a size might show a miss."""


@dataclass(frozen=True)
class Frame:
    """Excerpts without their words' values."""

    lengths: Array
    """(n,) words."""
    quantile: Array
    """(n_firing,) of the feature's strengths; firing excerpts come first."""
    alarms: Array
    """(n,) chance of a false alarm."""

    def there(self) -> Array:
        """(n, _LONGEST) which places hold a word."""
        return np.arange(_LONGEST) < self.lengths[:, None]

    def somewhere(self, rng: np.random.Generator, rows: Array, before: int = 0) -> Array:
        """A random word of each of these excerpts, not among the last `before`."""
        return (rng.random(len(rows)) * np.maximum(self.lengths[rows] - before, 1)).astype(np.intp)


Values = tuple[Array, Array]
"""Simulated and true values, (n, _LONGEST) each."""
Pattern = Callable[[np.random.Generator, Frame, float], Values]


def _strengths(frame: Frame, sigma: float) -> Array:
    from scipy.special import ndtri

    return np.asarray(np.exp(sigma * ndtri(frame.quantile)))


def _words(rng: np.random.Generator, frame: Frame, peaks: Array, others: float) -> Array:
    """True values: each firing excerpt's peak at a random word, and a few more words above 30% of it."""
    true = np.zeros((len(frame.lengths), _LONGEST))
    rows, counts = np.arange(len(peaks)), rng.poisson(others, len(peaks))
    for more in range(int(counts.max(initial=0)), 0, -1):
        there = rows[counts >= more]
        true[there, frame.somewhere(rng, there)] = peaks[there] * rng.uniform(0.3, 1, len(there))
    true[rows, frame.somewhere(rng, rows)] = peaks
    return true


def _raise_alarms(rng: np.random.Generator, frame: Frame, simulated: Array) -> None:
    rows = np.flatnonzero(rng.random(len(frame.alarms)) < frame.alarms)
    counts = 1 + rng.poisson(1.0, len(rows))
    for more in range(int(counts.max(initial=0))):
        there = rows[counts > more]
        simulated[there, frame.somewhere(rng, there)] = rng.integers(3, 10, len(there))


def sparse(
    rng: np.random.Generator,
    frame: Frame,
    finds: float,
    *,
    sigma: float = 0.5,
    others: float = 0.7,
    noise: float = 1.5,
) -> Values:
    """A word or a few, found or overlooked excerpt by excerpt."""
    true = _words(rng, frame, _strengths(frame, sigma), others)
    levels = np.clip(np.round(10 * true / np.exp(3.72 * sigma) + rng.normal(0, noise, true.shape)), 1, 10)
    found = (rng.random(len(true)) < finds)[:, None] & (rng.random(true.shape) < (0.9 if others else 1.0))
    simulated = np.where((true > 0) & found, levels, 0.0)
    _raise_alarms(rng, frame, simulated)
    return simulated, true


def single(rng: np.random.Generator, frame: Frame, finds: float) -> Values:
    """One word, rough levels."""
    return sparse(rng, frame, finds, others=0.0, noise=2.5)


def heavy(rng: np.random.Generator, frame: Frame, finds: float) -> Values:
    """Strengths of a heavy tail."""
    return sparse(rng, frame, finds, sigma=1.0)


def scattered(rng: np.random.Generator, frame: Frame, finds: float) -> Values:
    """Misses and false alarms word by word."""
    true = _words(rng, frame, _strengths(frame, 0.5), 2.0)
    levels = np.clip(np.round(3 * true + rng.normal(0, 1.5, true.shape)), 1, 10)
    simulated = np.where((true > 0) & (rng.random(true.shape) < finds), levels, 0.0)
    alarm = rng.random(true.shape) < frame.alarms[:, None] / 15
    return np.where(alarm, rng.integers(2, 9, true.shape), simulated), true


def bursts(rng: np.random.Generator, frame: Frame, finds: float) -> Values:
    """Runs of words."""
    places, rows = np.arange(_LONGEST), np.arange(len(frame.quantile))
    peaks = _strengths(frame, 0.5)[:, None]
    true, simulated = np.zeros((2, len(frame.lengths), _LONGEST))
    first = frame.somewhere(rng, rows, 3)[:, None]
    last = first + rng.integers(4, 18, first.shape)
    true[rows] = ((places >= first) & (places < last)) * peaks * rng.uniform(0.4, 1, (len(rows), _LONGEST))
    said_from, said_to = first + rng.integers(-1, 3, first.shape), last + rng.integers(-4, 3, first.shape)
    said = (places >= said_from) & (places < said_to) & (rng.random(first.shape) < finds)
    simulated[rows] = said * np.clip(np.round(3.5 * peaks + rng.normal(0, 1.5, said.shape)), 1, 10)
    rows = np.flatnonzero(rng.random(len(frame.alarms)) < frame.alarms)
    first = frame.somewhere(rng, rows, 3)[:, None]
    alarm = (places >= first) & (places < first + rng.integers(2, 12, first.shape))
    simulated[rows] = np.maximum(simulated[rows], alarm * rng.integers(2, 9, first.shape))
    return simulated, true


def dense(rng: np.random.Generator, frame: Frame, finds: float) -> Values:
    """Half of all words, to a degree."""
    share = finds - 0.08 if finds >= 0.9 else 0.92 * finds
    n, firing = len(frame.lengths), len(frame.quantile)
    true = np.zeros((n, _LONGEST))
    values = np.maximum(2 * rng.random((firing, _LONGEST)) - 1, 0)
    true[:firing] = _strengths(frame, 0.4)[:, None] * values
    noise = np.abs(rng.normal(0, 0.7, true.shape)) * (rng.random(true.shape) < 0.5)
    levels = 3 * (share * true + (1 - share) * noise) * (1 + rng.normal(0, 0.15, (n, 1)))
    return np.clip(np.round(levels), 0, 10), true


PATTERNS: Mapping[str, Pattern] = {
    "sparse": sparse,
    "single": single,
    "heavy": heavy,
    "scattered": scattered,
    "bursts": bursts,
    "dense": dense,
}
"""Ways to fire, and to be predicted, by name."""


def feature(rng: np.random.Generator, pattern: str, design: Design, quality: Quality) -> Paired:
    """Simulated levels and true activations of one feature, stratum after stratum.

    Args:
        rng: source of randomness.
        pattern: one of `PATTERNS`.
        design: excerpts of each kind.
        quality: how good the label is.
    """

    def evenly(size: int) -> Array:
        return (np.arange(size) + rng.random(size)) / max(size, 1)

    quantile = np.concatenate([0.95 + 0.0499 * evenly(design.top), evenly(design.sampled)])
    alarms = np.full(design.total, quality.alarms)
    alarms[design.total - design.hard :] *= 2.5
    frame = Frame(rng.integers(18, 30, design.total), np.clip(quantile, 1e-4, 0.9999), alarms)
    simulated, true = PATTERNS[pattern](rng, frame, quality.finds)
    there = frame.there()
    return Paired(np.stack([simulated[there], true[there]]), frame.lengths)


def truth(pattern: str, design: Design, quality: Quality) -> tuple[float, float]:
    """r, and balanced accuracy, over very many excerpts in the design's proportions."""
    means, said = _kinds(pattern, quality)
    sizes = np.array([design.top, design.sampled, design.quiet, design.hard], dtype=np.float64)
    found = sizes[:2] @ said[:2] / sizes[:2].sum()
    passed = sizes[2:] @ (1 - said[2:]) / sizes[2:].sum()
    return float(correlation(sizes @ means)), float((found + passed) / 2)


@cache
def _kinds(pattern: str, quality: Quality, n_excerpts: int = 10_000) -> tuple[Array, Array]:
    """Mean moments of an excerpt of each kind, (4, 6), and in which share something is predicted, (4,)."""
    every = Design(n_excerpts, n_excerpts, n_excerpts, n_excerpts)
    rows = feature(np.random.default_rng(0), pattern, every, quality).moments.reshape(4, n_excerpts, 6)
    return rows.mean(1), (rows[..., 3] > 0).mean(1)
