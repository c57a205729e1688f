"""How often do 95% intervals hold the truth? Simulated features and labels of known worth.

    python -m benchmarks.coverage [--features 10] [--level .95] [--seed 0] [--each] [--json]

One line a design, band of labels and method, over the six patterns of benchmarks/simulated_labels.py and the
five labels of a band: coverage, how often the low end lies above the truth (which accepts a label wrongly)
and the high end below it (2.5% each if exact), the median width, and the pattern with the least coverage.
The truth is the same statistic over 10,000 excerpts of each kind, in the design's proportions. `--each`
prints every pattern.

r by quantiles of a plain bootstrap of excerpts within their kinds, and as scores have it
(`exegete.scorers.intervals`); balanced accuracy as scores have it (`exegete.scorers.classification`), and by
draws of both proportions' Jeffreys posteriors, Beta(right + 1/2, wrong + 1/2) [Brown, Cai & DasGupta 2001].
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import product

import numpy as np

from benchmarks.simulated_labels import BANDS, PATTERNS, Design, feature, truth
from exegete.scorers.classification import Judgements, balanced_accuracy_draws
from exegete.scorers.intervals import correlation_draws
from exegete.scorers.resampling import percentile_interval
from exegete.scorers.statistics import Array, Paired, correlation

DESIGNS = (
    Design(3, 6, 7, 4),
    Design(0, 10, 10, 0),
    Design(10, 20, 12, 8),
    Design(10, 30, 20, 10),
    Design(40, 80, 50, 30),
)
"""20 excerpts of all kinds and of two, 50, a job's 70, and 200."""

METHODS = ("r, bootstrap", "r, as scored", "accuracy, Jeffreys", "accuracy, as scored")
_B = 2000


@dataclass(frozen=True)
class Cell:
    """What intervals of one method did, on one pattern and band of labels."""

    design: str
    band: str
    pattern: str
    method: str
    coverage: float
    low_above: float
    """Share of intervals whose low end lies above the truth."""
    high_below: float
    width: float
    """Median."""


def plain_bootstrap(rows: Array, sizes: tuple[int, ...], rng: np.random.Generator, n_boot: int) -> Array:
    """Correlations of resamples with replacement, as many of every stratum as it has."""
    counts = [rng.multinomial(size, np.full(size, 1 / size), n_boot) for size in sizes]
    return correlation(np.concatenate(counts, axis=1) @ rows)


def jeffreys(given: Judgements, rng: np.random.Generator, n_draws: int) -> Array:
    """Balanced accuracies of which both proportions are drawn from their Jeffreys posteriors."""
    missed, alarmed = given.positives - given.hits, given.negatives - given.passes
    sensitivity = rng.beta(given.hits + 0.5, missed + 0.5, n_draws)
    return np.asarray((sensitivity + rng.beta(given.passes + 0.5, alarmed + 0.5, n_draws)) / 2)


def judged(paired: Paired) -> Judgements:
    """Whole excerpts judged by whether anything is predicted in them."""
    rows = paired.moments
    return Judgements(rows[:, 4] > 0, rows[:, 3] > 0, rows[:, 3])


def measure(
    design: Design,
    band: str,
    pattern: str,
    n_features: int,
    seed: int = 0,
    level: float = 0.95,
    n_draws: int = _B,
    methods: tuple[str, ...] = METHODS,
) -> Iterator[Cell]:
    """Coverage of every method on one pattern: n_features of each label of the band."""
    held: dict[str, list[tuple[float, float, float]]] = {method: [] for method in methods}
    rng = np.random.default_rng([seed, list(PATTERNS).index(pattern), list(BANDS).index(band)])
    for quality in BANDS[band]:
        true_r, true_accuracy = truth(pattern, design, quality)
        for _ in range(n_features):
            paired = feature(rng, pattern, design, quality)
            ways = {
                "r, bootstrap": lambda p: plain_bootstrap(p.moments, design.strata, rng, n_draws),
                "r, as scored": lambda p: correlation_draws(p, design.strata, seed, n_draws),
                "accuracy, Jeffreys": lambda p: jeffreys(judged(p), rng, n_draws),
                "accuracy, as scored": lambda p: balanced_accuracy_draws(
                    judged(p), int(rng.integers(2**31)), n_draws
                ),
            }
            for method in methods:
                interval = percentile_interval(ways[method](paired), level)
                if (
                    interval.low is not None and interval.high is not None
                ):  # else there is nothing to be wrong
                    value = true_r if method.startswith("r") else true_accuracy
                    held[method].append((interval.low, interval.high, value))
    for method, found in held.items():
        low, high, value = np.array(found).T
        above, below = float(np.mean(low > value)), float(np.mean(high < value))
        size = "+".join(str(n) for n in design.strata)
        width = float(np.median(high - low))
        yield Cell(f"{design.total} ({size})", band, pattern, method, 1 - above - below, above, below, width)


def pooled(cells: list[Cell]) -> Cell:
    """One cell of several patterns; the pattern named is the one with the least coverage."""
    worst = min(cells, key=lambda cell: cell.coverage)
    mean = {
        name: float(np.mean([getattr(cell, name) for cell in cells]))
        for name in ("coverage", "low_above", "high_below", "width")
    }
    return Cell(worst.design, worst.band, f"{worst.pattern} {worst.coverage:.0%}", worst.method, **mean)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="How often do intervals hold the truth?")
    parser.add_argument("--features", type=int, default=10, help="features a pattern and label")
    parser.add_argument("--level", type=float, default=0.95, help="nominal coverage")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--each", action="store_true", help="print every pattern")
    parser.add_argument("--json", action="store_true", help="print every pattern as JSON")
    options = parser.parse_args()
    everything: list[Cell] = []
    if not options.json:
        print(
            "excerpts           label     method               coverage   low>  high<  width  worst pattern"
        )
    for design, band in product(DESIGNS, BANDS):
        cells = [
            cell
            for pattern in PATTERNS
            for cell in measure(design, band, pattern, options.features, options.seed, options.level)
        ]
        everything += cells
        if not options.json:
            _print(cells, options.each)
    if options.json:
        print(json.dumps([asdict(cell) for cell in everything], indent=1))


def _print(cells: list[Cell], each: bool) -> None:
    """Lines of one design and band, method after method."""
    for method in METHODS:
        of_method = [cell for cell in cells if cell.method == method]
        for cell in of_method if each else [pooled(of_method)]:
            print(
                f"{cell.design:17}  {cell.band:8}  {cell.method:19}  {cell.coverage:8.1%} "
                f"{cell.low_above:6.1%} {cell.high_below:6.1%}  {cell.width:5.2f}  {cell.pattern}",
                flush=True,
            )


if __name__ == "__main__":
    main()
