"""What the statistics of a feature cost: both scorers, and an interval against scipy's bootstrap.

    python -m benchmarks.scoring [--features 10000] [--compared 100] [--json]

1. *Scores.* Evidence of 60 excerpts of about 25 words a feature, a simulator that answers at once; both
   scorers with 2,000 draws for the interval, 1,999 permutations for chance and p, and all details.
2. *Intervals.* On some of the same features, scipy.stats.bootstrap makes percentile intervals of r from 2,000
   resamples of the excerpts of each kind: of their words, as one would write it, and of the six sums an
   excerpt that r needs, vectorised. Neither knows our imaginary excerpts, whose time is in ours.
3. *Equality.* Where our draws have scipy's weights (as many excerpts as there are, with replacement), the
   ends are held against scipy's: they may differ by as much as scipy's of another seed do.

All in one process, turn about in blocks of ten features; times are CPU times of one core.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise

import numpy as np

from benchmarks.coverage import plain_bootstrap
from exegete.datastore.records import Context, Evidence, Excerpt, FeatureId, Floats, Label
from exegete.scorers.detection import DetectionScorer
from exegete.scorers.intervals import correlation_draws
from exegete.scorers.resampling import Interval, percentile_interval
from exegete.scorers.simulation import SimulationScorer
from exegete.scorers.statistics import Array, Paired, correlation, pair
from exegete.scorers.together import score_together
from exegete.simulators.simulator import Simulation

STRATA = (10, 30, 20)
N_BOOT = 2000
BLOCK = 10


@dataclass(frozen=True)
class Figures:
    """What was measured; times are medians a feature, in milliseconds of CPU time."""

    features: int
    compared: int
    """Features whose intervals scipy made too."""
    features_a_second: float
    """Both scorers, over all features, evidence at hand."""
    median_ms: float
    p95_ms: float
    first_ms: float
    """The first feature of its design, which makes the draws that the others share."""
    interval_ms: float
    """One interval of r, of ours."""
    scipy_words_ms: float
    scipy_sums_ms: float
    ratio_to_scipy: float
    """scipy's time, handed the words that we are handed, as a multiple of ours."""
    ratio_to_scipy_on_sums: float
    """The same, where scipy too is handed the six sums an excerpt."""
    ends_differ: float
    """Mean absolute difference of our ends from scipy's, with the same kind of weights."""
    scipy_differs: float
    """The same of scipy's from scipy's own with another seed."""

    @property
    def equal(self) -> bool:
        """Whether ends agree within Monte Carlo error."""
        return self.ends_differ <= (1 + 2.5 / self.compared**0.5) * self.scipy_differs


class Instant:
    """Recalls levels made beforehand."""

    name = "instant@1"

    def __init__(self, levels: dict[int, Floats]) -> None:
        self._levels = levels

    async def simulate(self, label: str, contexts: Sequence[Context]) -> Simulation:
        """Look the levels up."""
        return Simulation(tuple(self._levels[c.id] for c in contexts), (None,) * len(contexts))


def feature(index: int) -> tuple[Evidence, dict[int, Floats]]:
    """Evidence of one feature (10 strongest, 30 sampled, 20 quiet), and levels for it."""
    rng = np.random.default_rng(index)
    strata = ["top"] * 10 + [f"decile {d}" for d in range(10, 0, -1) for _ in range(3)] + ["quiet"] * 20
    excerpts, levels = [], {}
    for place, stratum in enumerate(strata):
        n = int(rng.integers(20, 31))
        firing = (rng.random(n) < 0.1) & (stratum != "quiet")
        activations = np.where(firing, rng.exponential(1.0, n), 0.0).astype(np.float32)
        context = Context(1000 * index + place, f"d{place}", 0, tuple(f" w{i}" for i in range(n)))
        excerpts.append(Excerpt(context, activations, stratum, 1.0))
        alarms = 5.0 * (rng.random(n) < 0.03)
        levels[context.id] = np.clip(np.round(3 * activations + alarms), 0, 10).astype(np.float32)
    name = FeatureId("tiny@1", "layers.3", "neurons", index)
    return Evidence(name, "report", tuple(excerpts[:40]), tuple(excerpts[40:]), "word", 5.0), levels


