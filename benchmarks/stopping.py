"""What does scoring look by look save, and how often does it decide otherwise than scoring everything?

    python -m benchmarks.stopping [--features 200] [--spending rising] [--seed 0] [--json]

Prints one line a true r and kind of label: excerpts and calls saved on average, decisions by scoring look by
look, how many differ from those of all excerpts, and how often the truth lies outside the interval reported.
At a true r that is the threshold, .5, any acceptance or rejection is wrong, and 5% in all are allowed.

A simulated feature fires on one to a few words of an excerpt, with log-normal strength. A label `overlooks`
whole firing excerpts, or raises `alarms` on excerpts at random; how often is searched for, so that r over
40,000 excerpts is the true r of the line. "null" is a label that fires at random.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import NormalDist

import numpy as np

from exegete.datastore.records import Context, Evidence, Excerpt, FeatureId, Floats, Label, Score
from exegete.scorers.simulation import SimulationScorer
from exegete.scorers.stopping import ALPHA, PORTION, Looks, Spending, rising
from exegete.simulators.simulator import Simulation

THRESHOLD = 0.5
DESIGN = {"top": 10, "sampled": 30, "quiet": 20, "hard quiet": 10}
"""Excerpts of each kind, the job's defaults."""
TRUTHS = (0.0, 0.2, 0.35, 0.5, 0.65, 0.8, 0.95)
MANY = 40_000
_NORMAL = NormalDist()
_SIGMA = 0.5
_STRONGEST = float(np.exp(_SIGMA * _NORMAL.inv_cdf(0.9999)))

Quality = Callable[[float], tuple[float, float]]
"""From a dial, 0 to 1, to how often a firing excerpt is found, and false alarms are raised."""

KINDS: dict[str, Quality] = {
    "overlooks": lambda dial: (dial, 0.0),
    "alarms": lambda dial: (0.98, 1.0 - dial),
    "null": lambda dial: (0.0, 0.5),
}


def towards_the_end(time: float) -> float:
    """Share of α spent by the function of O'Brien & Fleming's kind of Lan & DeMets 1983."""
    return 4 * (1 - _NORMAL.cdf(_NORMAL.inv_cdf(1 - ALPHA / 4) / math.sqrt(time))) / ALPHA


def evenly(time: float) -> float:
    """Share of α spent by the function of Pocock's kind of Lan & DeMets 1983."""
    return math.log(1 + (math.e - 1) * time)


SPENDING: dict[str, Spending] = {"even": evenly, "rising": rising, "late": towards_the_end}


@dataclass(frozen=True)
class Words:
    """Words of many excerpts end to end, with all that a label of any quality could say of them."""

    lengths: np.ndarray
    true: np.ndarray
    found: np.ndarray
    """Levels where the label finds the excerpt."""
    alarms: np.ndarray
    """Levels of false alarms where it raises some."""
    luck: np.ndarray
    """(n_excerpts, 2) uniform numbers: found, and alarmed, where they are below the label's rates."""

    def said(self, quality: tuple[float, float]) -> np.ndarray:
        """Levels that a label of this quality gives."""
        found, alarmed = np.repeat(self.luck < quality, self.lengths, axis=0).T
        return np.where(alarmed & (self.alarms > 0), self.alarms, np.where(found, self.found, 0.0))

    def r(self, quality: tuple[float, float]) -> float:
        """Pearson's r of what it says and the truth; 0 where it says nothing."""
        said = self.said(quality)
        return float(np.corrcoef(said, self.true)[0, 1]) if said.any() else 0.0


def draw(rng: np.random.Generator, times: int = 1) -> Words:
    """Words of one feature's excerpts in the design's proportions, `times` as many for the truth."""
    rows = [
        _excerpt(rng, kind, (place % size + rng.random()) / size)
        for kind, size in DESIGN.items()
        for place in range(size * times)
    ]
    true, found, alarms = (np.concatenate(column) for column in zip(*rows, strict=True))
    return Words(np.array([len(row[0]) for row in rows]), true, found, alarms, rng.random((len(rows), 2)))


def _excerpt(rng: np.random.Generator, kind: str, quantile: float) -> tuple[np.ndarray, ...]:
    """True activations, levels where found, and false alarms, of one excerpt."""
    n = int(rng.integers(18, 30))
    y, found, alarms = np.zeros((3, n))
    if kind in ("top", "sampled"):
        share = 0.95 + 0.0499 * quantile if kind == "top" else min(max(quantile, 1e-4), 0.9999)
        peak = np.exp(_SIGMA * _NORMAL.inv_cdf(share))
        y[rng.integers(n)] = peak
        for _ in range(rng.poisson(0.7)):
            y[rng.integers(n)] = peak * rng.uniform(0.3, 1)
        found = np.where(y > 0, np.clip(np.round(10 * y / _STRONGEST + rng.normal(0, 0.5, n)), 1, 10), 0.0)
    for _ in range(1 + rng.poisson(1.0)):
        alarms[rng.integers(n)] = rng.integers(3, 10)
    return y, found, alarms


def quality_for(kind: Quality, target: float, words: Words) -> tuple[float, float]:
    """The quality whose r over many words is the target, by bisection."""
    low, high = 0.0, 1.0
    for _ in range(20):
        middle = (low + high) / 2
        low, high = (middle, high) if words.r(kind(middle)) < target else (low, middle)
    return kind((low + high) / 2)


