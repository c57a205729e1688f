"""How often do 95% intervals hold the truth? Simulated features and labels of known worth.

    python benchmarks/coverage.py [--features 1000] [--seed 0]

Prints one line a design, label and method: coverage, how often the low end lies above the truth and the high
end below it (2.5% each if exact), and the median low and high end. Correlation by plain percentiles and by
BCa; balanced accuracy by a bootstrap and by Jeffreys draws.

A simulated feature fires on one to a few words of an excerpt, with log-normal strength; a label predicts
a firing excerpt or overlooks it whole, gets levels wrong by a point or two, and raises false alarms that
come in clusters. The truth is the same statistic over 40,000 excerpts in the same proportions.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from exegete.scorers.classification import Judgements, balanced_accuracy, balanced_accuracy_draws
from exegete.scorers.resampling import Interval, bca_interval, bootstrap, percentile_interval
from exegete.scorers.statistics import Array, Paired, correlation, moments

_NORMAL = NormalDist()
_SIGMA = 0.5
_STRONGEST = float(np.exp(_SIGMA * _NORMAL.inv_cdf(0.9999)))
_B = 2000


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

    name: str
    finds: float
    alarms: float


DESIGNS = (Design(3, 6, 7, 4), Design(10, 20, 12, 8), Design(10, 30, 20, 0), Design(40, 80, 50, 30))
QUALITIES = (Quality("good", 0.98, 0.03), Quality("middling", 0.6, 0.2), Quality("poor", 0.25, 0.4))


@dataclass
class Tally:
    """Intervals of one method, held against the truth."""

    lows: list[float]
    highs: list[float]

    def add(self, interval: Interval) -> None:
        """Count one interval; one that is undefined holds everything."""
        self.lows.append(-1.0 if interval.low is None else interval.low)
        self.highs.append(1.0 if interval.high is None else interval.high)

    def above(self, truth: float) -> float:
        """Share of intervals above the truth."""
        return float(np.mean(np.array(self.lows) > truth))

    def below(self, truth: float) -> float:
        """Share of intervals below the truth."""
        return float(np.mean(np.array(self.highs) < truth))

    def coverage(self, truth: float) -> float:
        """Share of intervals that hold the truth."""
        return 1 - self.above(truth) - self.below(truth)


def feature(rng: np.random.Generator, design: Design, quality: Quality, times: int = 1) -> Paired:
    """Simulated levels and true activations of one feature, stratum after stratum.

    Args:
        rng: source of randomness.
        design: excerpts of each kind.
        quality: how good the label is.
        times: makes that many times as many excerpts, for the truth.
    """
    kinds = [("top", design.top), ("sampled", design.sampled), ("quiet", design.quiet), ("hard", design.hard)]
    simulated, true = [], []
    for kind, size in kinds:
        for place in range(size * times):
            x, y = _excerpt(rng, kind, (place % size + rng.random()) / size, quality)
            simulated.append(x)
            true.append(y)
    lengths = np.array([len(y) for y in true])
    return Paired(np.concatenate(simulated), np.concatenate(true), lengths)


def _excerpt(rng: np.random.Generator, kind: str, quantile: float, quality: Quality) -> tuple[Array, Array]:
    n = int(rng.integers(18, 30))
    x, y = np.zeros(n), np.zeros(n)
    if kind in ("top", "sampled"):
        share = 0.95 + 0.0499 * quantile if kind == "top" else min(max(quantile, 1e-4), 0.9999)
        peak = np.exp(_SIGMA * _NORMAL.inv_cdf(share))
        y[rng.integers(n)] = peak
        for _ in range(rng.poisson(0.7)):
            y[rng.integers(n)] = peak * rng.uniform(0.3, 1)
        if rng.random() < quality.finds:
            levels = np.clip(np.round(10 * y / _STRONGEST + rng.normal(0, 1.5, n)), 1, 10)
            x = np.where((y > 0) & (rng.random(n) < 0.9), levels, 0.0)
    if rng.random() < quality.alarms * (2.5 if kind == "hard" else 1):
        for _ in range(1 + rng.poisson(1.0)):
            x[rng.integers(n)] = rng.integers(3, 10)
    return x, y


def judged(paired: Paired, design: Design) -> Judgements:
    """Whole excerpts judged by their highest level."""
    starts = np.cumsum(paired.lengths) - paired.lengths
    strength = np.maximum.reduceat(paired.simulated, starts)
    firing = (design.top + design.sampled) / design.total * len(strength)
    return Judgements(np.arange(len(strength)) < firing - 0.5, strength > 0, strength)


def accuracy(sums: Array) -> Array:
    """Balanced accuracy from sums of (firing, hit, silent, passed)."""
    positives, hits, negatives, passes = np.moveaxis(sums, -1, 0)
    return np.asarray((hits / positives + passes / negatives) / 2)


def measure(
    design: Design, quality: Quality, n_features: int, seed: int
) -> Iterator[tuple[str, float, Tally]]:
    """Yield (method, truth, its intervals) for every method."""
    many = feature(np.random.default_rng([seed, 0]), design, quality, times=40_000 // design.total)
    true_r = float(correlation(moments(many.standardised()).sum(0)))
    true_accuracy = balanced_accuracy(judged(many, design))
    tallies = {name: Tally([], []) for name in ("r percentile", "r BCa", "acc. bootstrap", "acc. Jeffreys")}
    rng = np.random.default_rng([seed, 1])
    for _ in range(n_features):
        paired = feature(rng, design, quality)
        rows = moments(paired.standardised())
        replicates = bootstrap(correlation, rows, design.strata, seed, _B)
        tallies["r percentile"].add(percentile_interval(replicates))
        tallies["r BCa"].add(bca_interval(correlation, rows, design.strata, replicates))
        said = judged(paired, design)
        right = said.fires == said.said
        counts = np.stack([said.fires, said.fires & right, ~said.fires, ~said.fires & right], axis=1)
        resampled = bootstrap(accuracy, counts.astype(float), design.strata, seed, _B)
        tallies["acc. bootstrap"].add(percentile_interval(resampled))
        draws = balanced_accuracy_draws(said, int(rng.integers(2**31)), _B)
        tallies["acc. Jeffreys"].add(percentile_interval(draws))
    for name, tally in tallies.items():
        yield name, true_r if name.startswith("r ") else true_accuracy, tally


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="How often do 95% intervals hold the truth?")
    parser.add_argument("--features", type=int, default=1000, help="simulated features a line")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print("excerpts  label     truth  method          coverage  low>truth  high<truth  median ends")
    for design in DESIGNS:
        for quality in QUALITIES:
            for name, truth, tally in measure(design, quality, options.features, options.seed):
                print(
                    f"{design.total:8}  {quality.name:8}  {truth:5.2f}  {name:14}  "
                    f"{tally.coverage(truth):8.1%}  {tally.above(truth):9.1%}  {tally.below(truth):10.1%}  "
                    f"{np.median(tally.lows):.2f} to {np.median(tally.highs):.2f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