def scipy_interval(paired: Paired, seed: int, *, of_sums: bool) -> Interval:
    """scipy's percentile interval of r, excerpts resampled within their kinds."""
    from scipy import stats

    samples = [np.arange(a, b) for a, b in pairwise(np.cumsum((0, *STRATA)))]
    rows, ends = paired.moments, np.cumsum(paired.lengths)[:-1]
    simulated, true = np.split(paired.simulated, ends), np.split(paired.true, ends)

    def by_sums(*drawn: Array, axis: int = -1) -> Array:
        return correlation(np.sum([rows[i.astype(np.intp)].sum(-2) for i in drawn], axis=0))

    def by_words(*drawn: Array) -> float:
        i = np.concatenate(drawn)
        x, y = np.concatenate([simulated[k] for k in i]), np.concatenate([true[k] for k in i])
        return float(np.corrcoef(x, y)[0, 1])

    made = stats.bootstrap(
        samples,
        by_sums if of_sums else by_words,
        n_resamples=N_BOOT,
        vectorized=of_sums,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return Interval(float(made.low), float(made.high))


async def _score(n_features: int) -> list[float]:
    """CPU milliseconds of both scorers, feature after feature; the first is one more."""
    spent = []
    for index in range(n_features + 1):
        evidence, levels = feature(index)
        simulator = Instant(levels)
        label = Label(evidence.feature, "whatever", "benchmark")
        begun = time.process_time()
        both = [kind(simulator, "report", 0.5, 0, N_BOOT) for kind in (SimulationScorer, DetectionScorer)]
        await score_together(both, label, evidence)
        spent.append(1000 * (time.process_time() - begun))
    return spent


def _milliseconds(make: Callable[[Paired], Interval], pairs: Sequence[Paired]) -> list[float]:
    """CPU time of each; one that is not counted comes first, since the way before was another's."""
    make(pairs[0])
    spent = []
    for paired in pairs:
        begun = time.process_time_ns()
        make(paired)
        spent.append((time.process_time_ns() - begun) / 1e6)
    return spent


def _compare_times(n_features: int) -> Array:
    """CPU milliseconds of an interval: (3, n_features), ours, scipy's of words, scipy's of sums."""
    ways: tuple[Callable[[Paired], Interval], ...] = (
        lambda paired: percentile_interval(correlation_draws(paired, STRATA, 0, N_BOOT)),
        lambda paired: scipy_interval(paired, 0, of_sums=False),
        lambda paired: scipy_interval(paired, 0, of_sums=True),
    )
    spent: list[list[float]] = [[], [], []]
    for first in range(0, n_features, BLOCK):
        block = [_paired(index) for index in range(first, min(first + BLOCK, n_features))]
        for times, way in zip(spent, ways, strict=True):
            times.extend(_milliseconds(way, block))
    return np.array(spent)


def _compare_ends(n_features: int) -> tuple[float, float]:
    """Mean distance of our ends from scipy's, weights of one kind, and of scipy's from its own by seed."""
    ours, itself = [], []
    for index in range(n_features):
        paired = _paired(index)
        theirs, again = (scipy_interval(paired, seed, of_sums=True) for seed in (2 * index, 2 * index + 1))
        rng = np.random.default_rng([index, 3])
        same = percentile_interval(plain_bootstrap(paired.moments, STRATA, rng, N_BOOT))
        ours.append(_distance(same, theirs))
        itself.append(_distance(again, theirs))
    return float(np.mean(ours)), float(np.mean(itself))


def _paired(index: int) -> Paired:
    evidence, levels = feature(index)
    excerpts = evidence.excerpts
    return pair([levels[e.context.id] for e in excerpts], [e.activations for e in excerpts])


def _distance(one: Interval, other: Interval) -> float:
    ends = np.array([[one.low, one.high], [other.low, other.high]], dtype=np.float64)
    return float(np.abs(ends[0] - ends[1]).mean())


def measure(n_features: int, n_compared: int) -> Figures:
    """Measure everything; at least one feature is compared with scipy."""
    spent = asyncio.run(_score(n_features))
    ours, words, sums = _compare_times(n_compared)
    differ, scipy_differs = _compare_ends(n_compared)
    return Figures(
        features=n_features,
        compared=n_compared,
        features_a_second=1000 * n_features / sum(spent[1:]),
        median_ms=float(np.median(spent[1:])),
        p95_ms=float(np.quantile(spent[1:], 0.95)),
        first_ms=spent[0],
        interval_ms=float(np.median(ours)),
        scipy_words_ms=float(np.median(words)),
        scipy_sums_ms=float(np.median(sums)),
        ratio_to_scipy=float(np.median(words) / np.median(ours)),
        ratio_to_scipy_on_sums=float(np.median(sums) / np.median(ours)),
        ends_differ=differ,
        scipy_differs=scipy_differs,
    )


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description="What the statistics of a feature cost")
    parser.add_argument("--features", type=int, default=10_000)
    parser.add_argument("--compared", type=int, default=100, help="features compared with scipy, one or more")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = measure(options.features, options.compared)
    if options.json:
        print(json.dumps({**asdict(found), "equal": found.equal}))
        return
    print(
        f"{found.features:,} features, both scorers, {N_BOOT:,} draws each: "
        f"{found.features_a_second:.0f} a second; {found.median_ms:.1f} ms (median), "
        f"{found.p95_ms:.1f} ms (95th percentile), {found.first_ms:.1f} ms the first of its design"
    )
    print(
        f"an interval of r: {found.interval_ms:.2f} ms; scipy.stats.bootstrap: "
        f"{found.scipy_words_ms:.0f} ms of words ({found.ratio_to_scipy:.0f} times as much), "
        f"{found.scipy_sums_ms:.1f} ms of sums ({found.ratio_to_scipy_on_sums:.0f} times)"
    )
    print(
        f"ends with scipy's weights differ from scipy's by {found.ends_differ:.4f} on average, scipy's of "
        f"another seed by {found.scipy_differs:.4f}: {'equal' if found.equal else 'NOT equal'}"
    )


if __name__ == "__main__":
    main()