class Scripted:
    """A simulator that says of each context what was drawn for it, and counts its calls."""

    name = "scripted"

    def __init__(self, levels: Sequence[Floats]) -> None:
        self._levels = levels
        self.calls = 0

    async def simulate(self, label: str, contexts: Sequence[Context]) -> Simulation:
        """Levels as drawn."""
        self.calls += math.ceil(len(contexts) / PORTION)
        return Simulation(tuple(self._levels[c.id] for c in contexts), (None,) * len(contexts))


def as_evidence(words: Words, quality: tuple[float, float]) -> tuple[Evidence, Scripted]:
    """The evidence of a feature, and what simulates a label of this quality on it."""
    cuts = np.cumsum(words.lengths)[:-1]
    strata = [
        f"decile {1 + place % 10}" if kind == "sampled" else kind
        for kind, size in DESIGN.items()
        for place in range(size)
    ]
    excerpts = tuple(
        Excerpt(Context(i, "d", 0, ("w",) * len(y)), y, stratum, 1.0)
        for i, (y, stratum) in enumerate(
            zip(np.split(words.true.astype(np.float32), cuts), strata, strict=True)
        )
    )
    n = DESIGN["top"] + DESIGN["sampled"]
    levels = np.split(words.said(quality).astype(np.float32), cuts)
    return Evidence(FEATURE, "report", excerpts[:n], excerpts[n:], "word", 1.0), Scripted(levels)


FEATURE = FeatureId("simulated", "-", "-", 0)


@dataclass
class Line:
    """What was found at one true r."""

    kind: str
    truth: float
    excerpts_saved: float = 0.0
    """Share of the planned excerpts that were not asked about, on average."""
    calls_saved: float = 0.0
    accepted: float = 0.0
    """Share whose whole interval lies above the threshold; and so on."""
    rejected: float = 0.0
    review: float = 0.0
    accepted_in_full: float = 0.0
    """The same with all excerpts asked about, at 95%."""
    rejected_in_full: float = 0.0
    differ: float = 0.0
    """Share of decisions that differ between the two."""
    opposite: float = 0.0
    """Accepted by one and rejected by the other."""
    missed: float = 0.0
    """Share of intervals reported that don't hold the truth; 5% are allowed."""
    missed_in_full: float = 0.0
    p_05: float = 0.0
    """Share of p-values up to .05."""


def decision(score: Score) -> str:
    """By the interval alone."""
    if score.low is None or score.high is None:
        return "review"
    return "accepted" if score.low >= THRESHOLD else "rejected" if score.high < THRESHOLD else "review"


def misses(score: Score, truth: float) -> bool:
    """Does the interval leave out the truth?"""
    return score.low is not None and score.high is not None and not score.low <= truth <= score.high


async def measure(kind: str, truth: float, spending: Spending, n_features: int, seed: int) -> Line:
    """Score many features of one true r both ways."""
    many = draw(np.random.default_rng([seed, 0]), MANY // sum(DESIGN.values()))
    quality = KINDS[kind](truth) if kind == "null" else quality_for(KINDS[kind], truth, many)
    line, rng = Line(kind, round(many.r(quality), 3)), np.random.default_rng([seed, 1])
    for number in range(n_features):
        evidence, simulator = as_evidence(draw(rng), quality)
        evidence = replace(evidence, feature=replace(FEATURE, index=number))
        scorer = SimulationScorer(simulator, "report", THRESHOLD, seed, n_perm=199 if kind == "null" else 0)
        (stopped,) = await Looks(simulator, [scorer], THRESHOLD, seed, spending).score(LABEL, evidence)
        calls, simulator.calls = simulator.calls, 0
        full = await scorer.score(LABEL, evidence)
        found, expected = decision(stopped), decision(full)
        share = 1 / n_features
        line.excerpts_saved += share * (1 - stopped.n_asked / full.n_asked)
        line.calls_saved += share * (1 - calls / simulator.calls)
        setattr(line, found, getattr(line, found) + share)
        line.accepted_in_full += share * (expected == "accepted")
        line.rejected_in_full += share * (expected == "rejected")
        line.differ += share * (found != expected)
        line.opposite += share * ({found, expected} == {"accepted", "rejected"})
        line.missed += share * misses(stopped, line.truth)
        line.missed_in_full += share * misses(full, line.truth)
        line.p_05 += share * (stopped.p_value is not None and stopped.p_value <= 0.05)
    return line


LABEL = Label(FEATURE, "a label", "benchmark")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="What does scoring look by look save?")
    parser.add_argument("--features", type=int, default=200, help="simulated features a line")
    parser.add_argument(
        "--spending", choices=SPENDING, default="rising", help="how α is spread over the looks"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    cases = [(kind, truth) for kind in ("overlooks", "alarms") for truth in TRUTHS] + [("null", 0.0)]
    lines = [
        asyncio.run(measure(kind, truth, SPENDING[options.spending], options.features, options.seed))
        for kind, truth in cases
        if truth or kind == "null"
    ]
    if options.json:
        print(json.dumps([asdict(line) for line in lines], indent=1))
        return
    print("label     true r  excerpts  calls  accepted      rejected      differ  opposite  outside   p<=.05")
    print("                     saved  saved  (in full)     (in full)                       (in full)")
    for line in lines:
        print(
            f"{line.kind:9} {line.truth:6.2f}  {line.excerpts_saved:8.0%}  {line.calls_saved:5.0%}  "
            f"{line.accepted:4.0%} ({line.accepted_in_full:4.0%})    {line.rejected:4.0%} "
            f"({line.rejected_in_full:4.0%})    {line.differ:6.1%}  {line.opposite:8.1%}  "
            f"{line.missed:4.1%} ({line.missed_in_full:5.1%})  {line.p_05:5.1%}"
        )


if __name__ == "__main__":
    main()
